"""What the figures of a report show, in words, by the name of the figure."""

from __future__ import annotations

import re

PANEL = (
    "Grey: truth; red: generated events; below: their ratio with the truth's statistical error as a band. "
    "Triangles stand for ratios beyond the drawn range, bins without a ratio for too few true values."
)
NUMBERS = (
    "S is the separation power (0: alike, 1: no common bin), its floor that of truth against truth. χ² "
    "compares the drawn range with errors of both samples; p is given for one "
    "value per event, and is too large where "
    "both samples have the same conditions by construction."
)
CAPTIONS: tuple[tuple[str, str, str], ...] = (
    (
        r"observables_(\d+)",
        "Observables, page {0}",
        f"{PANEL} {NUMBERS} Of observables that differ in the layer alone some are shown.",
    ),
    (
        r"profiles",
        "Mean profiles",
        f"Mean content per event. {PANEL} Errors are those of whole events, the spread of their energies "
        "included; χ² takes the correlations of the bins into account.",
    ),
    (
        r"images",
        "Mean images",
        "Mean content per cell, of rings per area: truth, generated events on the same scale of colours, and "
        "the relative difference. Pointed ends of a scale mean that there are values beyond it.",
    ),
    (
        r"response",
        "Response and resolution",
        "Mean and relative width of what is seen over what was asked for, with statistical errors; below: "
        "generated over true values with the error of the truth as a band.",
    ),
    (
        r"response_shapes(?:_(\d+))?",
        "Response in bins of what was asked for",
        f"{PANEL} χ² and p as for the observables.",
    ),
    (
        r"correlation",
        "Correlations",
        "Correlations of truth and generated events (of sensors: of ranks), and their difference, with its "
        "mean, error and floor where a score measures it. A row that never varies has none, which is drawn "
        "as zero.",
    ),
    (
        r"misfit",
        "Where it is wrong",
        "Grey: truth; line: the truth with weights, the ratio of densities, generated over true, that the "
        "test of goodness of fit has learned from all inputs together. The ratio below is that quotient "
        "along the observable, free of the fluctuations of its bins; the observables that it changes most "
        "are shown.",
    ),
    (
        r"reconstruction",
        "Reconstruction",
        "Energies with their fits, widths of places and directions, and how often two showers at a distance "
        "are told apart, with statistical errors. The ideal sampler is the truth in another representation. "
        "Below: generated events minus truth in standard deviations, with a band of one of them.",
    ),
    (
        r"scan_(.+)",
        "Scan over the condition {0}",
        "One condition is moved while the noise stays the same. Squares: true events near each value. The "
        "grey range is that of the training, what lies outside is extrapolated.",
    ),
    (
        r"event_(.+)",
        "One event along the condition {0}",
        "The same noise at rising values of the condition, on one scale of colours for each row.",
    ),
    (
        r"training",
        "Training",
        "Losses of the training, and how well events of the validation part were imitated on the way; the "
        "best checkpoint is the one that was tested.",
    ),
    (
        r"full_and_fast(?:_(\d+))?",
        "Full and fast simulation",
        f"The same particles, simulated in full and with the generator. {PANEL}",
    ),
)
"""Pattern of the name, title and text."""


def caption(name: str) -> tuple[str, str]:
    """Title and text of a figure; of one that is not known its name alone."""
    for pattern, title, text in CAPTIONS:
        if found := re.fullmatch(pattern, name):
            parts = [(part or "").replace("_", " ") for part in found.groups()]
            return title.format(*parts), text
    return name.replace("_", " "), ""
