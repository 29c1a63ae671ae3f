"""Every model on every data set through every view: it trains, samples and writes, or says why not."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from hydra.utils import get_class
from support import composed, config_names

from simulacra import data
from simulacra.cli.build import build_model
from simulacra.core import IncompatibleError
from simulacra.data.base import EventDataModule


@cache
def model_config(name: str) -> dict:
    return composed("model", f"model={name}", "model/size=tiny")


def grid() -> list[tuple[str, str, str | None]]:
    rows = []
    for name in config_names("data"):
        views = composed("data", f"data={name}").get("views") or {}
        rows += [(model, name, view) for model in config_names("model") for view in (None, *views)]
    return rows


def split(fits: bool) -> list:
    chosen = []
    for model, name, view in grid():
        spec = data.build(composed("data", f"data={name}", f"data.view={view or 'null'}")).spec
        if (get_class(model_config(model)["_target_"]).accepts(spec) is None) == fits:
            chosen.append(
                pytest.param(model, name, view, id="-".join(filter(None, (model, name, view))))
            )
    return chosen


@pytest.mark.parametrize(("model", "name", "view"), split(True))
def test_a_fitting_pair_trains_two_steps_samples_and_writes_physical_units(
    model: str, name: str, view: str | None, toy: Callable[..., EventDataModule], tmp_path: Path
) -> None:
    events = toy(name, view, "data.batch_size=2", "data.eval_batch_size=2", "data.limit=6")
    torch.manual_seed(0)
    module = build_model({"model": model_config(model)}, events.spec).fit_transform(
        events.fit_batches()
    )
    trainer = pl.Trainer(
        max_steps=2 * len(module.objectives()),
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        limit_val_batches=0,
        use_distributed_sampler=False,
        default_root_dir=tmp_path,
    )
    trainer.fit(module, datamodule=events)
    assert trainer.global_step >= 2
    cond = events.batch(2).conditions(module.given)
    generated = events.native(module.sample(cond, generator=torch.Generator().manual_seed(0)))
    if events.native(events.batch(1)).x.shape[1:] != events.native_spec.shape:
        events.spec.validate(
            generated
        )  # a view with no way back: these events are judged as they are
        return
    path = tmp_path / f"generated{Path(events.format.suffix)}"
    events.format.write(path, generated)
    read = events.format.read(path)
    assert len(read) == 2
    torch.testing.assert_close(read.x, generated.x, rtol=1e-6, atol=0)


@pytest.mark.parametrize(("model", "name", "view"), split(False))
def test_any_other_pair_fails_in_one_sentence_that_names_what_fits(
    model: str, name: str, view: str | None
) -> None:
    spec = data.build(composed("data", f"data={name}", f"data.view={view or 'null'}")).spec
    with pytest.raises(
        IncompatibleError, match=f"does not fit .*; models that fit .*; data for {model}: .*"
    ) as error:
        build_model({"model": model_config(model)}, spec)
    assert "\n" not in str(error.value)


def test_every_model_and_every_data_set_has_a_partner() -> None:
    fitting = [param.values for param in split(True)]
    assert {model for model, _, _ in fitting} == set(config_names("model"))
    assert {name for _, name, _ in fitting} == set(config_names("data"))
