"""Colours, sizes and small helpers that all figures share.

Figures are built without pyplot's state, so that nothing stays open, and inside :func:`styled`, so
that a user's own settings are neither used nor changed.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, StepPatch
from matplotlib.ticker import MaxNLocator, NullFormatter, ScalarFormatter
from matplotlib.transforms import ScaledTranslation
from numpy.typing import NDArray

from simulacra.core.collecting import uncollected
from simulacra.plotting.looks import LOOKS, Look

Array = NDArray[np.float64]

TRUTH_FILL, TRUTH_EDGE, MODEL = "#c9ccd1", "#6b7078", "#c2272d"
BAND, NETWORKS = "#9aa0a8", "#e58a6f"
MARGINS = {"left": 0.75, "right": 0.15, "top": 0.45, "bottom": 0.55, "wide": 0.75, "high": 0.65}
"""Default margins and gaps [inches]."""
LABELS = ("truth", "generated")
HEAD = 0.3
"""Height of the line with the experiment's name [inches]."""
LETTER, LINE = 0.085, 0.24
"""Width of a letter and height of a line of a legend [inches]."""

_head: ContextVar[tuple[Look, str]] = ContextVar("head", default=(LOOKS["plain"], ""))


@contextmanager
def styled(style: str = "plain", label: str | None = None) -> Iterator[None]:
    """A style, for the time a figure is built and written.

    Args:
        style: One of :data:`~simulacra.plotting.looks.LOOKS`.
        label: Words behind the experiment's name; None: neither.
    """
    look = LOOKS[style]
    found = logging.getLogger("matplotlib.font_manager")
    level = found.level
    token = _head.set((look, "" if label is None else f"{look.experiment} {label}".strip()))
    try:
        found.setLevel(logging.ERROR)  # that fonts of a style are missing is no news
        with mpl.rc_context(), uncollected():
            mpl.rcdefaults()
            mpl.rcParams.update(look.settings)  # type: ignore[arg-type]  # keys are literals in its stubs
            yield
    finally:
        found.setLevel(level)
        _head.reset(token)


def new_figure(width: float, height: float) -> Figure:
    """A figure of this size [inches], below the experiment's name where the style has one."""
    look, text = _head.get()
    if not text:
        return Figure(figsize=(width, height))
    figure = Figure(figsize=(width, height + HEAD))
    name, words = look.experiment, text.removeprefix(look.experiment).strip()
    at = 1 - 0.7 * HEAD / (height + HEAD)
    first = MARGINS["left"] / width
    bold = figure.text(first, at, name, fontsize=14, fontweight="bold", fontstyle=look.bold)
    if words:
        box = bold.get_window_extent()
        start = first if not name else box.x1 / figure.dpi / width + 0.08 / width
        figure.text(start, at, words, fontsize=11.5, fontstyle=look.slant)
    return figure


def place(figure: Figure, rows: int, columns: int, **inches: float) -> GridSpec:
    """A grid with margins and gaps in inches, far cheaper than a layout that is solved anew for each figure.

    Args:
        figure: Where.
        rows: Rows of the grid.
        columns: Columns of the grid.
        inches: ``left``, ``right``, ``top``, ``bottom`` margins and the gaps ``wide`` and ``high``.
    """
    width, height = figure.get_size_inches()
    gap = {name: inches.get(name, default) for name, default in MARGINS.items()}
    gap["top"] += _taken()
    cell_w = (width - gap["left"] - gap["right"] - (columns - 1) * gap["wide"]) / columns
    cell_h = (height - gap["top"] - gap["bottom"] - (rows - 1) * gap["high"]) / rows
    return figure.add_gridspec(
        rows, columns,
        left=gap["left"] / width, right=1 - gap["right"] / width,
        bottom=gap["bottom"] / height, top=1 - gap["top"] / height,
        wspace=gap["wide"] / cell_w, hspace=gap["high"] / cell_h,
    )  # fmt: skip


def _taken() -> float:
    """Height of what stands above everything [inches]."""
    return HEAD if _head.get()[1] else 0.0


def with_unit(label: str, unit: str) -> str:
    """``label [unit]``."""
    return f"{label} [{unit}]" if unit else label


def spaced(text: str) -> str:
    """Numbers apart from their units: ``256 MeV`` for ``256MeV``."""
    return re.sub(r"(\d)([kMGT]?eV)\b", r"\1 \2", text)


