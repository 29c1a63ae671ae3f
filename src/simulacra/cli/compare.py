"""``simulacra compare``: one table and one page over runs and evaluations."""

from __future__ import annotations

import glob
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table
from rich.text import Text

from simulacra.cli.machine import whole_folder
from simulacra.core import UserError
from simulacra.evaluation import saved
from simulacra.evaluation.schema import Compare
from simulacra.plotting.fronts import front_page
from simulacra.tracking import compare as table
from simulacra.tracking.compare import Group
from simulacra.tracking.compare_page import plots, write_compare
from simulacra.tracking.compare_published import published_runs
from simulacra.tracking.compare_runs import FILE, Figure, Run, read_run, told_apart
from simulacra.tracking.draw import Files
from simulacra.tracking.identity import identity
from simulacra.tracking.page import count, short, with_error

log = logging.getLogger(__name__)

SHOWN = (
    "classifier/boosted/auc",
    "classifier/high/auc",
    "w1_mean",
    "fpd",
    "w1m",
    "w1p",
    "sensor_occupancy",
    "sensor_correlation",
    "w1/pixel_charge",
)
"""Figures in the terminal; the files have all."""


WIDTH = 140
"""Columns of the table where it goes to a file."""


def compare(cfg: DictConfig) -> dict[str, Any]:
    """Compare as configured (``conf/compare.yaml``).

    Returns:
        Number of runs and of those on a Pareto front, and the directory.

    Raises:
        UserError: If no run matches, or a directory or file cannot be read.
    """
    config = saved.resolve(cfg, Compare)
    folders = find(config["runs"])
    pairs = zip(folders, names(folders), strict=True)
    runs = told_apart([read_run(folder, name) for folder, name in pairs])
    published = [] if config["published"] is None else published_runs(str(config["published"]))
    groups = table.groups([*runs, *published])
    folder = Path(config["output"])
    with whole_folder(folder):
        folder.mkdir(parents=True, exist_ok=True)
        table.write_csv(folder / "compare.csv", groups)
        write_compare(folder / "report.html", groups, origin(folders))
        draw(groups, Files.of(config["figures"]), folder / "figures")
    for group in groups:
        show(group)
    best = [
        run.name
        for group in groups
        for run, front in zip(group.runs, group.front, strict=True)
        if front and not run.published
    ]
    on = f", on the Pareto front: {', '.join(best)}" if best else ""
    print(f"wrote {folder}: {len(runs)} run{'s' if len(runs) != 1 else ''}{on}")
    return {"runs": len(runs), "front": len(best), "output": str(folder)}


def draw(groups: Sequence[Group], files: Files, folder: Path) -> None:
    """The plots of the page as files of their own."""
    for data in dict.fromkeys(group.data for group in groups):
        for plot in plots([group for group in groups if group.data == data]):
            with files.styled():
                shown = front_page(
                    plot.points, plot.x_label, plot.y_label, log_y=plot.log_y, base=plot.base
                )
            files.write([(plot.name, shown)], folder)


def find(asked: str | Sequence[str] | None) -> list[Path]:
    """The directories that are meant; what a pattern matches besides finished runs is left out.

    Raises:
        UserError: If there is none.
    """
    patterns = [asked] if isinstance(asked, str) else list(asked or ())
    if not patterns:
        raise UserError("comparing needs runs=DIRECTORIES, one, a pattern or a list")
    found: dict[Path, None] = {}
    for pattern in map(str, patterns):
        if not glob.has_magic(pattern) or Path(pattern).is_dir():
            if not Path(pattern).is_dir():
                raise UserError(f"there is no directory {pattern}")
            found[Path(pattern)] = None
            continue
        matches = [Path(item) for item in sorted(glob.glob(pattern, recursive=True))]
        finished = [item for item in matches if (item / FILE).is_file()]
        left_out = sum(item.is_dir() for item in matches) - len(finished)
        if not finished:
            reason = f"{left_out} directories hold no {FILE}" if left_out else "nothing is there"
            raise UserError(f"no run matches {pattern}: {reason}")
        if left_out and "**" not in pattern:
            log.warning("%s: %d directories without %s left out", pattern, left_out, FILE)
        found |= dict.fromkeys(finished)
    return list(found)


def names(folders: Sequence[Path]) -> list[str]:
    """Names of runs: their directories below what they have in common."""
    resolved = [folder.resolve() for folder in folders]
    common = Path(os.path.commonpath([item.parent for item in resolved]))
    return [str(item.relative_to(common)) for item in resolved]


def origin(folders: Sequence[Path]) -> list[str]:
    """Directories, and the code that compared them."""
    versions = identity()
    return [str(folder) for folder in folders] + [
        f"simulacra {versions['simulacra']}, commit {versions.get('git_commit', 'unknown')}"
    ]


def show(group: Group) -> None:
    """Print the table of one data set."""
    title = f"{group.data}, {group.mark}" if group.published else group.data
    shown = Table(title=title, title_justify="left", title_style="bold")
    keys = [key for key in SHOWN if key in group.headlines]
    times = [group.time] if any(table.time_of(run, group.time) for run in group.runs) else []
    sized = any(run.parameters for run in group.runs)
    shown.add_column("run", overflow="fold", min_width=16)
    heads = [table.label(key) for key in keys] + [table.time_label(time) for time in times]
    for head in [*heads, *(["params"] if sized else [])]:
        shown.add_column(head, justify="right", no_wrap=True)
    differ = any(group.flags)
    if differ:
        shown.add_column("differs in")
    for run, why, front in zip(group.runs, group.flags, group.front, strict=True):
        cells = [text(run.figures.get(key)) for key in keys]
        cells += [text(table.time_of(run, time), plain=True) for time in times]
        cells += [size(run)] if sized else []
        cells += [", ".join(why)] if differ else []
        name = Text(run.name + (" ★" if front else ""), style="bold" if front else "")
        shown.add_row(name, *cells)
    console = Console()
    if not console.is_terminal:
        console.width = WIDTH
    console.print(shown)
    if group.fronts:
        print(f"★ Pareto front: {group.fronts}")


def text(figure: Figure | None, plain: bool = False) -> str:
    """A number with its error."""
    if figure is None:
        return ""
    return short(figure.value) if plain else with_error(figure.value, figure.error)


def size(run: Run) -> str:
    """Parameters that generation needs."""
    number = run.parameters.get("generation")
    return "" if number is None else count(number)
