"""Every model of the configuration tree is exported and agrees with Python, or says in a sentence why not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from simulacra.core import UserError
from simulacra.data.base import EventDataModule
from simulacra.deploy.export.formats import FORMATS
from simulacra.deploy.export.write import write
from simulacra.training.checkpoint import build
from simulacra.training.generative import GenerativeModule
from support import composed, fits, models_of, trainable

KINDS = (
    ("ds1_photons", None),
    ("ds2", None),
    ("ild_10x10", None),
    ("ild_10x10", "cloud"),
    ("jetnet30", None),
    ("jetclass", None),
    ("jetnet30", "image"),
    ("pxd_small", None),
    ("table", None),
    ("events", None),
    ("zjets", None),
    ("toy_shower", None),
)
REFUSED = {
    "caloflow_teacher": "export the student",
    "icaloflow": "export the student",
    "l2lflows": "export the student",
    "conv_l2lflows": "veto",
    "pixelcnn": "one after the other",
    "pixelcnn_pp": "one after the other",
    "pixelcnn_image": "one after the other",
    "spade": "one after the other",
    "vae": "draws counts",
    "calovae_inn": "draws counts",
}
"""Models that cannot be unrolled, and what they say."""


def pair(model: str) -> tuple[str, str | None]:
    """The first kind of data that fits a model."""
    return next(kind for kind in KINDS if fits(model, *kind))


def exported(model: str, toy: Callable[..., EventDataModule], folder: Path) -> GenerativeModule:
    """A generator with fitted transform and weights that are no longer those of its start."""
    events = toy(*pair(model))
    return fitted(trainable(model, events, folder), events)


def fitted(config: dict, events: EventDataModule) -> GenerativeModule:
    """The same of a configuration."""
    torch.manual_seed(0)
    module = build(config, events.spec).fit_transform(events.fit_batches())
    for parameter in module.parameters():
        parameter.data.add_(0.02 * torch.randn_like(parameter))
    module.record.conditions = events.batch(32).conditions(module.given) if module.given else None
    return module


def test_refusals_are_of_models_that_there_are() -> None:
    assert set(REFUSED) <= set(models_of(GenerativeModule))


def test_each_model_is_exported_on_some_kind_of_data() -> None:
    assert all(pair(model) for model in models_of(GenerativeModule))


@pytest.mark.export
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("model", models_of(GenerativeModule))
def test_every_model_is_exported_or_says_why_not(
    model: str, toy: Callable[..., EventDataModule], tmp_path: Path
) -> None:
    module = exported(model, toy, tmp_path)
    folder = tmp_path / "exported"
    if model in REFUSED:
        with pytest.raises(UserError, match=REFUSED[model]) as said:
            write(module, "plain", FORMATS["onnx"], folder, {})
        assert "\n" not in str(said.value)
        assert not folder.exists()
        return
    assert_written(module, folder)


@pytest.mark.export
@pytest.mark.timeout(1200)
@pytest.mark.parametrize(
    ("experiment", "name"),
    [
        ("epic_fm_mean_jetnet30", "jetnet30"),
        ("vit_ds2", "ds2"),
        ("vit_mean_ds2", "ds2"),
        ("calodit_ds2", "ds2"),
        ("caloart_ds2", "ds2"),
        ("calodream_mean_ds2", "ds2"),
        ("caloscore2_ds2", "ds2"),
    ],
)
def test_models_of_mean_velocities_and_on_normal_scores_are_exported_as_well(
    experiment: str, name: str, toy: Callable[..., EventDataModule], tmp_path: Path
) -> None:
    config = composed("model", f"experiment={experiment}", "model/size=tiny")
    assert_written(fitted(config, toy(name)), tmp_path / "exported")


def assert_written(module: GenerativeModule, folder: Path) -> None:
    """A folder with all its files, whose network agrees with Python."""
    done = write(module, "plain", FORMATS["onnx"], folder, {})
    assert done.agreement.numbers > 0
    assert done.agreement.holds
    assert {file.name for file in folder.iterdir()} == {
        "model.onnx",
        "sidecar.json",
        "sidecar.txt",
        "pairs.bin",
    }
