"""What an evaluation says of several files, of files that do not go together, and of a checkpoint."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from omegaconf import OmegaConf

from simulacra.cli.evaluate import evaluate
from simulacra.cli.sample import sample
from simulacra.core import UserError
from simulacra.evaluation.config import compose


@pytest.fixture
def files(toy_checkpoint: Path, project: Path) -> Path:
    """``truth.hdf5``, ``first.hdf5`` and ``second.hdf5`` in the current folder."""
    for name, n, seed in (("truth", 260, 1), ("first", 240, 2), ("second", 240, 3)):
        asked = ["allow=[toy_plugin]", f"checkpoint={toy_checkpoint}", f"output={name}.hdf5"]
        sample(compose("sample", [*asked, f"n={n}", f"seed={seed}"]))
    return project


def judge(*overrides: str) -> dict[str, Any]:
    fixed = [
        "data=toy",
        "evaluation=quick",
        "evaluation.draw=false",
        "output=judged",
        "overwrite=true",
    ]
    return evaluate(compose("evaluate", [*fixed, *overrides]))


def test_several_files_are_judged_each_in_its_own_directory(files: Path) -> None:
    found = judge("reference=truth.hdf5", "generated=[first.hdf5,second.hdf5]")
    assert set(found) == {"first.hdf5", "second.hdf5"}
    for name in ("first", "second"):
        folder = files / "judged" / name
        assert json.loads((folder / "metrics.json").read_text()) == found[f"{name}.hdf5"]
        notes = json.loads((folder / "notes.json").read_text())
        assert notes["evaluation"] == "quick, 260 true and 240 generated events"
    with pytest.raises(UserError, match="different names"):
        judge("reference=truth.hdf5", "generated=[first.hdf5,./first.hdf5]")


def test_different_conditions_are_a_warning_with_a_significance(
    files: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with h5py.File("first.hdf5", "r+") as file:
        energy = file["toy/energy"][:]
        file["toy/energy"][:] = np.sort(energy, axis=0)[-1] + 0 * energy
    with caplog.at_level(logging.WARNING):
        judge("reference=truth.hdf5", "generated=first.hdf5")
    assert any("incident_energy is distributed differently" in text for text in caplog.messages)
    notes = json.loads(Path("judged/notes.json").read_text())
    assert "standard deviations" in notes["test/conditions/incident_energy"]
    caplog.clear()
    judge("reference=truth.hdf5", "generated=second.hdf5")
    assert not any("distributed differently" in text for text in caplog.messages)


def test_the_published_protocol_wants_its_number_of_events(files: Path) -> None:
    with pytest.raises(
        UserError, match=r"needs 10,000 events in each file and truth\.hdf5 has 260"
    ):
        judge("reference=truth.hdf5", "generated=first.hdf5", "evaluation=challenge")


def test_copies_of_training_events_are_found(files: Path) -> None:
    given = ["reference=truth.hdf5", "training=second.hdf5", "evaluation=standard"]
    honest = judge("generated=first.hdf5", *given)
    copied = judge("generated=second.hdf5", *given)
    key = "test/memorisation/share/z"
    assert abs(honest[key]) < 4 < 8 < copied[key]


def test_a_checkpoint_is_generated_from_scanned_and_judged(
    files: Path, toy_checkpoint: Path
) -> None:
    given = ["reference=truth.hdf5", f"checkpoint={toy_checkpoint}", "allow=[toy_plugin]"]
    found = judge(
        *given, "scan.events=20", "scan.points=5", "scan.beyond=0", "evaluation.draw=true"
    )
    for key in ("deviation", "falls"):
        assert f"test/scan/incident_energy/{key}/floor" in found
    with h5py.File("judged/generated.hdf5") as made, h5py.File("truth.hdf5") as asked:
        np.testing.assert_array_equal(made["toy/energy"][:], asked["toy/energy"][:])
    for page in ("scan", "event"):
        assert Path(f"judged/figures/{page}_incident_energy.png").is_file()
    assert found["test/time_per_event_ms"] > 0
    assert OmegaConf.load("judged/config.yaml").model.name == "toy_flow"
    with pytest.raises(UserError, match="solver"):
        judge(*given, "solver=ddim")
    with pytest.raises(UserError, match="not both"):
        judge(*given, "generated=first.hdf5")
    with pytest.raises(UserError, match="generates toy, not ild: take data=toy"):
        judge(*given, "data=ild")
