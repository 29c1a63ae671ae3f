"""The comparison as a page: sortable tables, shaded by value over floor, and Pareto plots."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from simulacra.plotting.fronts import Point
from simulacra.tracking import page
from simulacra.tracking.compare import (
    TEST_TIME,
    Group,
    Time,
    label,
    pareto,
    point,
    ranked,
    time_label,
    time_of,
    time_title,
)
from simulacra.tracking.compare_runs import Figure, Run
from simulacra.tracking.page import Cell, Column, Line
from simulacra.tracking.page_plot import scatter

PLOTTED = ("classifier/boosted/auc", "fpd", "classifier/high/auc", "w1_mean", "w1m")
"""Figures that are plotted against time and parameters, the first two that a data set's rows have."""
AUC_SHADES = (("q1", 0.52), ("q2", 0.6), ("q3", 0.8))


def write_compare(path: Path, groups: Sequence[Group], origin: Sequence[str]) -> Path:
    """Write the page.

    Args:
        path: The file.
        groups: Runs by data set.
        origin: Where the runs and the code come from, a line each.
    """
    runs = sum(len(group.runs) for group in groups if not group.published)
    title = f"Comparison of {runs} run{'s' if runs != 1 else ''}"
    names = list(dict.fromkeys(group.data for group in groups))
    body = page.render(
        "compare.html",
        title=title,
        sets=", ".join(names),
        shades=page.shades(),
        auc_shades=page.shades(AUC_SHADES),
        sections=[_section(name, [g for g in groups if g.data == name]) for name in names],
        origin=list(origin),
    )
    return page.write_page(path, title, [body])


def _section(data: str, groups: Sequence[Group]) -> dict[str, Any]:
    """Tables and plots of one data set, as the template takes them."""
    shown = [
        {
            "mark": group.mark,
            "table": page.table(f"{data}-{_kind(group)}", *_headline(group)),
            "fronts": group.fronts,
        }
        for group in groups
    ]
    separations = []
    for group in groups:
        if keys := group.separations:
            body = page.table(f"{data}-{_kind(group)}-separation", *_figures(group, keys))
            title = "Separation powers" + (" of the published results" if group.published else "")
            separations.append(
                page.details(f"{title}, means over layers where an observable has them", body)
            )
    return {
        "data": data,
        "groups": shown,
        "plots": [_drawn(plot) for plot in plots(groups)],
        "separations": separations,
    }


def _kind(group: Group) -> str:
    return "published" if group.published else "runs"


def _headline(group: Group) -> tuple[list[Column], list[Line]]:
    keys, times = group.headlines, group.times
    levels = {(run.level, run.events) for run in group.runs} != {("", None)}
    kinds = [
        kind for kind in ("generation", "training") if any(kind in r.parameters for r in group.runs)
    ]
    flagged = any(group.flags)
    named = any(run.model not in ("", run.name) for run in group.runs)
    columns = [
        Column("run", "run", text=True),
        *([Column("model", "model", text=True)] if named else []),
        *(Column(_id(key), label(key), title=key) for key in keys),
        *(
            Column(_time_id(time), time_label(time), title=f"{time_title(time)} [ms]")
            for time in times
        ),
        *(
            Column(f"parameters_{kind}", f"params {kind[:3]}.", title=f"parameters in {kind}")
            for kind in kinds
        ),
        *([Column("level", "evaluation", text=True)] if levels and not group.published else []),
        *([Column("differs", "differs in", text=True)] if flagged else []),
    ]
    lines = []
    for run, why, front in zip(group.runs, group.flags, group.front, strict=True):
        cells = [
            _name(run, front),
            *([_model(run)] if named else []),
            *(_quality(key, run.figures.get(key)) for key in keys),
            *(_time(time_of(run, time)) for time in times),
            *(_count(run.parameters.get(kind)) for kind in kinds),
            *([_level(run)] if levels and not group.published else []),
            *([page.words(", ".join(why), "flag long")] if flagged else []),
        ]
        css = [name for name, on in (("front", front), ("published", run.published)) if on]
        lines.append(Line(cells, " ".join(css)))
    return columns, lines


def _figures(group: Group, keys: Sequence[str]) -> tuple[list[Column], list[Line]]:
    columns = [Column("run", "run", text=True)]
    columns += [Column(_id(key), label(key), title=key) for key in keys]
    lines = [
        Line([_name(run, False), *(_quality(key, run.figures.get(key)) for key in keys)])
        for run in group.runs
    ]
    return columns, lines


def _id(key: str) -> str:
    """Name of a column in a link: ``classifier/boosted/auc`` becomes ``classifier-boosted-auc``."""
    return key.replace("/", "-")


def _time_id(time: Time) -> str:
    return TEST_TIME if time is None else f"ms_{time[0]}_{time[1]}"


def _name(run: Run, front: bool) -> Cell:
    shown = page.part("run", run.name, front, " ".join(run.overrides))
    return Cell(shown, run.name, "long", run.source)


