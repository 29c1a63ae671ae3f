r"""How near two showers may come before they are taken for one.

Two showers are laid over each other, at :math:`\pm d/2` along a random direction from a random point, and
read out in square cells, of which those below the cut are dropped. A fixed and simple algorithm then looks
for particles, by seeds that are joined to their nearest neighbours layer by layer:

1. A *seed* is a cell that is the brightest of the 3 x 3 cells around it and holds a share :data:`SEED` of all
   that is seen; in each layer the four brightest count. Its energy and place are those of its 3 x 3 cells.
2. From the first layer to the last, and in each from the brightest seed to the faintest, a seed goes to the
   nearest chain of seeds within :data:`LINK` cells of its mean place that has none in this layer yet; where
   there is no such chain, it begins one.
3. Two showers are found if the two chains of most energy hold a share :data:`BRIGHT` of what the fainter
   shower should, each, and lie, one each, within :math:`\max(d, p) / 2` of the true places (:math:`p`: the
   size of a cell).

The efficiency :math:`\varepsilon(d)` is the share of pairs in which two are found; the *separation* is the
distance from which on it stays above one half, between two distances on a straight line. Pairs that share a
shower are not independent: with :math:`e_p` the influence of pair :math:`p` on a figure and :math:`S_v` the
sum of it over the pairs with shower :math:`v`,

.. math:: \sigma^2 = \sum_v S_v^2 - \sum_p e_p^2.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from simulacra.metrics.engine.curve import Series
from simulacra.metrics.engine.weighted import Weight
from simulacra.metrics.protocols.reconstruction_estimate import Estimate
from simulacra.physics.deposits import Deposits

SEED = 0.004
"""Share of the energy of both showers that a seed has in its cell."""
LINK = 2.0
"""Distance from a chain up to which a seed belongs to it [cells]."""
BRIGHT = 0.25
"""Share of the seen energy that the fainter shower should have, which a chain needs."""
SEEDS, CHAINS = 4, 8
"""Seeds per layer and chains per pair, at most."""
MARGIN = 8
"""Cells around the outermost true place that are read out."""
BLOCK = 2**22
"""Cells that are filled at once."""
FAR = 4.0
"""Distance from which on showers no longer touch [cells]."""
TOLERANCE = 1.15
"""Factor by which the energy of a partner may be off."""

Array = NDArray[np.float64]
Index = NDArray[np.int64]


@dataclass(frozen=True)
class Pairs:
    """Pairs of showers.

    Args:
        first: The brighter ones ``(P,)``.
        second: The fainter ones ``(P,)``.
        ratio: Energy of the brighter over that of the fainter one.
    """

    first: Index
    second: Index
    ratio: float

    def __len__(self) -> int:
        return len(self.first)


def draw_pairs(
    energy: Tensor,
    weight: Weight,
    ratio: float,
    fainter: tuple[float, float],
    count: int,
    generator: torch.Generator,
) -> Pairs:
    """Draw pairs with replacement, as often as their showers' weights say.

    Args:
        energy: Incident energy of each shower ``(N,)``.
        weight: Its weight.
        ratio: Energy of the brighter over that of the fainter one, within 15 %.
        fainter: Range of the fainter one's energy.
        count: Pairs, at most; not more than there are fainter showers.
        generator: Randomness.
    """
    order = energy.argsort()
    ordered = energy[order]
    steps = (torch.ones_like(ordered) if weight is None else weight[order]).double()
    summed = torch.cat([steps.new_zeros(1), steps.cumsum(0)])
    ends = torch.searchsorted(ordered, ordered.new_tensor(fainter))
    count = min(count, int(ends[1] - ends[0]))
    share = torch.rand(2, count, generator=generator, dtype=torch.float64)

    def drawn(low: Tensor, high: Tensor, u: Tensor) -> Tensor:
        level = summed[low] + u * (summed[high] - summed[low])
        return (torch.searchsorted(summed, level, right=True) - 1).clamp(0, len(order) - 1)

    second = drawn(ends[:1].expand(count), ends[1:].expand(count), share[0])
    wanted = ratio * ordered[second]
    low = torch.searchsorted(ordered, wanted / TOLERANCE)
    high = torch.searchsorted(ordered, wanted * TOLERANCE, right=True)
    first = drawn(low, high, share[1])
    kept = (summed[high] > summed[low]) & (first != second)
    return Pairs(order[first[kept]].numpy(), order[second[kept]].numpy(), ratio)


@dataclass(frozen=True)
class Separation:
    """How often two showers are found.

    Args:
        curve: Efficiency against the distance [mm].
        half: Distance from which on it stays above one half [mm]; NaN if it is not so between two distances.
        far: Mean efficiency at the distances from :data:`FAR` cells on.
    """

    curve: Series
    half: Estimate
    far: Estimate


def separation(
    found: NDArray[np.bool_], pairs: Pairs, distances: Sequence[float], pitch: float
) -> Separation:
    """Efficiency with errors.

    Args:
        found: Whether two showers were found, of each pair at each distance ``(P, D)``.
        pairs: The pairs.
        distances: In rising order ``(D,)`` [mm].
        pitch: Size of a cell [mm].
    """
    at = np.asarray(distances, dtype=np.float64)
    efficiency = found.mean(0)
    off = (found - efficiency) / len(found)  # influence of each pair (P, D)
    curve = Series(at, efficiency, np.array([_error(column, pairs) for column in off.T]))
    last = at >= FAR * pitch
    # where all pairs are found, one more or less is what can be told
    error = max(_error(off[:, last].mean(1), pairs), 1 / len(pairs))
    far = Estimate(float(efficiency[last].mean()), error)
    return Separation(curve, _half(at, efficiency, off, pairs), far)


def _half(at: Array, efficiency: Array, off: Array, pairs: Pairs) -> Estimate:
    below = np.flatnonzero(efficiency < 0.5)
    if not len(below) or below[-1] == len(at) - 1:
        return Estimate(math.nan, math.nan)
    low, high = int(below[-1]), int(below[-1]) + 1
    step, rise = at[high] - at[low], efficiency[high] - efficiency[low]
    share = (0.5 - efficiency[low]) / rise
    influence = -step / rise * ((1 - share) * off[:, low] + share * off[:, high])
    # and likewise where the curve rises from 0 to 1 in one step
    return Estimate(at[low] + share * step, max(_error(influence, pairs), step / len(pairs)))


def _error(influence: Array, pairs: Pairs) -> float:
    """Error of a sum of influences ``(P,)`` of pairs that may share showers."""
    members = np.concatenate([pairs.first, pairs.second])
    sums = np.bincount(members, np.concatenate([influence, influence]))
    squares = float(np.square(influence).sum())
    return math.sqrt(max(float(np.square(sums).sum()) - squares, squares))


@dataclass(frozen=True)
class Readout:
    """Square cells.

    Args:
        pitch: Size of a cell [mm].
        cut: Energy below which a cell is dropped.
        centre: Where a shower's axis crosses the layers ``(2,)`` [mm].
    """

    pitch: float
    cut: float
    centre: Tensor


def found_two(
    deposits: Deposits,
    pairs: Pairs,
    distances: Sequence[float],
    readout: Readout,
    generator: torch.Generator,
) -> NDArray[np.bool_]:
    """Whether two showers are found, of each pair at each distance ``(P, D)``.

    Args:
        deposits: Showers in the order of the numbers of the pairs.
        pairs: Which two.
        distances: Between the axes [mm].
        readout: What they are read out in.
        generator: Randomness of places and directions.
    """
    overlays = len(pairs) * len(distances)
    u = torch.rand(overlays, 3, generator=generator, dtype=torch.float64).numpy()
    distance = np.tile(np.asarray(distances, dtype=np.float64), len(pairs))
    angle = 2 * np.pi * u[:, 2]
    half = distance[:, None] / 2 * np.stack([np.cos(angle), np.sin(angle)], 1)
    middle = (u[:, :2] - 0.5) * readout.pitch
    true = np.stack([middle + half, middle - half], 1)  # (O, 2, 2)
    showers = np.stack([pairs.first, pairs.second], 1).repeat(len(distances), 0)  # (O, 2)
    width = 2 * (math.ceil(max(distances) / 2 / readout.pitch) + MARGIN)
    size = len(deposits.depths) * width**2
    step = max(1, BLOCK // size)
    listed = _Listed.of(deposits, readout.centre)
    blocks = [
        _seeds(listed, showers[at : at + step], true[at : at + step], readout, width)
        for at in range(0, overlays, step)
    ]
    seeds = _joined(blocks, step)
    places, energies = _chains(seeds, overlays, listed.layers, LINK * readout.pitch)
    found = _matched(places, energies, seeds.total, true, pairs.ratio, readout.pitch)
    return found.reshape(len(pairs), len(distances))


@dataclass(frozen=True)
class _Listed:
    """Deposits with the position of each event's first one."""

    start: Index
    counts: Index
    place: Array
    layer: Index
    energy: Array
    layers: int

    @classmethod
    def of(cls, deposits: Deposits, centre: Tensor) -> _Listed:
        counts = np.bincount(deposits.event.numpy(), minlength=deposits.events)
        place = (deposits.place - centre).numpy()
        return cls(
            np.cumsum(counts) - counts,
            counts,
            place,
            deposits.layer.numpy(),
            deposits.energy.numpy(),
            len(deposits.depths),
        )


