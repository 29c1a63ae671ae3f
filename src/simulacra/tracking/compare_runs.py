"""Runs to compare: what a run directory, or that of an evaluation, says of quality, time and size."""

from __future__ import annotations

import json
import math
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from simulacra.core import UserError
from simulacra.core.plain_yaml import read_yaml
from simulacra.metrics.engine.result import TWINS, is_twin

FILE = "metrics.json"
PREFIX = "test/"
OWN_COLUMNS = ("model", "data", "model/size", "evaluation", "experiment", "paths.run", "logger")
"""Overrides that are seen elsewhere in the table, or say nothing about the result."""
_LAYER = re.compile(r"separation/(.+)_layer_\d+")


LARGEST = 2**1000
"""Whole numbers up to which a float can stand for them."""


@dataclass(frozen=True)
class Figure:
    """A number with its statistical error, its floor and its distance from it in standard deviations of the
    truth's figures, where they are known.
    """

    value: float
    error: float | None = None
    floor: float | None = None
    z: float | None = None


@dataclass(frozen=True)
class Run:
    """One row of the comparison.

    Args:
        name: What it is called in the table.
        source: Directory, or the publication.
        data: Data set, with its view.
        model: Architecture.
        size: Its size.
        overrides: What the user changed.
        level: Level of the evaluation.
        events: Generated events that were judged.
        truth: What they were judged against.
        figures: Quality by key, without the prefix ``test/``.
        times: Time per event [ms] by device and batch size; half the quartiles' distance as error.
        machines: Hardware and threads by device.
        parameters: Number of parameters for ``training`` and ``generation``.
        published: Whether it comes from a publication.
        mark: What is said of published figures: who measured them, on what.
    """

    name: str
    source: str
    data: str
    model: str = ""
    size: str = ""
    overrides: tuple[str, ...] = ()
    level: str = ""
    events: int | None = None
    truth: str = ""
    figures: Mapping[str, Figure] = field(default_factory=dict)
    times: Mapping[tuple[str, int], Figure] = field(default_factory=dict)
    machines: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, int] = field(default_factory=dict)
    published: bool = False
    mark: str = ""


def read_run(folder: Path, name: str) -> Run:
    """Read a run directory or the directory of an evaluation.

    Args:
        folder: Holds ``metrics.json``, and ``config.yaml`` and ``benchmark*.json`` where they exist.
        name: What it is called in the table.

    Raises:
        UserError: If ``metrics.json`` is missing, or a file cannot be read.
    """
    if not (folder / FILE).is_file():
        raise UserError(f"{folder} holds no {FILE}: it is neither a finished run nor an evaluation")
    metrics = _numbers(folder / FILE)
    config = _yaml(folder / "config.yaml", {})
    model, data, evaluation = (
        _group(config, key, folder) for key in ("model", "data", "evaluation")
    )
    overrides = _yaml(folder / ".hydra" / "overrides.yaml", [])
    times, machines, parameters = _benchmarks(folder)
    events = metrics.get(f"{PREFIX}events")
    return Run(
        name=name,
        source=str(folder),
        data="+".join(str(data[key]) for key in ("name", "view") if data.get(key))
        or "unknown data",
        model=str(model.get("name") or Path(str(config.get("generated") or "")).stem),
        size=str(model.get("size") or ""),
        overrides=tuple(str(item) for item in overrides if not _own(str(item))),
        level=str(evaluation.get("level", "")),
        events=None if events is None else round(events),
        truth=_truth(config, data),
        figures=_figures(metrics),
        times=times,
        machines=machines,
        parameters=parameters,
    )


def told_apart(runs: Sequence[Run]) -> list[Run]:
    """Jobs of a sweep, whose directories are numbers, by what was asked of them: ``caloinn seed=1`` for
    ``2026-11-30/1``, with the directory where that is the same for several.
    """
    asked = [_asked(run) for run in runs]
    return [
        run
        if words is None
        else replace(run, name=words if asked.count(words) == 1 else f"{words} ({run.name})")
        for run, words in zip(runs, asked, strict=True)
    ]


