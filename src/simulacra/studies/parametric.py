r"""Fits of known families to small samples: what is gained by knowing the family of a distribution.

The fit of two peaks has five parameters, the share :math:`f` of one peak and the means and widths of both,

.. math:: p(x) = f\,N(x; \mu_1, \sigma_1) + (1 - f)\,N(x; \mu_2, \sigma_2),

by maximum likelihood. Expectation and maximisation take turns until no parameter moves: a step gives each
event to both peaks in proportion to their densities and takes the moments of what each peak was given.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from simulacra.core import UserError
from simulacra.core.constructors import role
from simulacra.core.ranges import Count, Positive


@role
class Family(ABC):
    """Distributions of one number that are fitted to samples."""

    @abstractmethod
    def shares(self, samples: Tensor, edges: Tensor) -> Tensor:
        """Fit each of ``R`` samples ``(R, N)`` by itself.

        Args:
            samples: Values.
            edges: Inner edges of the cells ``(V - 1,)``, rising.

        Returns:
            Content of each cell by each fit ``(R, V)``, float64.
        """


@dataclass(frozen=True)
class TwoPeaks(Family):
    """Two normal distributions; see the module's docstring.

    Args:
        steps: Steps of a fit, at most.
        tolerance: Largest change of a parameter in the last step, in widths of the sample.
    """

    steps: Count = 1000
    tolerance: Positive = 1e-6

    def shares(self, samples: Tensor, edges: Tensor) -> Tensor:
        """See the base class.

        Raises:
            UserError: If a fit does not converge, as where a peak is left with one event.
        """
        share, mean, width = self.fit(samples)
        z = (edges.double() - mean[..., None]) / width[..., None]  # (R, 2, V - 1)
        below = (share[..., None] * torch.special.ndtr(z)).sum(1)
        ends = below.new_zeros(len(below), 1), below.new_ones(len(below), 1)
        return torch.cat([ends[0], below, ends[1]], 1).diff(dim=1)

    def fit(self, samples: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Shares, means and widths of both peaks ``(R, 2)`` each, that of the smaller start first."""
        x = samples.double()[:, None]  # (R, 1, N)
        unit = x.std(-1)
        upper = (x > x.mean(-1, keepdim=True)).double()
        share, mean, width = _moments(x, torch.cat([1 - upper, upper], 1))
        for _ in range(self.steps):
            density = -0.5 * ((x - mean[..., None]) / width[..., None]).square()
            density = density + (share / width)[..., None].log()
            before = share, mean, width
            share, mean, width = _moments(x, density.softmax(1))
            moved = [(share - before[0]).abs()]
            moved += [
                (new - old).abs() / unit for new, old in zip((mean, width), before[1:], strict=True)
            ]
            if bool((torch.stack(moved) < self.tolerance).all()):
                return share, mean, width
        raise UserError(
            f"a fit of two peaks has not converged in {self.steps} steps: the samples are too small or have "
            "one peak"
        )


def _moments(x: Tensor, given: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Share, mean and width of each peak ``(R, 2)`` of values ``(R, 1, N)`` that are given to both
    ``(R, 2, N)``.
    """
    events = given.sum(-1)
    mean = (given * x).sum(-1) / events
    width = ((given * (x - mean[..., None]).square()).sum(-1) / events).sqrt()
    return events / x.shape[-1], mean, width
