from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from simulacra.cli.train import train
from simulacra.evaluation.config import compose
from simulacra.metrics.classifiers import boosted

PROJECT = Path(__file__).parent / "toy_project"


@pytest.fixture(autouse=True)
def _few_trees(monkeypatch: pytest.MonkeyPatch) -> None:
    """The boosted judge grows a quarter of its trees; what it is worth is tested elsewhere."""
    grown = boosted.model
    monkeypatch.setattr(boosted, "model", lambda iterations, seed: grown(iterations // 4, seed))


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A user's folder with plug-in classes and configurations, as the current folder."""
    folder = tmp_path / "project"
    shutil.copytree(PROJECT, folder)
    monkeypatch.chdir(folder)
    path, loaded = list(sys.path), sys.modules.pop("toy_plugin", None)
    yield folder
    sys.path[:] = path
    sys.modules.pop("toy_plugin", None)
    if loaded is not None:
        sys.modules["toy_plugin"] = loaded


@pytest.fixture
def run_toy(project: Path) -> Callable[..., tuple[Path, dict[str, float]]]:
    """Train the toy in this process; returns the run directory and the figures."""

    def run(name: str, *overrides: str) -> tuple[Path, dict[str, float]]:
        folder = project / "outputs" / name
        config = compose(
            "train", ["experiment=toy", f"paths.run={folder}", "logger=csv", *overrides]
        )
        return folder, train(config)

    return run


@pytest.fixture(scope="session")
def toy_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The last checkpoint of one short training of the toy."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(PROJECT)
        patch.syspath_prepend(str(PROJECT))
        asked = [
            "experiment=toy",
            f"paths.run={folder}",
            "callbacks=minimal",
            "trainer.max_epochs=1",
            "logger=none",
        ]
        train(compose("train", asked))
    return folder / "checkpoints" / "last.ckpt"
