r"""Goodness of fit by a learned likelihood ratio, NPLM with kernels (arXiv:2204.02317; for generators
arXiv:2511.09118).

Against :math:`N` true events :math:`R` with weights :math:`w = M/N`, :math:`M` generated events :math:`D`
teach a function :math:`f` the logarithm of the ratio of the densities, generated over true, by the loss

.. math:: \sum_R w \ln(1 + e^f) + \sum_D \ln(1 + e^{-f}) + \lambda\, 2M\, |f|_H^2.

:math:`f` is a sum of Gaussian kernels around :math:`C` events that are drawn from both samples (Nyström), and
is found by Newton's method. The statistic

.. math:: t = -2 \Big[ \sum_R w\, (e^f - 1) - \sum_D f \Big]

is twice the logarithm of the likelihood ratio of both hypotheses. It is compared with toys of true events
that have the same :math:`N`, :math:`M`, :math:`C`, :math:`\lambda` and width of the kernel, which the
truth alone fixes: the 90 % quantile of the distances between true events, features standardised. Discrete
features need no smearing: the kernel is far wider than their steps.

Weights are scaled so that they sum to the effective number of events.

Note:
    The papers turn :math:`t` into a p-value by a :math:`\chi^2` that is fitted to toys. Here p is the share
    of toys beyond, and z counts their standard deviations, since the variance of the toys need not be twice
    their mean.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from simulacra.core.ranges import Count, Positive
from simulacra.metrics.distances.frechet import high_level
from simulacra.metrics.engine.misfit import where
from simulacra.metrics.engine.null import ToyTest, against
from simulacra.metrics.engine.result import Histogram
from simulacra.metrics.engine.score import Figure, Judged, score_constructor
from simulacra.metrics.engine.weighted import UNWEIGHTED, Weight, Weights, worth

RIDGE = 1e-4
""":math:`\\lambda`."""
RATIO = 5
"""True events per generated one."""
ENOUGH = 2400
"""Generated events below which only large misfits are found."""
SEEN = 2.0
"""z above which it is shown where the misfit is: below, the ratio is that of fluctuations."""
REACH = 0.9
"""Quantile of the distances between true events that is the kernel's width."""
LOOKED_AT = 1000
"""Events whose distances give the width."""
STEPS = 50
"""Newton steps, at most."""
SETTLED = 1e-6
"""Relative change of the loss after which none follows."""
LEAST = 1e-10
"""Eigenvalues of the kernel over the largest below which a direction is left out."""
STEEPEST = 40.0
"""Largest absolute value of f in the statistic: where samples do not overlap the loss has no minimum."""


@dataclass(frozen=True)
class Ratio:
    """The learned ratio of densities, generated over true.

    Args:
        centres: Events in the middle of the kernels ``(C, F)``.
        coefficients: Their coefficients ``(C,)``.
        width: Of the kernels.
    """

    centres: Tensor
    coefficients: Tensor
    width: float

    def log(self, features: Tensor) -> Tensor:
        """:math:`f` of features ``(n, F)``, ``(n,)``."""
        found = kernel(features.double(), self.centres, self.width) @ self.coefficients
        return found.clamp(-STEEPEST, STEEPEST)

    def __call__(self, features: Tensor) -> Tensor:
        """:math:`e^f`: with these weights, true events look like generated ones."""
        return self.log(features).exp()


def kernel(first: Tensor, second: Tensor, width: float) -> Tensor:
    """Gaussian kernels ``(n, m)`` of features ``(n, F)`` and ``(m, F)``."""
    squared = torch.addmm(
        first.square().sum(1)[:, None] + second.square().sum(1), first, second.T, alpha=-2
    )
    return squared.clamp_(min=0).mul_(-0.5 / width**2).exp_()


def width_of(truth: Tensor) -> float:
    """Width of the kernel from standardised features of true events ``(N, F)``, the first thousand."""
    distances = torch.pdist(truth[:LOOKED_AT].double())
    return float(torch.quantile(distances, REACH)) or 1.0


