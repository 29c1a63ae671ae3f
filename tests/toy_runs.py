"""Run directories written by hand, as ``train``, ``evaluate`` and ``benchmark`` leave them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

QUALITY = {
    "test/classifier/boosted/auc": 0.6472,
    "test/classifier/boosted/auc/error": 0.0114,
    "test/classifier/boosted/auc/floor": 0.501,
    "test/w1_mean": 0.0573,
    "test/w1_mean/error": 0.0048,
    "test/w1_mean/floor": 0.0301,
    "test/fpd": 0.0039,
    "test/fpd/error": 0.0002,
    "test/fpd/floor": 0.0012,
    "test/fpd/z": 5.5,
    "test/kpd": -0.0001,
    "test/kpd/error": 0.0002,
    "test/separation/energy_layer_0": 0.02,
    "test/separation/energy_layer_0/floor": 0.002,
    "test/separation/energy_layer_1": 0.04,
    "test/separation/energy_layer_1/floor": 0.004,
    "test/separation/e_tot_over_e_inc": 0.05,
    "test/events": 3000.0,
    "test/time_per_event_ms": 0.42,
}


def write_run(
    folder: Path,
    changes: Mapping[str, float | None] | None = None,
    *,
    data: str = "ds2",
    view: str | None = None,
    model: str = "caloinn",
    level: str = "quick",
    overrides: Sequence[str] = (),
    ms: Mapping[int, float] | None = None,
    device: str = "cpu",
    name: str = "Some Processor",
    parameters: int = 85_026,
    root: str | None = None,
) -> Path:
    """One finished run; a change to None leaves a figure out."""
    folder.mkdir(parents=True, exist_ok=True)
    figures = {k: v for k, v in {**QUALITY, **(changes or {})}.items() if v is not None}
    (folder / "metrics.json").write_text(json.dumps(figures))
    config = {
        "data": {"name": data, "view": view, "root": root, "files": {"test": None}},
        "model": {"name": model, "size": "tiny"},
        "evaluation": {"level": level},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    (folder / ".hydra").mkdir(exist_ok=True)
    (folder / ".hydra" / "overrides.yaml").write_text(yaml.safe_dump(list(overrides)))
    if ms is not None:
        suffix = "" if device == "cpu" else f"_{device}"
        found = benchmark(ms, device, name, parameters)
        (folder / f"benchmark{suffix}.json").write_text(json.dumps(found))
    return folder


def benchmark(
    ms: Mapping[int, float], device: str = "cpu", name: str = "Some Processor", parameters: int = 1
) -> dict[str, Any]:
    """What ``benchmark.json`` holds, as far as it is read; a batch that was not run is added."""
    timings: list[dict[str, Any]] = [
        {
            "batch_size": size,
            "ms_per_event": {"lower_quartile": 0.9 * t, "median": t, "upper_quartile": 1.3 * t},
        }
        for size, t in ms.items()
    ]
    return {
        "device": {"type": device, "name": name, "threads": 1},
        "parameters": {"training": 2 * parameters, "generation": parameters},
        "timings": [*timings, {"batch_size": 10**6, "note": "not run: needs 1e3 GiB"}],
    }
