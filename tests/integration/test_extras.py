"""The package without its extras."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OPTIONAL = (
    "alembic awkward hydra_plugins.hydra_joblib_launcher hydra_plugins.hydra_optuna_sweeper "
    "hydra_plugins.hydra_submitit_launcher mlflow optuna pyarrow sqlalchemy submitit tensorboard uproot ot "
    "fastjet pythia8mc pooch"
)
BLOCKED = f"""
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if any(name == item or name.startswith(item + ".") for item in {OPTIONAL.split()!r}):
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Missing())
from simulacra.cli.main import main
main(sys.argv[1:])
"""


SMALL = (
    *(
        "debug=fast",
        "model/size=tiny",
        "data.limit=64",
        "data.batch_size=32",
        "trainer.max_epochs=1",
    ),
    *("evaluation.events=60", "evaluation.replicas=2", "logger=csv"),
)
"""A training with all callbacks, judged and drawn."""


@pytest.mark.faults
@pytest.mark.timeout(1800)
def test_training_sampling_and_judging_need_no_extra(tmp_path: Path) -> None:
    environment = {**os.environ, "SIMULACRA_CACHE": str(tmp_path / "cache")}

    def run(*arguments: str) -> None:
        command = [sys.executable, "-c", BLOCKED, *arguments]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600
        )
        assert done.returncode == 0, done.stderr[-2000:]

    run("train", *SMALL, "paths.run=run")
    checkpoint = "checkpoint=run/checkpoints/best.ckpt"
    run("sample", checkpoint, "n=100", "output=a.hdf5")
    files = ("reference=a.hdf5", "generated=a.hdf5", "output=judged")
    run("evaluate", "data=ds1_photons", "evaluation=quick", "evaluation.replicas=2", *files)
    assert (tmp_path / "judged" / "report.html").is_file()


def test_packages_of_extras_are_no_requirements() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = {item.partition(">")[0].partition("<")[0].lower() for item in project["dependencies"]}
    assert not names & {
        "pot",
        "pyarrow",
        "pooch",
        "hist",
        "tensorboard",
        "mlflow",
        "mlflow-skinny",
        "uproot",
        "optuna",
        "pythia8mc",
        "fastjet",
    }
    assert "jinja2" in names
    assert {"pyarrow>=17"} <= set(project["optional-dependencies"]["table"])
    trackers = {item.partition(">")[0] for item in project["optional-dependencies"]["trackers"]}
    assert trackers == {"tensorboard", "mlflow-skinny"}
