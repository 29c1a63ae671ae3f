"""``simulacra evaluate``: generated files against a reference file; or one file, checked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table

from simulacra.cli.check import events
from simulacra.cli.machine import whole_folder
from simulacra.core import UserError
from simulacra.evaluation import build, saved
from simulacra.evaluation.judge_files import Judgement, judge_files, listed, places
from simulacra.evaluation.outputs import free
from simulacra.evaluation.publish import headline, headlines
from simulacra.evaluation.recognition import named
from simulacra.evaluation.schema import Evaluate
from simulacra.metrics.worth.score import BOUNDS, KEY
from simulacra.tracking.page import short, with_error

FEW = 3
"""Headline figures below which the closing line says all of them."""
WIDTH = 100
"""Columns of a table that goes to a file."""
EQUIVALENT = tuple(f"test/{KEY}{end}" for end in ("", *(f"/{bound}" for bound in BOUNDS)))
"""Keys of what the equivalent number of events, or its bound, was made of."""


def show(found: Judgement) -> None:
    """Print the headline figures."""
    rows = headlines(found.figures)
    if len(rows) < FEW:
        return
    shown = Table(title=found.path, title_justify="left", title_style="bold")
    for name in ("figure", "value", "floor", "z"):
        shown.add_column(name, justify="left" if name == "figure" else "right", no_wrap=True)
    for name, (value, error, floor, z) in rows:
        if value is not None:
            cells = ["" if item is None else short(item) for item in (floor, z)]
            shown.add_row(name, with_error(value, error), *cells)
    console = Console()
    if not console.is_terminal:
        console.width = WIDTH
    console.print(shown)
    for key in EQUIVALENT:
        if key in found.notes:
            print(f"equivalent N: {found.notes[key]}")


def evaluate(cfg: DictConfig) -> dict[str, Any]:
    """Evaluate as configured (``conf/evaluate.yaml``); needs no model and no training data.

    Returns:
        The figures of ``metrics.json`` (of several files by their names), or the number of events where
        one file is checked.

    Raises:
        UserError: If a file is not what its format promises.
    """
    config = saved.resolve(cfg, Evaluate)
    if config["reference"] is None:
        raise UserError(
            "evaluating needs data=NAME reference=FILE, and generated=FILE unless the file is to be checked"
        )
    if not any(config[key] for key in ("generated", "checkpoint", "ensemble")):
        known = named(build.build_data(config), config["reference"])
        asked = {"output": None, "models": False, "clean": config["evaluation"]["clean"]}
        return {"events": events([known], config["reference"], asked)["events"]}
    output, generated = Path(config["output"]), config["generated"]
    for folder in [output] if generated is None else places(output, listed(generated)):
        free(folder / "metrics.json", config["overwrite"])
    with whole_folder(output):
        found = judge_files(config)
    for item in found:
        show(item)
        print(f"wrote {item.folder}: {headline(item.figures)}")
    return found[0].figures if len(found) == 1 else {item.path: item.figures for item in found}