def _model(run: Run) -> Cell:
    shown = page.part("small", run.model, run.size)
    return Cell(shown, f"{run.model} {run.size}".strip() or None)


def _quality(key: str, figure: Figure | None) -> Cell:
    if figure is None:
        return Cell()
    notes = [] if figure.floor is None else [page.short(figure.floor)]
    notes += [] if figure.z is None else [f"z {page.short(figure.z, 2)}"]
    if key.endswith("/auc"):
        css = next((name for name, top in AUC_SHADES if figure.value <= top), "q4")
    else:
        css = page.shade(figure.value, figure.floor) if _small_is_good(key) else ""
    text = page.with_error(figure.value, figure.error)
    return Cell(page.part("small", text, " · ".join(notes)), figure.value, css)


def _small_is_good(key: str) -> bool:
    """Whether the figure is a distance, so that its floor is its best value."""
    return key not in ("log_posterior", "cov") and not key.startswith(("prdc/", "equivalent_n"))


def _time(figure: Figure | None) -> Cell:
    if figure is None:
        return Cell()
    title = "" if figure.error is None else f"± {page.short(figure.error)}"
    return Cell(page.short(figure.value), figure.value, title=title)


def _count(number: int | None) -> Cell:
    if number is None:
        return Cell()
    return Cell(page.count(number), number, title=f"{number:,}")


def _level(run: Run) -> Cell:
    events = "" if run.events is None else f"{run.events:,} events"
    shown = page.part("small", run.level or "unknown", events)
    return Cell(shown, f"{run.level} {run.events or 0:09d}")


@dataclass(frozen=True)
class Plot:
    """Quality of the rows of a data set against time or size.

    Args:
        name: Of its file.
        points: At least two.
        x_label: What is along the abscissa.
        y_label: The figure of merit.
        log_y: Whether the ordinate is logarithmic.
        base: The best value there is, or None.
        note: What is said below it.
    """

    name: str
    points: tuple[Point, ...]
    x_label: str
    y_label: str
    log_y: bool
    base: float | None
    note: str


def plots(groups: Sequence[Group]) -> Iterator[Plot]:
    """The first figures of merit that the rows of a data set have, against time and against parameters; where
    own runs have no benchmark, also against the time of the published rows.
    """
    own = [group for group in groups if not group.published] or list(groups)
    times = {group.time for group in own}
    if None in times:
        times |= {group.time for group in groups if group.published}
    for key in [key for key in PLOTTED if any(key in group.headlines for group in groups)][:2]:
        for against in [*sorted(times, key=str), "parameters"]:
            if plot := _plot(groups, key, against):
                yield plot


def _plot(groups: Sequence[Group], key: str, against: Time | str) -> Plot | None:
    """One plot; None where fewer than two points can be shown."""
    log_y, timed = not key.endswith("/auc"), not isinstance(against, str)
    points, hidden = [], 0
    for group in groups:
        places = [_place(run, key, against) for run in group.runs]
        lowest = 0.0 if log_y else -math.inf
        shown = [at if at and at[0] > lowest and at[1] > 0 else None for at in places]
        hidden += sum(at is not None for at in places) - sum(at is not None for at in shown)
        compared = [
            at if ranked(why, key, timed) else None
            for at, why in zip(shown, group.flags, strict=True)
        ]
        alone = sum(at is not None for at in compared) < 2
        best = [False] * len(compared) if alone else pareto(compared)
        for run, at, front in zip(group.runs, shown, best, strict=True):
            if at is not None:
                figure = run.figures[key]
                kind = "published" if run.published else "run"
                points.append(Point(at[1], figure.value, figure.error, run.name, kind, front))
    if len(points) < 2:
        return None
    along = "size" if isinstance(against, str) else _time_id(against)
    text = "parameters in generation" if isinstance(against, str) else f"{time_title(against)} [ms]"
    note = ["steps: Pareto front of like runs"] if any(item.front for item in points) else []
    if {item.kind for item in points} == {"run", "published"}:
        marks = dict.fromkeys(group.mark for group in groups if group.mark)
        note.append(f"circles: runs, squares: {'; '.join(marks)}")
    if hidden:
        note.append(f"{hidden} with a value of zero or below not shown")
    name = f"{groups[0].data}_{_id(key)}_{along}".replace("+", "_")
    return Plot(
        name, tuple(points), text, label(key), log_y, None if log_y else 0.5, "; ".join(note)
    )


def _drawn(plot: Plot) -> Markup:
    """A plot as a part of the page."""
    shown = scatter(plot.points, plot.x_label, plot.y_label, log_y=plot.log_y, base=plot.base)
    return page.part("figure", Markup(shown), plot.note)


def _place(run: Run, key: str, against: Time | str) -> tuple[float, float] | None:
    """Quality and time, or quality and parameters."""
    if not isinstance(against, str):
        return point(run, key, against)
    figure, number = run.figures.get(key), run.parameters.get("generation")
    return None if figure is None or not number else (figure.value, float(number))