@dataclass(frozen=True)
class _Seeds:
    """Seeds of some overlays.

    Args:
        overlay: Number of the overlay ``(s,)``.
        layer: Number of the layer ``(s,)``.
        place: Centre of the 3 x 3 cells ``(s, 2)`` [mm].
        energy: Their energy ``(s,)``.
        total: Energy that is read out of each overlay ``(O,)``.
    """

    overlay: Index
    layer: Index
    place: Array
    energy: Array
    total: Array


def _seeds(listed: _Listed, showers: Index, true: Array, readout: Readout, width: int) -> _Seeds:
    overlays, layers = len(showers), listed.layers
    counts = listed.counts[showers.reshape(-1)]
    member = np.repeat(np.arange(2 * overlays), counts)  # which shower of which overlay
    offset = listed.start[showers.reshape(-1)] - (np.cumsum(counts) - counts)
    row = np.arange(len(member)) + offset[member]
    cell = np.floor(
        (listed.place[row] + true.reshape(-1, 2)[member]) / readout.pitch + width / 2
    ).astype(np.int64)
    inside = ((cell >= 1) & (cell < width - 1)).all(1)  # the outermost cells stay empty
    member, row, cell = member[inside], row[inside], cell[inside]
    flat = ((member // 2 * layers + listed.layer[row]) * width + cell[:, 0]) * width + cell[:, 1]
    filled = np.bincount(flat, listed.energy[row], minlength=overlays * layers * width**2)
    filled[filled < readout.cut] = 0.0
    whole = filled.reshape(overlays, -1)
    total = whole.sum(1)
    bright = np.flatnonzero(whole > SEED * total[:, None])
    steps = [i * width + j for i in (-1, 0, 1) for j in (-1, 0, 1)]
    around = np.stack([filled[bright + step] for step in steps], 1)  # (s, 9)
    # of two equal neighbours the later one is the seed
    peak = (around[:, :4].max(1) <= filled[bright]) & (around[:, 5:].max(1) < filled[bright])
    bright, around = bright[peak], around[peak]
    energy = around.sum(1)
    middle = np.stack(np.unravel_index(bright % width**2, (width, width)), 1) + 0.5 - width / 2
    moves = np.array([[i, j] for i in (-1, 0, 1) for j in (-1, 0, 1)], dtype=np.float64)
    place = readout.pitch * (middle + around @ moves / energy[:, None])
    overlay, layer = np.divmod(bright // width**2, layers)
    return _Seeds(overlay, layer, place, energy, total)


def _joined(blocks: Sequence[_Seeds], step: int) -> _Seeds:
    """Seeds of all blocks of ``step`` overlays."""
    overlay = np.concatenate([item.overlay + step * number for number, item in enumerate(blocks)])
    layer, place, energy, total = (
        np.concatenate([getattr(item, name) for item in blocks])
        for name in ("layer", "place", "energy", "total")
    )
    return _Seeds(overlay, layer, place, energy, total)


def _chains(seeds: _Seeds, overlays: int, layers: int, reach: float) -> tuple[Array, Array]:
    """Mean places ``(O, CHAINS, 2)`` and energies ``(O, CHAINS)`` of the chains, 0 where there is none."""
    moments, energy = np.zeros((overlays, CHAINS, 2)), np.zeros((overlays, CHAINS))
    order = np.lexsort((-seeds.energy, seeds.overlay, seeds.layer))
    row = seeds.layer[order] * overlays + seeds.overlay[order]
    first = np.flatnonzero(np.diff(row, prepend=-1))
    rank = np.arange(len(row)) - np.repeat(first, np.diff(first, append=len(row)))
    ends = np.searchsorted(seeds.layer[order], np.arange(layers + 1))
    for layer in range(layers):
        taken = np.zeros((overlays, CHAINS), dtype=bool)
        here, ranks = order[ends[layer] : ends[layer + 1]], rank[ends[layer] : ends[layer + 1]]
        for number in range(SEEDS):
            mine = here[ranks == number]
            at, place = seeds.overlay[mine], seeds.place[mine]
            known = energy[at]
            middle = moments[at] / np.where(known > 0, known, 1.0)[..., None]
            apart = np.hypot(*np.moveaxis(middle - place[:, None], -1, 0))
            apart[(known == 0) | taken[at]] = np.inf
            nearest = apart.argmin(1)
            linked = apart.min(1, initial=np.inf) <= reach
            chain = np.where(linked, nearest, (known == 0).argmax(1))
            free = linked | (known == 0).any(1)
            at, chain, mine = at[free], chain[free], mine[free]
            taken[at, chain] = True
            energy[at, chain] += seeds.energy[mine]
            moments[at, chain] += seeds.energy[mine, None] * seeds.place[mine]
    return moments / np.where(energy > 0, energy, 1.0)[..., None], energy


def _matched(
    places: Array, energies: Array, total: Array, true: Array, ratio: float, pitch: float
) -> NDArray[np.bool_]:
    """Whether the two brightest chains are the two showers ``(O,)``."""
    two = np.argsort(-energies, axis=1)[:, :2]
    bright = np.take_along_axis(energies, two, 1)
    place = np.take_along_axis(places, two[..., None], 1)  # (O, 2, 2)
    apart = np.linalg.norm(place[:, :, None] - true[:, None], axis=-1)  # (O, chain, shower)
    reach = np.maximum(np.linalg.norm(true[:, 0] - true[:, 1], axis=-1), pitch) / 2
    near = apart <= reach[:, None, None]
    matched = (near[:, 0, 0] & near[:, 1, 1]) | (near[:, 0, 1] & near[:, 1, 0])
    found: NDArray[np.bool_] = matched & (bright >= BRIGHT * total[:, None] / (1 + ratio)).all(1)
    return found & (total > 0)
