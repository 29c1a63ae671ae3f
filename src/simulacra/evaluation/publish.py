"""What an evaluation leaves in its directory: figures, ``metrics.json``, the report; and the closing line."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from matplotlib.figure import Figure

from simulacra.core.files import write_text
from simulacra.metrics import EvaluationResult
from simulacra.metrics.engine.result import is_twin
from simulacra.tracking.compare import LABELS
from simulacra.tracking.draw import Files
from simulacra.tracking.report import write_report

AUC, W1 = "test/classifier/boosted/auc", "test/w1_mean"
PREFIX = "test/"
SHOWN = ("/error", "/floor", "/z")
WITHOUT = f"{W1}/without/"
TWINS = ("", "/error", "/floor", "/floor/error", "/z")


def publish(
    result: EvaluationResult,
    figures: Mapping[str, float],
    config: Mapping[str, Any],
    folder: Path,
    title: str,
    provenance: Mapping[str, str],
    model: str,
    facts: Mapping[str, str | Path] | None = None,
    drawn: Callable[[], Mapping[str, Figure]] = dict,
) -> dict[str, Path]:
    """Write figures, ``metrics.json`` and ``report.html``.

    Args:
        result: What was found.
        figures: All figures of the run, those of ``result`` among them.
        config: Resolved configuration.
        folder: Directory of the run.
        title: What was evaluated.
        provenance: Where events and code come from.
        model: Name of the generated events in legends.
        facts: What was run, for the report.
        drawn: Draws further figures by name, in the style of the others.

    Returns:
        The images by name.
    """
    images: dict[str, Path] = {}
    if config["evaluation"]["draw"]:
        files = Files.of(config["figures"])
        with files.styled():
            further = drawn()
        images = files.publish(result, model, further.items(), folder / "figures")
    write_json(folder / "metrics.json", dict(sorted(figures.items())))
    level = {
        "evaluation": f"{config['evaluation']['level']}, {result.events[0]:,} true and "
        f"{result.events[1]:,} generated events"
    }
    write_json(folder / "notes.json", {**level, **result.notes})
    write_report(
        folder / "report.html",
        title,
        figures,
        images,
        config,
        provenance,
        {**level, **result.notes},
        overrides(),
        facts,
    )
    return images


def overrides() -> list[str]:
    """What the user changed on the present command line; nothing where there is none."""
    return list(HydraConfig.get().overrides.task) if HydraConfig.initialized() else []


def write_json(path: Path, values: Any) -> None:
    """Write all of it or nothing."""
    write_text(path, json.dumps(values, indent=2) + "\n")


def table(result: EvaluationResult) -> tuple[list[str], list[list[Any]]]:
    """Columns and rows of the observables: separation power and W1, each with error and floor."""
    twins = TWINS[:-1]
    columns = [f"{kind}{twin}".replace("/", " ") for kind in ("separation", "w1") for twin in twins]
    rows = []
    for name in result.histograms:
        keys = [
            f"{result.prefix}{kind}/{name}{twin}" for kind in ("separation", "w1") for twin in twins
        ]
        rows.append([name, *(result.metrics.get(key) for key in keys)])
    return ["observable", *columns], rows


def rows(figures: Mapping[str, float]) -> tuple[list[str], list[list[Any]]]:
    """Columns and rows of all figures, each with error, floor and z."""
    own = [key for key in sorted(figures) if not is_twin(key, figures)]
    cells = [[key, *(figures.get(key + twin) for twin in TWINS)] for key in own]
    return ["figure", *(twin.strip("/").replace("/", " ") or "value" for twin in TWINS)], cells


def headlines(figures: Mapping[str, float]) -> list[tuple[str, list[float | None]]]:
    """Names of the headline figures that there are, each with its value, error, floor and z."""
    keys = {f"{PREFIX}{key}": text for key, text in LABELS.items()}
    return [
        (text, [figures.get(key + twin) for twin in ("", *SHOWN)])
        for key, text in keys.items()
        if key in figures
    ]


def headline(figures: Mapping[str, float]) -> str:
    """The figures that a closing line names, and the observable that decides the mean W1 alone, if any."""
    parts = []
    for key, text, digits in ((AUC, "boosted AUC", ".3f"), (W1, "mean W1", ".3g")):
        if key in figures:
            error = f" ± {figures[f'{key}/error']:{digits}}" if f"{key}/error" in figures else ""
            floor = (
                f" (floor {figures[f'{key}/floor']:{digits}})" if f"{key}/floor" in figures else ""
            )
            parts.append(f"{text} {figures[key]:{digits}}{error}{floor}")
    for key, value in figures.items():
        if key.startswith(WITHOUT):
            parts.append(f"worst: {key.removeprefix(WITHOUT)}, without it {value:.3g}")
    return ", ".join(parts) or "no figures"
