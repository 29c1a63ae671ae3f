"""Colours, sizes and small helpers that all figures share.

Figures are built without pyplot's state, so that nothing stays open, and inside :func:`styled`, so
that a user's own settings are neither used nor changed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import NullFormatter
from numpy.typing import NDArray

Array = NDArray[np.float64]

TRUTH_FILL, TRUTH_EDGE, MODEL = "#c9ccd1", "#6b7078", "#c2272d"
BAND, NETWORKS = "#9aa0a8", "#e58a6f"
MARGINS = {"left": 0.75, "right": 0.15, "top": 0.45, "bottom": 0.55, "wide": 0.75, "high": 0.65}
"""Default margins and gaps [inches]."""
LABELS = ("truth", "generated")

_STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 9.0,
    "axes.labelsize": 9.5,
    "axes.titlesize": 9.5,
    "axes.linewidth": 0.8,
    "axes.formatter.limits": (-3, 4),
    "axes.formatter.use_mathtext": True,
    "xtick.direction": "in",
    "ytick.direction": "in",
    "xtick.top": True,
    "ytick.right": True,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "legend.frameon": False,
    "legend.fontsize": 10.0,
    "figure.dpi": 110,
    "savefig.dpi": 110,
    "text.usetex": False,
}


@contextmanager
def styled() -> Iterator[None]:
    """The house style, for the time a figure is built."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_STYLE)  # type: ignore[arg-type]  # keys are literals in its stubs
        yield


def new_figure(width: float, height: float) -> Figure:
    """A figure of this size [inches]."""
    return Figure(figsize=(width, height))


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
    cell_w = (width - gap["left"] - gap["right"] - (columns - 1) * gap["wide"]) / columns
    cell_h = (height - gap["top"] - gap["bottom"] - (rows - 1) * gap["high"]) / rows
    return figure.add_gridspec(
        rows, columns,
        left=gap["left"] / width, right=1 - gap["right"] / width,
        bottom=gap["bottom"] / height, top=1 - gap["top"] / height,
        wspace=gap["wide"] / cell_w, hspace=gap["high"] / cell_h,
    )  # fmt: skip


def with_unit(label: str, unit: str) -> str:
    """``label [unit]``."""
    return f"{label} [{unit}]" if unit else label


def legend(
    figure: Figure,
    labels: tuple[str, str],
    events: tuple[int, int] | None = None,
    networks: int = 0,
) -> None:
    """One legend above all panels; ``networks`` are those of which bands are drawn."""
    counts = ("", "") if events is None else tuple(f" ({n:,} events)" for n in events)
    handles = [
        Patch(fc=TRUTH_FILL, ec=TRUTH_EDGE),
        Line2D([], [], color=MODEL, lw=1.6),
        Patch(fc=BAND, alpha=0.4),
    ]
    texts = [labels[0] + counts[0], labels[1] + counts[1], f"statistical error of {labels[0]}"]
    if networks:
        handles.append(Patch(fc=NETWORKS, alpha=0.5))
        texts.append(f"spread of {networks} networks")
    figure.legend(handles, texts, loc="upper center", ncols=len(handles))


def ratio_limits(ax: Axes, values: Array, band: Array, weight: Array) -> None:
    """Limits of a ratio panel around 1, from 5 % to a factor of two.

    Args:
        ax: The panel.
        values: Ratios ``(K,)``.
        band: Relative errors of the truth; limits are wide enough for them and for the ratios.
        weight: Content of the bins, of which nearly all shall be seen.
    """
    deviation = np.maximum(np.abs(values - 1), 1.2 * band)
    good = np.isfinite(deviation) & (weight > 0)
    reach = 0.05
    if good.any():
        order = np.argsort(deviation[good])
        share = np.cumsum(weight[good][order]) / weight[good].sum()
        last = min(int(np.searchsorted(share, 0.97)), len(order) - 1)
        reach = float(deviation[good][order][last])
    steps = np.array([0.05, 0.1, 0.2, 0.5, 1.0])
    half = float(steps[min(int(np.searchsorted(steps, 1.15 * reach)), len(steps) - 1)])
    ax.set_ylim(1 - half, 1 + half)
    ax.set_yticks([1 - 0.6 * half, 1, 1 + 0.6 * half])
    ax.minorticks_off()


def logarithmic(ax: Axes, low: float, high: float) -> None:
    """Logarithmic horizontal axis, whose numbers between decades would overlap where a decade has one."""
    ax.set_xscale("log")
    if np.floor(np.log10(high)) >= np.ceil(np.log10(low)):
        ax.xaxis.set_minor_formatter(NullFormatter())


def quotient(numerator: Array, denominator: Array) -> Array:
    """Ratio, NaN where the denominator is 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(denominator > 0, numerator / denominator, np.nan)
