"""Full against fast simulation of the same particles: figures with errors, and what to draw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from simulacra.core.detector import Detector
from simulacra.deploy.geant4.events import Simulated
from simulacra.deploy.primaries import Primaries
from simulacra.plotting.histogram import Panel, counted

Array = NDArray[np.float64]
LABELS = ("Geant4, full", "with the generator, fast")
SHARE = 0.02
"""Share of the visible energy from which a layer counts for the worst one."""
BINS = 30


def figures(
    detector: Detector, primaries: Primaries, full: Simulated, fast: Simulated
) -> dict[str, float]:
    """All figures, flat, with twins ``…/error``.

    ``response/*``: mean visible over incident energy; ``resolution/*``: its standard deviation over the mean;
    ``ratio/*``: fast over full; ``layer/<number>/*``: shares of the visible energy in a layer; ``ms/*``: CPU
    time per event; ``ms_per_gev/*``: how it grows with the energy of an event; ``particles/<n>/ratio``:
    visible energy of events of n particles.
    """
    incident = np.bincount(primaries.event, primaries.energy, minlength=primaries.events)
    some = incident > 0
    found: dict[str, float] = {}
    both = {"full": full, "fast": fast}
    visible = {name: made.cells.sum(1) for name, made in both.items()}
    for name, made in both.items():
        response = visible[name][some] / incident[some]
        _mean(found, f"response/{name}", response)
        width = float(response.std(ddof=1) / response.mean())
        found[f"resolution/{name}"] = width
        found[f"resolution/{name}/error"] = width / (2 * len(response) - 2) ** 0.5
        _mean(found, f"ms/{name}", 1e3 * made.seconds)
        slope, error = slope_of(incident[some] / 1e3, 1e3 * made.seconds[some])
        found[f"ms_per_gev/{name}"], found[f"ms_per_gev/{name}/error"] = slope, error
    _ratio(found, "ratio/visible", visible["full"], visible["fast"])
    found["ratio/time"] = found["ms/full"] / found["ms/fast"]
    counts = np.bincount(primaries.event, minlength=primaries.events)
    for number in np.unique(counts[counts > 0]):
        own = counts == number
        _ratio(found, f"particles/{number}/ratio", visible["full"][own], visible["fast"][own])
    _layers(found, detector, full, fast)
    found["generated/showers"] = float(fast.generated)
    return found


def _layers(found: dict[str, float], detector: Detector, full: Simulated, fast: Simulated) -> None:
    """Energy of each layer, and the worst ratio of those that hold a share of it."""
    sums = [layer_sums(detector, made.cells) for made in (full, fast)]
    shares = sums[0].mean(0) / sums[0].mean(0).sum()
    worst = 1.0
    for k, share in enumerate(shares):
        found[f"layer/{k}/share"] = float(share)
        _ratio(found, f"layer/{k}/ratio", sums[0][:, k], sums[1][:, k])
        if share > SHARE and abs(found[f"layer/{k}/ratio"] - 1) > abs(worst - 1):
            worst = found[f"layer/{k}/ratio"]
            found["ratio/worst_layer/error"] = found[f"layer/{k}/ratio/error"]
    found["ratio/worst_layer"] = worst


def _mean(found: dict[str, float], key: str, values: Array) -> None:
    found[key] = float(values.mean())
    found[f"{key}/error"] = float(values.std(ddof=1) / len(values) ** 0.5)


def _ratio(found: dict[str, float], key: str, full: Array, fast: Array) -> None:
    """Ratio of means of events that are the same particles: what both share cancels in its error."""
    if not full.mean() or len(full) < 2:
        return
    ratio = float(fast.mean() / full.mean())
    rest = (fast - ratio * full) / full.mean()
    found[key], found[f"{key}/error"] = ratio, float(rest.std(ddof=1) / len(rest) ** 0.5)


def slope_of(x: Array, y: Array) -> tuple[float, float]:
    """Slope of a straight line and its error; NaN of fewer than three different points."""
    spread = np.square(x - x.mean()).sum()
    if len(x) < 3 or not spread:
        return float("nan"), float("nan")
    slope = float(((x - x.mean()) * (y - y.mean())).sum() / spread)
    rest = y - y.mean() - slope * (x - x.mean())
    return slope, float((np.square(rest).sum() / (len(x) - 2) / spread) ** 0.5)


def layer_sums(detector: Detector, cells: Array) -> Array:
    """Energies of the layers ``(events, L)`` of cells ``(events, V)``."""
    borders = np.cumsum(detector.geometry.sizes)[:-1]
    parts: Sequence[Array] = np.split(cells, borders, axis=1)
    return np.stack([part.sum(1) for part in parts], axis=1)


def panels(
    detector: Detector, primaries: Primaries, full: Simulated, fast: Simulated
) -> Mapping[str, Sequence[Panel]]:
    """Pages of histograms: response and profile along the depth, hits and time."""
    incident = np.bincount(primaries.event, primaries.energy, minlength=primaries.events)
    some = incident > 0
    both = (full, fast)
    response = [made.cells.sum(1)[some] / incident[some] for made in both]
    hits = [(made.cells > 0).sum(1).astype(float) for made in both]
    found = [
        _counted("visible over incident energy", "", response),
        _counted("cells with energy", "", hits),
        _profile(detector, full, fast),
    ]
    return {"full_and_fast": found}


def _counted(label: str, unit: str, values: Sequence[Array]) -> Panel:
    low, high = (float(end(np.concatenate(values))) for end in (np.min, np.max))
    edges = np.linspace(low, max(high, low + 1e-9), BINS + 1)
    counts = [np.histogram(some, edges)[0].astype(float) for some in values]
    return counted(label, unit, edges, counts[0], counts[1], log_x=False)


def _profile(detector: Detector, full: Simulated, fast: Simulated) -> Panel:
    sums = [layer_sums(detector, made.cells) for made in (full, fast)]
    edges = np.arange(sums[0].shape[1] + 1.0)
    (first, second), size = (some.mean(0) for some in sums), len(sums[0]) ** 0.5
    errors = [some.std(0, ddof=1) / size for some in sums]
    label = "mean energy per layer [MeV]"
    return Panel("layer", "", edges, first, second, errors[0], errors[1], ordinate=label)
