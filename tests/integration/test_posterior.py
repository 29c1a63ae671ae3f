"""A Bayesian model from the command line: files of several networks, and the band made of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from simulacra.cli.evaluate import evaluate
from simulacra.cli.sample import sample
from simulacra.cli.train import train
from simulacra.core import UserError
from simulacra.evaluation.config import compose


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Bayesian flow of the toy after one short epoch."""
    folder = tmp_path_factory.mktemp("bayesian") / "run"
    toy_project = Path(__file__).parent / "toy_project"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(toy_project)
        patch.syspath_prepend(str(toy_project))
        asked = [
            "experiment=toy",
            "model=caloinn",
            "model/size=tiny",
            "model.bayesian=true",
            "model.weights.start=0.1",
            "data.limit=128",
            "evaluation=quick",
            "evaluation.events=40",
            f"paths.run={folder}",
            "callbacks=minimal",
            "trainer.max_epochs=1",
            "logger=none",
        ]
        train(compose("train", asked))
    return folder / "checkpoints" / "last.ckpt"


def ask(checkpoint: Path, *overrides: str) -> dict[str, Any]:
    fixed = ["allow=[toy_plugin]", f"checkpoint={checkpoint}"]
    return sample(compose("sample", [*fixed, *overrides]))


def judge(*overrides: str) -> dict[str, Any]:
    fixed = [
        "data=toy",
        "evaluation=quick",
        "evaluation.draw=false",
        "output=judged",
        "overwrite=true",
    ]
    return evaluate(compose("evaluate", [*fixed, "allow=[toy_plugin]", *overrides]))


def test_every_network_writes_a_valid_file_of_its_own(checkpoint: Path, project: Path) -> None:
    made = ask(checkpoint, "output=made.hdf5", "n=30", "posterior_draws=2", "seed=4")
    names = ["made_draw0.hdf5", "made_draw1.hdf5"]
    assert made == {"events": 30, "output": names}
    ask(checkpoint, "output=again.hdf5", "n=30", "posterior_draws=2", "seed=4")
    showers, energies = [], []
    for number, name in enumerate(names):
        assert evaluate(compose("evaluate", ["data=toy", f"reference={name}"])) == {"events": 30}
        with h5py.File(name) as file, h5py.File(name.replace("made", "again")) as same:
            showers.append(file["toy/layers"][:])
            energies.append(file["toy/energy"][:])
            assert (showers[-1] == same["toy/layers"][:]).all()
            request = json.loads(file.attrs["simulacra_request"])
        assert request["posterior_draw"] == number
    assert (energies[0] == energies[1]).all()
    assert (showers[0] != showers[1]).any()


def test_an_ensemble_gives_the_evaluation_of_one_file_a_band(
    checkpoint: Path, project: Path
) -> None:
    ask(checkpoint, "output=truth.hdf5", "n=120", "seed=1")
    given = ["conditions=truth.hdf5", "posterior_draws=3", "seed=2"]
    files = ask(checkpoint, "output=made.hdf5", *given)["output"]
    ensemble = f"ensemble=[{','.join(files)}]"
    found = judge("reference=truth.hdf5", ensemble)
    assert 0 <= found["test/band/coverage"] <= 1
    assert json.loads(Path("judged/metrics.json").read_text()) == found
    alone = judge("reference=truth.hdf5", f"generated={files[0]}")
    assert {key: v for key, v in found.items() if "/band/" not in key} == alone
    for bad, message in (
        ([f"ensemble=[{files[0]}]"], "at least two networks"),
        ([ensemble, f"generated=[{files[0]},{files[1]}]"], "give one generated file"),
        ([ensemble, "posterior_draws=2"], "posterior_draws are those of a checkpoint"),
    ):
        with pytest.raises(UserError, match=message):
            judge("reference=truth.hdf5", *bad)


def test_the_evaluation_of_a_checkpoint_draws_the_networks_itself(
    checkpoint: Path, project: Path
) -> None:
    ask(checkpoint, "output=truth.hdf5", "n=60", "seed=1")
    given = ["reference=truth.hdf5", f"checkpoint={checkpoint}", "posterior_draws=2"]
    found = judge(*given, "scan.events=5", "scan.points=3")
    assert "test/band/width" in found
    with h5py.File("judged/generated_draw1.hdf5") as made, h5py.File("truth.hdf5") as asked:
        np.testing.assert_array_equal(made["toy/energy"][:], asked["toy/energy"][:])


def test_a_model_without_a_posterior_refuses_and_writes_nothing(
    toy_checkpoint: Path, project: Path
) -> None:
    with pytest.raises(UserError, match="ToyFlow has no posterior"):
        ask(toy_checkpoint, "output=made.hdf5", "n=5", "posterior_draws=2")
    with pytest.raises(
        UserError, match="posterior_draws must be a whole number from 1 or null, got 0"
    ):
        ask(toy_checkpoint, "output=made.hdf5", "n=5", "posterior_draws=0")
    assert not list(project.glob("*made*"))
