"""A seed and its slices: chosen by the seen energy, under a curriculum, joined to one generator."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch

import simulacra
from simulacra.callbacks.checkpoint import BestCheckpoint
from simulacra.cli.train import train
from simulacra.core import UserError
from simulacra.evaluation.config import compose
from simulacra.training import checkpoint

SHORT = (
    "model/size=tiny", "data.total=4000", "data.batch_size=400", "trainer.max_epochs=2",
    "trainer.check_val_every_n_epoch=1", "logger=csv", "callbacks.physics.draw=false",
    "callbacks.progress=null", "evaluation.draw=false", "evaluation.scores=null",
)  # fmt: skip


def trained(experiment: str, run: Path, *changes: str) -> dict[str, float]:
    asked = [f"experiment={experiment}", f"paths.run={run}", *SHORT, *changes]
    return train(compose("train", asked))


@pytest.fixture(scope="module")
def seed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training whose second epoch takes in a second energy."""
    run = tmp_path_factory.mktemp("seed")
    trained(
        "bologan_ds1_photons", run, "+curriculum@data.curriculum=sequential", "data.curriculum.first=12",
        "data.curriculum.each=100",
    )  # fmt: skip
    return run


def logged(run: Path, key: str) -> list[float]:
    with (run / "metrics.csv").open() as file:
        return [float(row[key]) for row in csv.DictReader(file) if row.get(key)]


def test_the_seen_energy_is_a_validation_figure_with_its_floor_and_chooses_the_checkpoint(
    seed: Path,
) -> None:
    found, floors = logged(seed, "val/chi2"), logged(seed, "val/chi2/floor")
    assert len(found) == 2
    assert len(set(floors)) == 1
    assert 0.3 < floors[0] < 3
    callbacks = checkpoint.read(seed / "checkpoints" / "last.ckpt")["callbacks"]
    (best,) = [state for state in callbacks.values() if state.get("monitor") == "val/chi2"]
    assert float(best["best_model_score"]) == pytest.approx(min(found), rel=1e-5)


def test_a_figure_that_is_none_never_chooses(tmp_path: Path) -> None:
    """Neither NaN nor a figure that is missing takes the place of one that was measured."""
    trainer = pl.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
    callback = BestCheckpoint(str(tmp_path), "val/chi2", "min")
    callback.best_k_models = {"best.ckpt": torch.tensor(5.0)}
    callback.kth_best_model_path, callback.best_model_score = "best.ckpt", torch.tensor(5.0)
    for value, better in ((math.nan, False), (4.0, True), (6.0, False)):
        assert bool(callback.check_monitor_top_k(trainer, torch.tensor(value))) is better


def test_slices_go_on_from_the_seed_and_serve_as_one(seed: Path, tmp_path: Path) -> None:
    first = seed / "checkpoints" / "last.ckpt"
    for name in ("low", "high"):
        trained(f"bologan_ds1_photons_{name}", tmp_path / name, f"init.checkpoint={first}")
    began = simulacra.load(first)
    parts = {
        name: simulacra.load(tmp_path / name / "checkpoints" / "last.ckpt")
        for name in ("low", "high")
    }
    assert parts["low"].record.trained_range["incident_energy"] == (256.0, 4096.0)
    assert parts["high"].record.trained_range["incident_energy"] == (4096.0, 32768.0)
    for part in parts.values():
        assert torch.equal(part.transform.floor, began.transform.floor)
        assert not torch.equal(part.net.layers[0].weight, began.net.layers[0].weight)
    file = tmp_path / "photons.yaml"
    file.write_text(
        "checkpoints:\n"
        "  - {file: low/checkpoints/last.ckpt, serves: {incident_energy: [256, 4096]}}\n"
        "  - {file: high/checkpoints/last.ckpt, serves: {incident_energy: [4096, 32768]}}\n"
    )
    made = simulacra.load(file).sample(64, seed=1)
    assert made.x.shape == (64, 368)
    with pytest.raises(UserError, match="no checkpoint serves"):
        simulacra.load(file).sample(2, incident_energy=1e6, seed=1)