def _asked(run: Run) -> str | None:
    """Model and overrides of a job, None of what is no job."""
    if not Path(run.name).name.isdecimal():
        return None
    return " ".join(filter(None, [run.model, *run.overrides])) or None


def _group(config: Mapping[str, Any], key: str, folder: Path) -> Mapping[str, Any]:
    """A part of the configuration, empty where there is none."""
    found = config.get(key) or {}
    if not isinstance(found, dict):
        raise UserError(f"{folder / 'config.yaml'} is damaged: {key!r} is no mapping")
    return found


def _own(override: str) -> bool:
    key = override.partition("=")[0].lstrip("+~")
    return key in OWN_COLUMNS or key.startswith("hydra")


def _truth(config: Mapping[str, Any], data: Mapping[str, Any]) -> str:
    """What tells apart the true events that generated ones were judged against."""
    if config.get("reference"):
        return str(config["reference"])
    return json.dumps([data.get(key) for key in ("root", "files", "energies")])


def _figures(metrics: Mapping[str, float]) -> dict[str, Figure]:
    """Figures of the test, and the means of separation powers over layers."""
    found = {}
    for key, value in metrics.items():
        if key.startswith(PREFIX) and not is_twin(key, metrics):
            found[key.removeprefix(PREFIX)] = Figure(value, *(metrics.get(key + t) for t in TWINS))
    layers: dict[str, list[Figure]] = defaultdict(list)
    for key, figure in found.items():
        if match := _LAYER.fullmatch(key):
            layers[f"separation/{match[1]}"].append(figure)
    for key, figures in layers.items():
        floors = [item.floor for item in figures if item.floor is not None]
        mean = fmean(floors) if len(floors) == len(figures) else None
        found[key] = Figure(fmean(item.value for item in figures), None, mean)
    return {key: figure for key, figure in found.items() if not _LAYER.fullmatch(key)}


def _benchmarks(
    folder: Path,
) -> tuple[dict[tuple[str, int], Figure], dict[str, str], dict[str, int]]:
    """Times, machines and parameters of the benchmarks that lie in a directory."""
    times: dict[tuple[str, int], Figure] = {}
    machines: dict[str, str] = {}
    parameters: dict[str, int] = {}
    for path in sorted(folder.glob("benchmark*.json")):
        found = _json(path)
        try:
            device = found["device"]
            machines[device["type"]] = f"{device['name']}, {device['threads']} threads"
            parameters |= {key: int(value) for key, value in found["parameters"].items()}
            for item in found["timings"]:
                if "ms_per_event" in item:
                    ms = item["ms_per_event"]
                    half = (ms["upper_quartile"] - ms["lower_quartile"]) / 2
                    key = (str(device["type"]), int(item["batch_size"]))
                    times[key] = Figure(float(ms["median"]), half)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise UserError(f"{path} is not what 'simulacra benchmark' writes") from error
    return times, machines, parameters


def _numbers(path: Path) -> dict[str, float]:
    """Finite figures of ``metrics.json``."""
    found = _json(path)
    wrong = [
        key
        for key, value in found.items()
        if type(value) is not float and not (type(value) is int and abs(value) < LARGEST)
    ]
    if wrong:
        raise UserError(f"{path} is damaged: {wrong[0]!r} is no number")
    return {key: float(value) for key, value in found.items() if math.isfinite(value)}


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is damaged: {str(error).splitlines()[0]}") from error
    if not isinstance(found, dict):
        raise UserError(f"{path} is damaged: it holds no table of figures")
    return found


def _yaml(path: Path, default: Any) -> Any:
    """Contents of a file, or ``default`` where there is none."""
    if not path.is_file():
        return default
    found = read_yaml(path)
    if found is not None and not isinstance(found, type(default)):
        raise UserError(f"{path} is damaged: it holds no {type(default).__name__}")
    return found or default
