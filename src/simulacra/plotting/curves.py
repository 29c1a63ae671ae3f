"""Figures of several trainings over a number in which they differ, a line for each way of training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from simulacra.plotting.style import new_figure, place, styled


@dataclass(frozen=True)
class Level:
    """A figure of trainings that differ in their seed alone.

    Args:
        mean: Over the seeds.
        spread: Standard deviation over the seeds; None where there is one.
    """

    mean: float
    spread: float | None


def curves(
    lines: Mapping[str, Mapping[float, Sequence[Level | None]]],
    labels: Sequence[str],
    floors: Sequence[float | None],
    over: str,
    log: bool = False,
) -> Figure:
    """A panel for each figure of merit.

    Args:
        lines: By name and abscissa, all positive, a level for each panel, None where it is missing.
        labels: Names of the figures of merit.
        floors: What truth against truth has, or None.
        over: Name of the abscissa.
        log: Whether the figures of merit are shown in logarithm.
    """
    with styled():
        figure = new_figure(4.4 * len(labels), 3.4)
        cells = place(figure, 1, len(labels), top=0.2)
        for number, (label, floor) in enumerate(zip(labels, floors, strict=True)):
            ax = figure.add_subplot(cells[0, number])
            for name, points in lines.items():
                _draw(ax, name, {x: levels[number] for x, levels in sorted(points.items())})
            if floor is not None:
                ax.axhline(floor, color="0.5", ls=":", lw=1, label="truth against truth")
            ax.set_xscale("log")
            if log:
                ax.set_yscale("log")
            ax.set_xticks(sorted({x for points in lines.values() for x in points}))
            ax.xaxis.set_major_formatter(lambda x, _: f"{x:,.10g}")
            ax.xaxis.set_minor_formatter(NullFormatter())
            ax.set_xlabel(over)
            ax.set_ylabel(label)
            if not number:
                ax.legend()
    return figure


def _draw(ax: Axes, name: str, points: Mapping[float, Level | None]) -> None:
    known = {x: level for x, level in points.items() if level is not None}
    ax.errorbar(
        list(known),
        [level.mean for level in known.values()],
        [level.spread or 0.0 for level in known.values()],
        fmt="o-",
        ms=3.5,
        lw=1,
        capsize=2,
        label=name,
    )
