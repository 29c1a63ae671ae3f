r"""W1 of standardised observables in equal splits, as ConvL2LFlow measures it (arXiv:2405.20407, script
``wasserstein.py`` of its code).

Both samples of an observable are shuffled, standardised by mean and standard deviation of the reference, cut
to the shorter one's length and split into ten parts; value and error are mean and (unbiased) standard
deviation of the ten distances, in standard deviations of the reference. Observables are the visible over the
incident energy, the occupancy, the spectrum of hits above the cut, energy-weighted mean and width of a shower
along z, x, y in cells, and the profiles along z, x, y: positions of all hits, weighted by their energy.

Note:
    Hits of a profile are dealt to the splits at random, one by one, so that a file is read once and never
    held; splits have equal sizes only up to a fluctuation of the square root of their size. Weights stay with
    the values that are dealt.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from simulacra.core.ranges import Count, NotNegative
from simulacra.metrics.distances.wasserstein import wasserstein
from simulacra.metrics.engine.columns import table
from simulacra.metrics.engine.sample import Sample
from simulacra.metrics.engine.score import (
    Events,
    Figure,
    Judged,
    NotRun,
    TwoSampleMetric,
    chunks,
    score_constructor,
)
from simulacra.metrics.engine.weighted import (
    UNWEIGHTED,
    Weight,
    Weights,
    mean,
    part,
    sample_deviation,
    unequal,
)

SPLITS = 10
AXES = ("z", "x", "y")
"""Axes of the grid in the order of its dimensions."""
CHUNK = 256
"""Events read at once."""


def split_wasserstein(
    reference: Tensor,
    generated: Tensor,
    splits: int = SPLITS,
    generator: torch.Generator | None = None,
    weights: Weights = UNWEIGHTED,
) -> Tensor:
    """W1 in each split.

    Args:
        reference: Values ``(n,)``; those that are not finite are left out.
        generated: Values ``(m,)``.
        splits: Number of splits.
        generator: Randomness of the shuffling.
        weights: Weights of the true and of the generated values.

    Returns:
        Distances ``(splits,)`` in standard deviations of the reference.

    Raises:
        NotRun: If there are too few values for so many splits.
    """
    # sorted, so that the seed alone says who meets whom, and not the order of the file
    kept = [
        _sorted(values, weight)
        for values, weight in zip((reference, generated), weights, strict=True)
    ]
    shortest = min(len(values) for values, _ in kept)
    if shortest < 2 * splits:
        raise NotRun(f"{splits} splits need at least {2 * splits} values, got {shortest}")
    middle, scale, size = mean(*kept[0]), _scale(*kept[0]), -(-shortest // splits)
    dealt: list[list[tuple[Tensor, Weight]]] = []
    for values, weight in kept:
        order = torch.randperm(len(values), generator=generator)[:shortest].split(size)
        dealt.append([((values[at] - middle) / scale, part(weight, at)) for at in order])
    return torch.stack([
        wasserstein(p, q, p_weight, q_weight)
        for (p, p_weight), (q, q_weight) in zip(*dealt, strict=True)
    ])  # fmt: skip


class SplitWasserstein(TwoSampleMetric):
    """:func:`split_wasserstein` of one observable over batches and ranks.

    Args:
        splits: Number of splits.
        seed: Seed of the shuffling.
    """

    def __init__(self, splits: int = SPLITS, seed: int = 0) -> None:
        super().__init__()
        self.splits, self.seed = splits, seed

    def compute(self) -> Tensor:
        """Distance in each split."""
        generator = torch.Generator().manual_seed(self.seed)
        return split_wasserstein(*self.rows(), self.splits, generator)


def dealt_profiles(
    events: Events, cut: float, share: float, splits: int, generator: torch.Generator
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Energy and number of the hits of a grid at each position.

    Args:
        events: Showers ``(B, L, X, Y)``.
        cut: Energy above which a cell is a hit.
        share: Share of the hits that each split is dealt.
        splits: Number of splits.
        generator: Randomness of the dealing.

    Returns:
        For each axis the energy ``(splits, positions)`` and the number of all hits ``(positions,)``, both
        with the weights of the events.
    """
    energy: dict[str, Tensor] = {}
    number: dict[str, Tensor] = {}
    for batch in chunks(events, CHUNK):
        places = (batch.x > cut).nonzero()
        values = batch.x[tuple(places.T)].double()
        weight = None if batch.weight is None else batch.weight.double()[places[:, 0]]
        values = values if weight is None else values * weight
        split = (torch.rand(len(places), generator=generator, dtype=torch.float64) / share).long()
        dealt = split < splits
        for axis, (name, size) in enumerate(zip(AXES, batch.x.shape[1:], strict=True), start=1):
            at = places[:, axis]
            counts = torch.bincount(at, weight, minlength=size)
            number[name] = number.get(name, 0) + counts
            found = torch.bincount(
                split[dealt] * size + at[dealt], values[dealt], minlength=splits * size
            )
            energy[name] = energy.get(name, 0) + found.view(splits, size)
    return energy, number


