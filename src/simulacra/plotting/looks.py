"""How figures look: the house style, and those of the two large experiments at the LHC.

The experiments' styles are settings of our own in the manner of their public figures (ticks inwards on all
sides, minor ticks, a sans-serif font, the experiment's name above the axes): they need no package and no
font, and take Helvetica's relatives where there are some.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

_SANS = ["TeX Gyre Heros", "Helvetica", "Nimbus Sans", "Arial", "Liberation Sans", "DejaVu Sans"]

HOUSE: Mapping[str, Any] = {
    "font.family": ["DejaVu Sans"],
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
    "pdf.fonttype": 42,  # letters stay letters
    "svg.fonttype": "path",
    "svg.hashsalt": "simulacra",  # names of parts are the same whenever a figure is written
}
_EXPERIMENT: Mapping[str, Any] = {
    **HOUSE,
    "mathtext.fontset": "dejavusans",
    "axes.linewidth": 1.0,
    "xtick.minor.visible": True,
    "ytick.minor.visible": True,
    "xtick.major.size": 6.0,
    "ytick.major.size": 6.0,
    "xtick.minor.size": 3.0,
    "ytick.minor.size": 3.0,
    "xaxis.labellocation": "right",
    "yaxis.labellocation": "top",
}


@dataclass(frozen=True)
class Look:
    """A style.

    Args:
        experiment: Whose name stands above the axes; empty: nobody's.
        slant: Style of the words behind it, ``normal`` or ``italic``.
        settings: What it sets of matplotlib's.
        bold: Style of the name, ``normal`` or ``italic``.
    """

    experiment: str = ""
    slant: str = "normal"
    settings: Mapping[str, Any] = field(default_factory=lambda: HOUSE)
    bold: str = "normal"


LOOKS: Mapping[str, Look] = {
    "plain": Look(),
    "cms": Look("CMS", "italic", {**_EXPERIMENT, "font.family": _SANS}),
    "atlas": Look("ATLAS", "normal", {**_EXPERIMENT, "font.family": _SANS}, "italic"),
}
