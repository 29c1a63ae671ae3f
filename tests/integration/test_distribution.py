"""The package as users install it: wheel and source distribution, built and used without the checkout."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

pytest.importorskip("hatchling", reason="hatchling is not installed: pip install 'simulacra[test]'")
ROOT = Path(__file__).parents[2]
LOOK = """
import json, simulacra
from simulacra.evaluation.config import choices, compose
config = compose("train", ["model=wgan3d", "data=ild", "sweeps=lr_size"])
print(json.dumps({
    "file": simulacra.__file__, "version": simulacra.__version__, "model": config.model.name,
    "models": choices("model"), "sweeps": choices("sweeps"),
    "sizes": simulacra.dataset("jetnet30").sizes(),
}))
"""
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def run(*command: str | Path, cwd: Path) -> str:
    """What a command prints, outside of this environment's settings."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [str(word) for word in command], cwd=cwd, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The two files by their endings."""
    folder = tmp_path_factory.mktemp("built")
    run(sys.executable, "-m", "hatchling", "build", "-d", folder, cwd=ROOT)
    return {path.suffix: path for path in folder.iterdir()}


def files(folder: str) -> set[str]:
    """Paths below a folder of the checkout."""
    return {
        str(path.relative_to(ROOT / folder))
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_the_wheel_holds_code_configuration_sweeps_and_samples_and_nothing_else(
    built: dict[str, Path],
) -> None:
    assert set(built) == {".whl", ".gz"}
    names = {
        name.removeprefix("simulacra/")
        for name in zipfile.ZipFile(built[".whl"]).namelist()
        if ".dist-info/" not in name
    }
    groups = {
        folder: {f"{folder}/{name}" for name in files(folder)} for folder in ("conf", "sweeps")
    }
    assert names == files("src/simulacra") | groups["conf"] | groups["sweeps"]


@pytest.mark.parametrize("kind", [".whl", pytest.param(".gz", marks=pytest.mark.grid)])
def test_what_is_installed_works_without_the_checkout(
    kind: str, built: dict[str, Path], tmp_path: Path
) -> None:
    place = tmp_path / "venv"
    venv.create(place, with_pip=False)
    python = place / "bin" / "python"
    where = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site = Path(run(python, "-c", where, cwd=tmp_path).strip())
    (site / "others.pth").write_text(f"{sysconfig.get_path('purelib')}\n")  # torch and all the rest
    pip = (sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-index")
    run(*pip, "--no-deps", "--no-build-isolation", built[kind], cwd=tmp_path)

    assert run(place / "bin" / "simulacra", "--version", cwd=tmp_path).startswith("simulacra 0.")
    found = json.loads(run(python, "-c", LOOK, cwd=tmp_path).splitlines()[-1])
    assert Path(found["file"]).is_relative_to(place)
    assert found["model"] == "wgan3d"
    assert "caloinn" in found["models"]
    assert "lr_size" in found["sweeps"]
    assert found["sizes"]["train"] > 1000