def profile_wasserstein(
    reference: Events,
    generated: Events,
    cut: float,
    hits: tuple[int, int],
    splits: int = SPLITS,
    seed: int = 0,
) -> dict[str, Tensor]:
    """W1 of the energy-weighted profiles in each split.

    Args:
        reference: True showers ``(B, L, X, Y)``.
        generated: Generated showers of the same grid.
        cut: Energy above which a cell is a hit.
        hits: Number of hits of either sample.
        splits: Number of splits.
        seed: Seed of the dealing.

    Returns:
        For each axis distances ``(splits,)`` in standard deviations of the positions of the reference's hits.
    """
    if min(hits) < 2 * splits:
        raise NotRun(f"{splits} splits need at least {2 * splits} hits, got {min(hits)}")
    generator = torch.Generator().manual_seed(seed)
    (p, number), (q, _) = (
        dealt_profiles(events, cut, min(hits) / (splits * n), splits, generator)
        for events, n in zip((reference, generated), hits, strict=True)
    )
    found = {}
    for name, counts in number.items():
        place = torch.arange(len(counts), dtype=torch.float64)
        middle = (counts * place).sum() / counts.sum()
        variance = (counts * (place - middle).square()).sum() / counts.sum()
        scale = (variance * hits[0] / (hits[0] - 1)).sqrt()
        shape = [energy / energy.sum(1, keepdim=True) for energy in (p[name], q[name])]
        found[name] = (shape[0] - shape[1]).cumsum(1)[:, :-1].abs().sum(1) / scale
    return found


@score_constructor
def split_score(
    reference: Judged, generated: Judged, seed: int, cut: NotNegative, splits: Count = SPLITS
) -> dict[str, Figure]:
    """``w1_split/<observable>`` and ``w1_split``, their mean, in standard deviations of the reference.

    Args:
        reference: True showers of a grid.
        generated: Generated showers.
        seed: Seed of the shuffling.
        cut: Energy above which a cell is a hit, in the unit of the cells.
        splits: Number of splits.
    """
    generator = torch.Generator().manual_seed(seed)
    pair = [observables(judged.sample, cut) for judged in (reference, generated)]
    draws = {
        name: split_wasserstein(
            values, pair[1][name][0], splits, generator, (weight, pair[1][name][1])
        )
        for name, (values, weight) in pair[0].items()
    }
    hits = [int(values["occupancy"][0].sum()) for values in pair]
    profiles = profile_wasserstein(
        reference.events, generated.events, cut, (hits[0], hits[1]), splits, seed
    )
    draws |= {f"profile_{name}": values for name, values in profiles.items()}
    found = {f"w1_split/{name}": _figure(values) for name, values in draws.items()}
    return found | {"w1_split": _figure(torch.stack(list(draws.values())).mean(0))}


def observables(sample: Sample, cut: float) -> dict[str, tuple[Tensor, Weight]]:
    """The observables of one value per shower, and the spectrum of hits, each with the values' weights."""
    names = ("e_tot_over_e_inc", "n_hit", *(f"{m}_{axis}" for m in ("m1", "m2") for axis in AXES))
    values = table(sample, names)
    found = {"energy_ratio": values[:, 0], "occupancy": values[:, 1]}
    for number, axis in enumerate(AXES):
        found[f"mean_{axis}"] = values[:, 2 + number]
        found[f"std_{axis}"] = values[:, 5 + number].sqrt()
    weight, spectrum = unequal(sample.weight), sample.columns["hit_energy"].values
    above = spectrum >= cut
    hits = {"hit_energy": (spectrum[above], part(sample.weights("hit_energy"), above))}
    return {name: (values, weight) for name, values in found.items()} | hits


def _figure(draws: Tensor | Sequence[float]) -> Figure:
    values = torch.as_tensor(draws, dtype=torch.float64)
    return Figure(float(values.mean()), float(values.std()))


def _sorted(values: Tensor, weight: Weight) -> tuple[Tensor, Weight]:
    """Finite values in rising order, float64, and their weights."""
    finite = torch.isfinite(values)
    ordered, order = values[finite].double().sort()
    return ordered, part(part(weight, finite), order)


def _scale(values: Tensor, weight: Weight) -> Tensor:
    found = sample_deviation(values, weight)
    return found if float(found) > 0 else torch.ones_like(found)