def nplm(
    reference: Tensor,
    generated: Tensor,
    width: float,
    *,
    centres: int | None = None,
    ridge: float = RIDGE,
    weights: Weights = UNWEIGHTED,
    generator: torch.Generator | None = None,
) -> tuple[float, Ratio]:
    r"""Learn the ratio of densities.

    Args:
        reference: Standardised features of true events ``(N, F)``; at least five times as many as generated.
        generated: The same of generated events ``(M, F)``.
        width: Of the kernel.
        centres: Number of kernels; None: the root of the number of events.
        ridge: :math:`\lambda`.
        weights: Weights of the true and of the generated events.
        generator: Randomness of the centres.

    Returns:
        The statistic and the ratio.
    """
    x = torch.cat([reference, generated]).double()
    size = worth(len(generated), weights[1])
    share = torch.cat([
        _scaled(len(reference), weights[0], size), _scaled(len(generated), weights[1], size)
    ])  # fmt: skip
    made = torch.zeros(len(x), dtype=torch.float64)
    made[len(reference) :] = 1.0
    count = min(centres or math.isqrt(len(x)), len(x))
    middle = x[torch.randperm(len(x), generator=generator)[:count]]
    values, vectors = torch.linalg.eigh(kernel(middle, middle, width))
    kept = values > LEAST * values[-1]
    basis = (
        vectors[:, kept] / values[kept].sqrt()
    )  # the norm of f is that of its coefficients in it
    columns = kernel(x, middle, width) @ basis
    found = _newton(columns, made, share, 2 * size * ridge)
    f = (columns @ found).clamp(-STEEPEST, STEEPEST)
    excess = share[: len(reference)] @ torch.expm1(f[: len(reference)])
    statistic = -2 * (excess - share[len(reference) :] @ f[len(reference) :])
    return float(statistic), Ratio(middle, basis @ found, width)


@score_constructor
class NplmScore(ToyTest):
    r"""``nplm``, the statistic, with z and p from toys of equal size, and where the misfit is.

    Args:
        features: Features of a sample ``(N, F)``; by default the high-level classifier inputs.
        toys: Pairs of true samples behind the null.
        events: True events at most, five for each generated one.
        centres: Number of kernels; None: the root of the number of events.
        ridge: :math:`\lambda`.
    """

    def __init__(
        self,
        features: Callable[[Judged], Tensor] = high_level,
        toys: Count = 100,
        events: Count = 12_000,
        centres: Count | None = None,
        ridge: Positive = RIDGE,
    ) -> None:
        super().__init__(features, ratio=RATIO, toys=toys, events=events)
        self.centres, self.ridge = centres, ridge

    def __call__(self, reference: Judged, generated: Judged, seed: int) -> dict[str, Figure]:
        """Compare.

        Raises:
            NotRun: With fewer than 50 generated or 300 true events, or features that are not finite.
        """
        generator = torch.Generator().manual_seed(seed)
        dealt = self.deal(reference, generated, generator)
        width = width_of(dealt.truth.values)

        def learn(
            first: Tensor, second: Tensor, weights: Weights, generator: torch.Generator
        ) -> tuple[float, Ratio]:
            return nplm(
                first,
                second,
                width,
                centres=self.centres,
                ridge=self.ridge,
                weights=weights,
                generator=generator,
            )

        def statistic(
            first: Tensor, second: Tensor, weights: Weights, generator: torch.Generator
        ) -> Tensor:
            return torch.tensor([learn(first, second, weights, generator)[0]])

        null = self.null(reference, dealt, statistic, seed)
        true, made = dealt.reference, dealt.generated
        value, ratio = learn(true.values, made.values, (true.weight, made.weight), generator)
        figure = self.figure(null[:, 0], value, _error(null[:, 0], value))
        few = len(made) < ENOUGH
        note = f"{len(made)} generated events find large misfits alone" if few else None
        wrong: Mapping[str, Histogram] = {}
        if against(null[:, 0], value)[0] > SEEN:
            wrong = where(reference, ratio(dealt.truth.values[: len(reference)]))
        return {"nplm": replace(figure, note=note, histograms=wrong)}


def _error(null: Tensor, value: float) -> float:
    r"""Error, as of a non-central :math:`\chi^2`, whose variance grows with the excess."""
    excess = max(0.0, value - float(null.mean()))
    return math.sqrt(float(null.var()) + 4 * (1 + 1 / RATIO) * excess)


def _newton(columns: Tensor, made: Tensor, share: Tensor, ridge: float) -> Tensor:
    """Coefficients ``(K,)`` of the least loss, from columns ``(n, K)``, labels and weights ``(n,)``."""
    signs = 1 - 2 * made

    def loss(at: Tensor) -> float:
        own = share @ torch.nn.functional.softplus(signs * (columns @ at)) + ridge * at @ at
        return float(own)

    found = columns.new_zeros(columns.shape[1])
    best = loss(found)
    identity = torch.eye(len(found), dtype=torch.float64)
    for _ in range(STEPS):
        probability = torch.sigmoid(columns @ found)
        slope = columns.T @ (share * (probability - made)) + 2 * ridge * found
        spread = share * probability * (1 - probability)
        curvature = columns.T @ (spread[:, None] * columns) + 2 * ridge * identity
        step = torch.linalg.solve(curvature, slope)
        length = 1.0
        while (now := loss(found - length * step)) > best and length > 1e-6:
            length /= 2
        found, before, best = found - length * step, best, min(now, best)
        if before - now <= SETTLED * abs(before):
            break
    return found


def _scaled(n: int, weight: Weight, total: float) -> Tensor:
    """Weights ``(n,)`` with a given sum."""
    if weight is None:
        return torch.full((n,), total / n, dtype=torch.float64)
    return weight.double() * (total / weight.sum())
