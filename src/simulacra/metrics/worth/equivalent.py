r"""How many true events a generated sample is worth: the number that comes as close to the reference.

For a category of observables, :math:`D` is the mean over them of the distance of Kolmogorov and Smirnov
between a sample and the reference, as in the evaluation of CMS HGCal (``OzAmram/CMSHGCaloChallenge``).
Samples of :math:`n` independent true events give a curve, and a generated sample is worth the :math:`n`
at which it has the same distance.

The curve: with :math:`N` events in the reference both of a sample's fluctuations and those of the
reference count, :math:`s = 1/n + 1/N`, and :math:`\ln D` is close to linear in :math:`\ln s`. A parabola
(a line, where that would turn) is fitted at two dozen :math:`n`, from 10 to all true events there are,
through the means of :math:`D^{-2}`, so that true samples are worth their number of events on the average.
It is read off at the :math:`D` of the generated sample. So the finite reference biases nothing: it is the
same on both sides. With no independent truth, samples of the reference are compared
with the rest of it: their distance is :math:`N / (N - n)` times that from all of it, and :math:`s = 1/n +
1/(N - n)`.

A perfect generator is worth the number of its events, which is the floor: sample more to see more. One
that is nearer than all true samples, or farther than ten events, has a bound in place of a number.

Errors are those of a bootstrap of generated events and of the samples of the curve. A bootstrap lifts a
distance that is mostly fluctuation; its spread is taken, not its mean.

Note:
    Observables that are constant in the truth are left out. Correlations are not looked at, and figures
    depend on the list of observables. If generated events were asked for with the conditions of the
    reference, one half of them is compared with the true events that gave the conditions of the other
    half, and the reverse, as a sample of half the size (:mod:`simulacra.metrics.engine.pairing`). Weights
    enter every distribution; numbers of events are effective ones.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from simulacra.core import UserError
from simulacra.metrics.distances.kolmogorov import Distribution, Places
from simulacra.metrics.engine.score import NotRun
from simulacra.metrics.engine.weighted import Rows, Weight

Array = NDArray[np.float64]
FEWEST = 200
"""True events below which there is no curve."""
LEAST = 10
"""Events of the smallest true samples."""
POINTS = 24
"""Sizes of true samples, even in the logarithm."""
DRAWS = 20
"""True samples of each size, at most."""
WORK = 30_000_000
"""Values of true samples, about, that are sorted; more observables or events mean fewer samples."""
CLOSEST = 0.2
"""Distance over the mean one at its size below which true samples count as equally close."""
REPLICAS = 20
"""Bootstrap replicas behind the errors."""


@dataclass(frozen=True)
class Worth:
    """What a sample is worth by one category of observables.

    Args:
        distance: Mean distance from the reference.
        value: True events that come as close; NaN where there is a bound alone.
        error: Its error; NaN likewise.
        at_least: Lower bound; NaN where there is a number.
        at_most: Upper bound; NaN where there is a number.
        perfect: What a perfect generator with as many events is worth.
    """

    distance: float
    value: float
    error: float
    at_least: float
    at_most: float
    perfect: float


Fold = tuple[Rows, Rows]
"""True events and generated ones that are independent of them."""


def equivalent_n(
    folds: Sequence[Fold], truth: Rows | None, groups: Mapping[str, Sequence[int]], seed: int = 0
) -> dict[str, Worth]:
    """What generated events are worth.

    Args:
        folds: Reference and generated events to be compared; of several, distances are averaged.
        truth: Independent true events for the curve; None: samples of the reference.
        groups: Positions of the observables of each category.
        seed: Seed of the samples and of the bootstrap.

    Returns:
        By category.

    Raises:
        NotRun: With fewer than 200 true events in a fold or in the truth.
    """
    few = min([len(true) for true, _ in folds] + ([] if truth is None else [len(truth)]))
    if few < FEWEST or min(len(made) for _, made in folds) < 2:
        raise NotRun(f"a curve needs {FEWEST} true events, got {few}")
    rng = np.random.default_rng(seed)
    members = [np.asarray(group, dtype=np.int64) for group in groups.values()]
    placed = [_Placed.of(true, made, truth) for true, made in folds]
    scale = float(np.mean([1 / true.worth for true, _ in folds]))
    drawn = _draws(placed, members, rng)
    replicas = np.stack([
        np.mean([item.generated(members, rng) for item in placed], axis=0) for _ in range(REPLICAS)
    ])  # fmt: skip
    distance = np.mean([item.generated(members) for item in placed], axis=0)
    perfect = float(np.mean([made.worth for _, made in folds]))
    found = {}
    for i, name in enumerate(groups):
        curve = Curve.of(drawn, i, scale)
        if curve is not None:
            again = [curve.drawn_again(rng) for _ in range(REPLICAS)]
            shifted = distance[i] + replicas[:, i] - replicas[:, i].mean()
            found[name] = read(curve, again, float(distance[i]), shifted, perfect)
    return found


def equivalent_of(reference: Tensor, truth: Tensor, generated: Tensor, seed: int = 0) -> Worth:
    """What generated events are worth by all of their columns, for plain numbers.

    Args:
        reference: Observables of true events ``(N, F)``.
        truth: The same of other true events ``(T, F)``.
        generated: The same of generated events ``(M, F)``, with conditions of their own.
        seed: Seed of samples and bootstrap.

    Raises:
        NotRun: With fewer than 200 true events of either kind.
        UserError: If every column is constant in the truth.
    """
    varies = varying(reference)
    if not len(varies):
        raise UserError("every observable is constant in the truth")
    fold = Rows(reference), Rows(generated)
    return equivalent_n([fold], Rows(truth), {"all": varies}, seed)["all"]


def varying(truth: Tensor) -> list[int]:
    """Observables ``(N, F)`` that are not constant; undefined is a value, too."""
    known = truth.nan_to_num(nan=-math.inf)
    return (known != known[0]).any(0).nonzero()[:, 0].tolist()


@dataclass(frozen=True)
class _Placed:
    """A fold whose events have been placed in the distribution of its true ones; where ``own`` is True, those
    make the curve, too.
    """

    known: Distribution
    made: Places
    made_weight: Array | None
    pool: Places
    pool_weight: Array | None
    reference: float
    own: bool

    @classmethod
    def of(cls, true: Rows, made: Rows, truth: Rows | None) -> _Placed:
        known, pool = Distribution(true.values, true.weight), true if truth is None else truth
        return cls(
            known,
            known.places(made.values),
            _array(made.weight),
            known.places(pool.values),
            _array(pool.weight),
            true.worth,
            truth is None,
        )

    def generated(
        self, members: list[NDArray[np.int64]], rng: np.random.Generator | None = None
    ) -> Array:
        """Mean distance of each category ``(G,)``; with randomness, of events drawn again."""
        if rng is None:
            return _means(self.known.distances(self.made, self.made_weight), members)
        index = rng.integers(self.made.shape[1], size=self.made.shape[1])
        weight = None if self.made_weight is None else self.made_weight[index]
        return _means(self.known.distances(self.made[:, index], weight), members)

    def sample(
        self, n: int, members: list[NDArray[np.int64]], rng: np.random.Generator
    ) -> tuple[float, Array]:
        """``s`` and the mean distance of each category ``(G,)`` of ``n`` true events."""
        index = rng.choice(self.pool.shape[1], size=n, replace=False)
        weight = None if self.pool_weight is None else self.pool_weight[index]
        found = _means(self.known.distances(self.pool[:, index], weight), members)
        worth = float(n) if weight is None else float(weight.sum() ** 2 / (weight**2).sum())
        if not self.own:
            return 1 / worth + 1 / self.reference, found
        share = (
            n / self.pool.shape[1]
            if weight is None or self.pool_weight is None
            else float(weight.sum() / self.pool_weight.sum())
        )
        return 1 / (worth * (1 - share)), found / (1 - share)


@dataclass(frozen=True)
class Curve:
    """Distance of true samples over their size.

    Args:
        sizes: ``s`` of each size ``(P,)``.
        draws: Distances of the samples of each size.
        reference: The reference's part of ``s``.
    """

    sizes: Array
    draws: tuple[Array, ...]
    reference: float

    @classmethod
    def of(cls, drawn: Sequence[tuple[float, Array]], group: int, reference: float) -> Curve | None:
        """From ``s`` and distances ``(draws, G)`` of each size; None where a distance is never above 0."""
        kept = [(s, rows[:, group]) for s, rows in drawn if rows[:, group].mean() > 0]
        if len(kept) < 4:
            return None
        return cls(np.array([s for s, _ in kept]), tuple(rows for _, rows in kept), reference)

    def drawn_again(self, rng: np.random.Generator) -> Curve:
        """The same with samples drawn again."""
        draws = tuple(rng.choice(rows, size=len(rows)) for rows in self.draws)
        return Curve(self.sizes, draws, self.reference)

    def numbers(self, distances: Array) -> Array:
        """True events that come as close, within the sizes that were tried."""
        x, y = self._fit()
        s = np.exp(2 * np.interp(np.log(distances.clip(min=1e-300)), y, x))
        found: Array = 1 / (s - self.reference)
        return found

    def ends(self) -> tuple[float, float]:
        """Largest and smallest distance that the curve knows."""
        _, y = self._fit()
        return float(np.exp(y[-1])), float(np.exp(y[0]))

    def _fit(self) -> tuple[Array, Array]:
        """Rising points of the curve: ``ln(s) / 2`` and the logarithm of the distance."""
        x = np.log(self.sizes) / 2
        y = np.log([_level(rows) for rows in self.draws])
        weight = np.sqrt([len(rows) for rows in self.draws])
        line = np.linspace(x.min(), x.max(), 2001)
        for degree in (2, 1):
            found = np.polyval(np.polyfit(x - x.mean(), y, degree, w=weight), line - x.mean())
            if (np.diff(found) > 0).all():
                break
        return line, np.maximum.accumulate(found)


def _draws(
    placed: Sequence[_Placed], members: list[NDArray[np.int64]], rng: np.random.Generator
) -> list[tuple[float, Array]]:
    """Mean ``s`` and distances ``(draws, G)`` of true samples of each size."""
    item = placed[0]
    features, events = item.pool.shape
    top = min(p.pool.shape[1] for p in placed) // (2 if item.own else 1)
    found = []
    for n in np.unique(np.geomspace(LEAST, top, POINTS).astype(int)):
        wanted = max(1, min(DRAWS, WORK // (POINTS * int(n) * features), 2 * events // int(n)))
        draws = [
            placed[number % len(placed)].sample(int(n), members, rng)
            for number in range(max(wanted, len(placed)))
        ]
        found.append((float(np.mean([s for s, _ in draws])), np.stack([row for _, row in draws])))
    return found


def read(
    curve: Curve, again: Sequence[Curve], distance: float, shifted: Array, perfect: float
) -> Worth:
    """Read a distance off a curve.

    Args:
        curve: Distances of true samples.
        again: The same of samples that were drawn again.
        distance: Distance of the generated sample.
        shifted: The same of samples of it that were drawn again, as many ``(R,)``; both give the error.
        perfect: What a perfect generator is worth.
    """
    far, near = curve.ends()
    most, least = curve.numbers(np.array([near, far]))
    perfect = min(perfect, float(most))
    nan = math.nan
    if distance < near:
        return Worth(distance, nan, nan, float(most), nan, perfect)
    if distance > far:
        return Worth(distance, nan, nan, nan, float(least), perfect)
    value = float(curve.numbers(np.array([distance]))[0])
    replicas = [
        float(item.numbers(np.array([d]))[0]) for item, d in zip(again, shifted, strict=True)
    ]
    error = value * float(np.log(replicas).std(ddof=1))
    return Worth(distance, value, error, nan, nan, perfect)


def _level(distances: Array) -> float:
    """Root of the inverse mean inverse square; one that is close to 0 by chance does not decide it alone."""
    mean = float(distances.mean())
    return float(np.mean((distances.clip(min=CLOSEST * mean) + 1e-300) ** -2.0) ** -0.5)


def _means(distances: Array, members: list[NDArray[np.int64]]) -> Array:
    """Mean of each category ``(G,)``."""
    return np.array([distances[index].mean() for index in members])


def _array(weight: Weight) -> Array | None:
    return None if weight is None else weight.double().cpu().numpy()
