"""High-level features and separation powers of 10,000 showers of data set 2 against a plain loop, and against
one pass over the array; ``pytest -m bench -s tests/benchmarks/test_calo_speed.py`` prints the ratios.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from simulacra import data
from simulacra.core import Batch
from simulacra.metrics.distances.separation import separation_of_counts
from simulacra.metrics.engine.bins import histogram, resolve
from simulacra.physics.base import Ragged
from simulacra.physics.calochallenge import CaloChallengeObservables
from support import composed

EVENTS, REPEATS = 10_000, 5
Array = NDArray[np.float64]


def cpu_time(*functions: Callable[[], object]) -> list[float]:
    """Median processor seconds of each function, called in turn."""
    seconds: list[list[float]] = [[] for _ in functions]
    for _ in range(REPEATS):
        for number, function in enumerate(functions):
            start = time.process_time()
            function()
            seconds[number].append(time.process_time() - start)
    return [statistics.median(found) for found in seconds]


def flat(value: torch.Tensor | Ragged) -> torch.Tensor:
    """Values of an observable ``(n,)``."""
    return value.values if isinstance(value, Ragged) else value


def plain(showers: Array, energy: Array, observables: CaloChallengeObservables) -> dict[str, Array]:
    """Every quantity of every layer in a loop, one NumPy expression after the other."""
    voxels = np.where(showers < observables.spec.cut, 0.0, showers)
    found = {"e_tot_over_e_inc": voxels.sum(1) / energy}
    start = 0
    for layer in observables.geometry.layers:
        cells = voxels[:, start : start + layer.size]
        start += layer.size
        x, y = (part.flatten().numpy() for part in layer.cartesian())
        r = layer.centres()[1].expand(layer.shape).flatten().numpy()
        found[f"energy_layer_{layer.id}"] = cells.sum(1)
        found[f"sparsity_layer_{layer.id}"] = 1 - (cells > 0).mean(1)
        for name, at in (("eta", x), ("phi", y), ("r", r)):
            centre = (at * cells).sum(1) / (cells.sum(1) + 1e-16)
            square = (at**2 * cells).sum(1) / (cells.sum(1) + 1e-16)
            found[f"ec_{name}_layer_{layer.id}"] = centre
            found[f"width_{name}_layer_{layer.id}"] = np.sqrt(np.maximum(square - centre**2, 0))
    found["voxel_energy"] = voxels.flatten()
    return found


def plain_powers(
    values: dict[str, Array], reference: dict[str, Array], edges: dict[str, Array]
) -> Array:
    """Separation powers from ``np.histogram`` of one quantity after the other."""
    powers = []
    for name, found in values.items():
        p, q = (
            np.histogram(part, bins=edges[name], density=True)[0]
            for part in (reference[name], found)
        )
        width = np.diff(edges[name])
        powers.append(0.5 * np.sum((p - q) ** 2 / (p + q + 1e-16) * width))
    return np.array(powers)


@pytest.mark.bench
@pytest.mark.timeout(900)
def test_features_and_separation_powers_of_ten_thousand_showers() -> None:
    module = data.build(composed("data", "data=ds2", "data.validation=0"))
    module.setup()
    part = module.batch(EVENTS)
    index = torch.arange(EVENTS) % len(part)
    batch = part[index]
    observables = module.observables
    assert isinstance(observables, CaloChallengeObservables)
    truth = observables(batch)
    edges = {name: resolve(axis, flat(truth[name])) for name, axis in observables.axes().items()}
    showers, energy = batch.x.flatten(1).numpy(), batch.cond["incident_energy"][:, 0].numpy()
    before = plain(showers, energy, observables)

    def ours() -> dict[str, float]:
        fresh = Batch(batch.x, batch.cond)
        found = observables(fresh)
        observables.features(fresh)
        counts = {
            name: [histogram(flat(part[name]), edge)[1:-1] for part in (truth, found)]
            for name, edge in edges.items()
        }
        return {name: float(separation_of_counts(p, q)) for name, (p, q) in counts.items()}

    def loop() -> Array:
        found = plain(showers, energy, observables)
        return plain_powers(found, before, {name: edge.numpy() for name, edge in edges.items()})

    own, plainly, reading = cpu_time(ours, loop, showers.sum)
    print(  # noqa: T201
        f"\nplain loop / ours {plainly / own:.1f}, ours / one pass over the array {own / reading:.1f}"
    )
    assert plainly / own > 2