class Legend:
    """One legend above all panels, in as many columns as fit.

    Args:
        width: Width of the figure [inches].
        entries: What is drawn, and its text.
    """

    def __init__(self, width: float, entries: Sequence[tuple[Artist, str]]) -> None:
        self.entries = entries
        longest = max(len(text) for _, text in entries)
        self.columns = max(1, min(len(entries), int(width / (longest * LETTER + 0.5))))
        self.rows = -(-len(entries) // self.columns)

    @property
    def height(self) -> float:
        """Height that it takes [inches]."""
        return LINE * self.rows + 0.1

    def draw(self, figure: Figure) -> None:
        """Put it at the top."""
        below = ScaledTranslation(0, -_taken(), figure.dpi_scale_trans)
        handles, texts = zip(*self.entries, strict=True)
        figure.legend(
            handles,
            texts,
            loc="upper center",
            bbox_to_anchor=(0.5, 1.0),
            bbox_transform=figure.transFigure + below,
            ncols=self.columns,
            borderaxespad=0.2,
        )


def legend_of(
    width: float,
    labels: tuple[str, str],
    events: tuple[int, int] | None = None,
    networks: int = 0,
    several: str = "networks",
) -> Legend:
    """Legend of histograms; ``networks`` are those of which bands are drawn, called ``several``."""
    counts = ("", "") if events is None else tuple(f" ({n:,} events)" for n in events)
    entries: list[tuple[Artist, str]] = [
        (Patch(fc=TRUTH_FILL, ec=TRUTH_EDGE), labels[0] + counts[0]),
        (Line2D([], [], color=MODEL, lw=1.6), labels[1] + counts[1]),
        (Patch(fc=BAND, alpha=0.4), "statistical error of the truth"),
    ]
    if networks:
        entries.append((Patch(fc=NETWORKS, alpha=0.5), f"spread of {networks} {several}"))
    return Legend(width, entries)


def legend_of_points(
    width: float, labels: tuple[str, str], events: tuple[int, int] | None = None
) -> Legend:
    """Legend of curves through points with errors."""
    counts = ("", "") if events is None else tuple(f" ({n:,} events)" for n in events)
    truth = Line2D([], [], color=TRUTH_EDGE, marker="s", ms=4, lw=1)
    made = Line2D([], [], color=MODEL, marker="o", ms=4, lw=1)
    return Legend(width, [(truth, labels[0] + counts[0]), (made, labels[1] + counts[1])])


HALVES = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
"""Half widths of ratio panels."""


def reach(values: Array, band: Array, weight: Array) -> float:
    """The half width around 1 that a ratio panel needs.

    Args:
        values: Ratios ``(K,)``.
        band: Relative errors of the truth; the range is wide enough for them and for the ratios.
        weight: Content of the bins, of which nearly all shall be seen.
    """
    deviation = np.maximum(np.abs(values - 1), 1.2 * band)
    good = np.isfinite(deviation) & (weight > 0)
    needed = 0.0
    if good.any():
        order = np.argsort(deviation[good])
        share = np.cumsum(weight[good][order]) / weight[good].sum()
        last = min(int(np.searchsorted(share, 0.97)), len(order) - 1)
        needed = float(deviation[good][order][last])
    return next((half for half in HALVES if half >= 1.1 * needed), HALVES[-1])


def shared(halves: Sequence[float]) -> float:
    """One half width for several ratio panels: three of four need no more, the others have arrows."""
    return sorted(halves)[-(-3 * len(halves) // 4) - 1]


def ratio_axis(ax: Axes, half: float) -> None:
    """Limits and ticks of a ratio panel."""
    ax.set_ylim(1 - half, 1 + half)
    ax.set_yticks([1 - half / 2, 1, 1 + half / 2])
    ax.yaxis.set_minor_locator(mpl.ticker.NullLocator())


def arrows(ax: Axes, x: Array, values: Array, half: float) -> None:
    """Marks at the edge of a ratio panel where a value lies beyond it."""
    for marker, beyond, edge in (
        ("^", values > 1 + half, 1 + 0.88 * half),
        ("v", values < 1 - half, 1 - 0.88 * half),
    ):
        if beyond.any():
            at = x[beyond]
            ax.plot(at, np.full(len(at), edge), marker, ms=3.5, color=MODEL, mew=0)


def logarithmic(ax: Axes, low: float, high: float) -> None:
    """Logarithmic horizontal axis, whose numbers between decades would overlap where a decade has one."""
    ax.set_xscale("log")
    if np.floor(np.log10(high)) >= np.ceil(np.log10(low)):
        ax.xaxis.set_minor_formatter(NullFormatter())


class Numbers(ScalarFormatter):
    """Numbers as plain text, which takes a tenth of the time of formulas; powers of ten before an axis are
    formulas as ever.
    """

    def get_offset(self) -> str:
        """What stands before an axis."""
        self.set_useMathText(True)
        text = super().get_offset()
        self.set_useMathText(False)
        return text


def plain_numbers(figure: Figure) -> None:
    """Take :class:`Numbers` where matplotlib would write every number of an axis as a formula."""
    for ax in figure.axes:
        for axis in (ax.xaxis, ax.yaxis):
            if type(axis.get_major_formatter()) is ScalarFormatter:
                axis.set_major_formatter(Numbers(useMathText=False))


def stairs(ax: Axes, values: Array, edges: Array, **look: Any) -> None:
    """``ax.stairs`` on an axis whose limits are set by hand, without the search for what it reaches."""
    ax.add_artist(StepPatch(values, edges, **{"fill": False, **look}))


def few_numbers(ax: Axes) -> None:
    """A linear horizontal axis with so few numbers that they do not meet."""
    ax.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))


def named_bins(ax: Axes, names: Sequence[str], most: int = 12) -> None:
    """Names under the middles of bins of width 1, not more than there is room for."""
    step = -(-len(names) // most)
    places = range(0, len(names), step)
    ax.set_xticks([i + 0.5 for i in places], [names[i] for i in places])
    ax.tick_params(axis="x", which="both", length=0)
    ax.xaxis.set_minor_locator(mpl.ticker.NullLocator())


def quotient(numerator: Array, denominator: Array) -> Array:
    """Ratio, NaN where the denominator is 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(denominator > 0, numerator / denominator, np.nan)
