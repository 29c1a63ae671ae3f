r"""Does what was learned from generated showers hold for true ones, and the other way round?

The incident energy is reconstructed from the profiles :math:`f_j` of a shower (energies of layers and of
rings) by weights,

.. math:: q = \frac{1}{E} \sum_j c_j f_j, \qquad
          c = \arg\min \Big\langle (q - 1)^2 \Big\rangle + \lambda |c|^2,

which are learned from one half of a sample and applied to the other half, of the same sample or of the other
one. Mean and relative width of :math:`q` (without what lies beyond :data:`CLIP` widths) must not depend on
which of the samples the weights were applied to (*forward*: learned from the truth, applied to generated
showers and to the truth) nor on which of them they were learned from (*reverse*: applied to the truth).
Errors are those of a bootstrap of whole showers of both samples, learning included.

Note:
    Showers of ds2, ds3, ild and ild_cloud are those of one kind of particle, so that there are no kinds to be
    told apart.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from simulacra.metrics.engine.columns import spread
from simulacra.metrics.engine.sample import Sample
from simulacra.metrics.engine.score import Figure

CLIP = 4.0
"""Widths beyond which a shower is left out."""
RIDGE = 1e-4
""":math:`\\lambda` in units of the mean square of a profile's bin."""
PER_WEIGHT = 4
"""Showers per weight that is learned, without which nothing is."""
Reconstructed = tuple[Tensor, Tensor]
"""Mean and relative width of reconstructed over incident energy, ``(1 + R,)`` each."""


class Learner:
    """Halves of a sample, and the weights that were learned from each.

    Args:
        shares: Bins of the profiles over the incident energy ``(N, F)``.
        weights: Weights of the showers in the sample and in each replica ``(1 + R, N)``.
        generator: Randomness of the halves.
    """

    def __init__(self, shares: Tensor, weights: Tensor, generator: torch.Generator) -> None:
        self.shares, self.weights = shares, weights
        order = torch.randperm(len(shares), generator=generator)
        self.halves = order[: len(order) // 2], order[len(order) // 2 :]
        self.learned = tuple(self._learned(half) for half in self.halves)

    def _learned(self, half: Tensor) -> Tensor:
        """``(1 + R, F)``."""
        x, w = self.shares[half], self.weights[:, half]
        sums = torch.einsum("nf,rn,ng->rfg", x, w, x)
        scale = (RIDGE * sums.diagonal(dim1=1, dim2=2).mean(1)).clamp(min=1e-12)
        ridge = torch.eye(x.shape[1], dtype=x.dtype) * scale[:, None, None]
        found: Tensor = torch.linalg.solve(sums + ridge, w @ x)
        return found

    def applied(self, learner: Learner) -> Reconstructed:
        """What weights, each learned from the other half of a sample, make of this one's showers."""
        parts = [
            learner.learned[1 - number] @ self.shares[half].T
            for number, half in enumerate(self.halves)
        ]
        return _peak(torch.cat(parts, 1), self.weights[:, torch.cat(self.halves)])


def _peak(values: Tensor, weights: Tensor) -> Reconstructed:
    """Mean and relative width of values ``(R, N)``."""
    kept = torch.ones_like(values)
    for _ in range(3):
        w = weights * kept
        total = w.sum(1, keepdim=True)
        mean = (w * values).sum(1, keepdim=True) / total
        width = ((w * (values - mean).square()).sum(1, keepdim=True) / total).sqrt()
        kept = ((values - mean).abs() <= CLIP * width).double()
    return mean[:, 0], (width / mean)[:, 0]


def shares(sample: Sample) -> Tensor | None:
    """Bins of all profiles over the incident energy ``(N, F)``; None where there are none."""
    if sample.response is None or not sample.profiles:
        return None
    bins = [profile.values.double() for profile in sample.profiles.values()]
    return torch.cat(bins, 1) / sample.response[0][:, None]


def transfer(
    samples: Sequence[Sample],
    weights: Sequence[Tensor],
    generators: Sequence[torch.Generator],
    most: float,
) -> dict[str, Figure]:
    """Figures ``transfer/{forward,reverse}/{response,resolution}``: differences of mean and relative width
    over those of the truth. Nothing where there are too few showers to learn from, or they have no profiles.

    Args:
        samples: The truth and generated showers.
        weights: Weights of either in the sample and in each replica ``(1 + R, N)``.
        generators: Randomness of the halves of either.
        most: Showers of either, at most.
    """
    inputs = [shares(sample) for sample in samples]
    if any(x is None or len(x) < PER_WEIGHT * x.shape[1] for x in inputs):
        return {}
    truth, generated = (
        Learner(x, w, generator)
        for x, w, generator in zip(inputs, weights, generators, strict=True)
        if x is not None
    )
    own = truth.applied(truth)
    found = {}
    for name, other in (
        ("forward", generated.applied(truth)),
        ("reverse", truth.applied(generated)),
    ):
        for kind, mine, theirs in zip(("response", "resolution"), own, other, strict=True):
            ratio = theirs / mine
            error = spread(ratio[1:])
            details = {
                "sigma": (float(ratio[0]) - 1) / error if error > 0 else torch.nan,
                "truth": float(mine[0]),
                "truth/error": spread(mine[1:]),
                "generated": float(theirs[0]),
                "generated/error": spread(theirs[1:]),
            }
            found[f"transfer/{name}/{kind}"] = Figure(
                abs(float(ratio[0]) - 1), error, most=most, details=details
            )
    return found
