"""The commands of docs/geant4.md, in their order, on fewer events."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import h5py
import pytest

import doc_pages


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
    assert doc_pages.run(doc_pages.DOCS / "geant4.md") == 7
    with h5py.File("little.hdf5") as file:
        response = file["showers"][:].sum(1) / file["incident_energies"][:, 0]
    assert 0.9 < response.mean() < 1.1  # the scale that the page gives
    metrics = json.loads(Path("simulated/metrics.json").read_text())
    assert metrics["generated/showers"] >= 4
    assert metrics["ratio/visible"] > 0
    assert Path("judged/metrics.json").is_file()
    assert Path("simulated/report.html").is_file()
