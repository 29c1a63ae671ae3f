"""The commands of docs/geant4.md, in their order, on fewer events."""

from __future__ import annotations

import importlib.util
import json
import re
import shlex
from pathlib import Path

import h5py
import pytest

from simulacra.cli.main import main

PAGE = (Path(__file__).parents[2] / "docs" / "geant4.md").read_text()
SMALL = {
    "produce": ["chunk=25"],
    "train": [
        *("debug=fast", "model/size=tiny", "trainer.max_epochs=1", "trainer.max_steps=4"),
        *("logger=csv", "data.batch_size=16", "evaluation.events=20", "evaluation.draw=false"),
        *("trainer.enable_progress_bar=false", "callbacks.physics.draw=false"),
    ],
    "export": [],
    "simulate": ["n=4", "every=2"],
    "evaluate": ["evaluation.events=4", "evaluation.replicas=2", "evaluation.draw=false"],
}
FEWER = {"n=2000": "n=50", "n=500": "n=25"}


def commands() -> list[list[str]]:
    """Words of each command of the page."""
    blocks = re.findall(r"^```bash\n(.*?)^```$", PAGE, re.M | re.S)
    return [shlex.split(line) for block in blocks for line in block.splitlines()]


@pytest.mark.grid
@pytest.mark.geant4
@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("geant4_pybind", "onnx")),
    reason="Geant4 or ONNX is not installed: pip install 'simulacra[geant4,export]'",
)
def test_the_way_from_a_detector_to_a_generator_inside_geant4(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    name, text = re.findall(r"^```yaml\n# (\S+)\n(.*?)^```$", PAGE, re.M | re.S)[0]
    Path(name).parent.mkdir(parents=True)
    Path(name).write_text(text)
    done = []
    for program, command, *words in commands():
        assert program == "simulacra"
        main([command, *(FEWER.get(word, word) for word in words), *SMALL[command]])
        done.append(command)
    assert done == ["produce", "produce", "train", "export", "simulate", "simulate", "evaluate"]
    with h5py.File("little.hdf5") as file:
        response = file["showers"][:].sum(1) / file["incident_energies"][:, 0]
    assert 0.9 < response.mean() < 1.1  # the scale that the page gives
    metrics = json.loads(Path("simulated/metrics.json").read_text())
    assert metrics["generated/showers"] >= 4
    assert metrics["ratio/visible"] > 0
    assert Path("judged/metrics.json").is_file()
    assert Path("simulated/report.html").is_file()
