"""Every model on every data set through every view: it trains, samples and writes, or says why not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch

from simulacra.core import IncompatibleError, UserError
from simulacra.data.base import EventDataModule
from simulacra.evaluation.build import build_model
from simulacra.tasks.pair import PairTask
from simulacra.tasks.remembering import Remembering
from simulacra.training.generative import GenerativeModule
from support import (
    composed,
    config_names,
    fits,
    fits_pair,
    grid,
    models_of,
    sets,
    spec_of,
    tiny,
    trainable,
)

ONE_STEP = {
    "epic_fm_mean_jetnet30": "epic_fm",
    "epic_fm_split_jetnet30": "epic_fm",
    "vit_mean_ds2": "vit",
    "calodream_mean_ds2": "calodream",
}
"""Experiments of mean velocities, each with its model."""


def split(wanted: bool) -> list:
    rows = [row for row in grid() if fits(*row) == wanted]
    return [pytest.param(*row, id="-".join(filter(None, row))) for row in rows]


SMALL = ("data.batch_size=2", "data.eval_batch_size=2", "data.limit=4")


def few(toy: Callable[..., EventDataModule], name: str, view: str | None) -> EventDataModule:
    """Four toy events for training."""
    return toy(name, view, *SMALL, *(f"{key}.validation=0" for key in sets(name)))


def assert_trains_samples_and_writes(model: dict, events: EventDataModule, folder: Path) -> None:
    torch.manual_seed(0)
    try:
        module = build_model({"model": model}, events.spec)
    except UserError as error:
        if "say in model." not in str(error):  # what only a user knows is asked for
            raise
        return
    module.fit_transform(events.fit_batches())
    trainer = pl.Trainer(
        max_steps=2 * len(module.objectives()),
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        limit_val_batches=0,
        use_distributed_sampler=False,
        default_root_dir=folder,
    )
    trainer.fit(module, datamodule=events)
    assert trainer.global_step >= 2
    part = "test" if isinstance(module, Remembering) else "train"  # what was learnt from is refused
    made = module.judged(events.batch(4, part)[:2], generator=torch.Generator().manual_seed(0))
    if not len(made):  # a resampler may keep none of so few
        assert not isinstance(module, (GenerativeModule, Remembering))
        return
    generated = events.native(made)
    events.judged.spec.validate(generated)
    if events.judged.spec != events.format.spec:
        return  # a view with no way back: its events are judged as they are, no public file holds them
    path = folder / "generated.hdf5"
    events.format.write(path, generated)
    read = events.format.read(path)
    assert read.x.shape == generated.x.shape
    features = events.format.spec.features
    columns = [i for i, feature in enumerate(features) if not feature.integer] or slice(None)
    # types and charges of particles, or of which jet they are, which a file holds as whole numbers
    torch.testing.assert_close(read.x[..., columns], generated.x[..., columns], rtol=1e-5, atol=0)
    events.format.write(path, read)
    assert torch.equal(events.format.read(path).x, read.x)


@pytest.mark.grid
@pytest.mark.parametrize(("model", "name", "view"), split(True))
def test_a_fitting_pair_trains_two_steps_samples_and_writes_physical_units(
    model: str, name: str, view: str | None, toy: Callable[..., EventDataModule], tmp_path: Path
) -> None:
    events = few(toy, name, view)
    assert_trains_samples_and_writes(trainable(model, events, tmp_path), events, tmp_path)


@pytest.mark.grid
@pytest.mark.parametrize(
    ("experiment", "name", "view"),
    [
        pytest.param(experiment, *row[1:], id="-".join(filter(None, (experiment, *row[1:]))))
        for experiment, model in ONE_STEP.items()
        for row in grid()
        if row[0] == model and fits(*row)
    ],
)
def test_models_of_mean_velocities_do_as_well_as_plain_ones(
    experiment: str,
    name: str,
    view: str | None,
    toy: Callable[..., EventDataModule],
    tmp_path: Path,
) -> None:
    model = composed("model", f"experiment={experiment}", "model/size=tiny")
    assert_trains_samples_and_writes(model, few(toy, name, view), tmp_path)


@pytest.mark.grid
@pytest.mark.parametrize(("model", "name", "view"), split(False))
def test_any_other_pair_fails_in_one_sentence_that_names_what_fits(
    model: str, name: str, view: str | None
) -> None:
    wanted = f"does not fit .*; models that fit .*; data for {model}: .*"
    with pytest.raises(IncompatibleError, match=wanted) as error:
        build_model({"model": tiny(model)}, spec_of(name, view))
    assert "\n" not in str(error.value)


def test_every_model_and_every_data_set_has_a_partner() -> None:
    fitting = [row for row in grid() if fits(*row)]
    pairs = ("zjets", "toy_regions")  # whose conditions are numbers, and classes
    paired = {model for model in models_of(PairTask) if any(fits_pair(model, n) for n in pairs)}
    assert {model for model, _, _ in fitting} | paired == set(config_names("model"))
    assert {name for _, name, _ in fitting} == set(config_names("data")) - {"produced"}
