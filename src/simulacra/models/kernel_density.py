r"""Kernel density estimate of the numbers of an event: training events drawn again, a little smeared.

With kept events :math:`(y_i, c_i)` and product kernels of width :math:`h` in standard deviations,

.. math:: p(y | c) = \sum_i w_i(c)\, \mathcal N(y; y_i, h^2 \Sigma), \qquad
          w_i(c) \propto \exp\bigl(-|c - c_i|^2 / 2 h_c^2\bigr),

where :math:`\Sigma` is the diagonal of variances. Of one-hot classes only kernels of the same class count.

References: Rosenblatt 1969, "Conditional probability density and regression estimators"; used for the number
of particles by EPiC-GAN (arXiv:2301.08128) and EPiC-FM (arXiv:2310.00049).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from simulacra.core import UserError


class KernelDensity(nn.Module):
    """Stands where :class:`~simulacra.models.jet_level.JetLevelFlow` does, without parameters.

    Args:
        columns: ``K``, numbers per event.
        cond: ``C``, width of the conditions, may be 0.
        kernels: Training events that are kept, at most; of more, evenly spaced ones.
        bandwidth: Width of the kernels in standard deviations.

    Raises:
        UserError: If there is no kernel or the bandwidth is not positive.
    """

    points: Tensor
    conditions: Tensor
    width: Tensor
    condition_width: Tensor
    count: Tensor

    def __init__(self, columns: int, cond: int, kernels: int, bandwidth: float) -> None:
        super().__init__()
        if kernels < 1 or bandwidth <= 0:
            raise UserError(
                f"a kernel density needs kernels >= 1 and bandwidth > 0, got {kernels} and {bandwidth}"
            )
        self.bandwidth = bandwidth
        self.register_buffer("points", torch.zeros(kernels, columns))
        self.register_buffer("conditions", torch.zeros(kernels, cond))
        self.register_buffer("width", torch.ones(columns))
        self.register_buffer("condition_width", torch.ones(cond))
        self.register_buffer("count", torch.tensor(0))

    def fit(self, y: Tensor, cond: Tensor | None) -> None:
        """Keep the numbers ``(n, K)`` of training events and their conditions ``(n, C)``."""
        size = min(len(y), len(self.points))
        chosen = torch.linspace(0, len(y) - 1, size, dtype=torch.float64).long()
        self.count.fill_(size)
        self.points[:size] = y[chosen]
        self.width.copy_(self.bandwidth * _spread(y))
        if cond is not None:
            self.conditions[:size] = cond[chosen]
            self.condition_width.copy_(_spread(cond) * size ** (-1 / (cond.shape[1] + 4)))  # Scott

    def log_prob(self, y: Tensor, cond: Tensor | None) -> Tensor:
        """Log-density ``(B,)`` of ``y``, ``(B, K)``."""
        points = self._kernels()
        norm = self.width.log().sum() + 0.5 * self.points.shape[1] * math.log(2 * math.pi)
        near = -0.5 * torch.cdist(y / self.width, points / self.width).square()
        weights = torch.full_like(near, -math.log(len(points)))
        if cond is not None:
            weights = self._weights(cond).log_softmax(1)
        return torch.logsumexp(near + weights, 1) - norm

    def sample(
        self, n: int, cond: Tensor | None, generator: torch.Generator | None = None
    ) -> Tensor:
        """Draw ``(n, K)``, one for each row of ``cond``."""
        points = self._kernels()
        if cond is None:
            chosen = torch.randint(len(points), (n,), generator=generator, device=points.device)
        else:
            weights = self._weights(cond).softmax(1)
            chosen = torch.multinomial(weights, 1, generator=generator).squeeze(1)
        noise = torch.randn(n, points.shape[1], generator=generator, device=points.device)
        return points[chosen] + self.width * noise

    def _kernels(self) -> Tensor:
        if not self.count:
            raise UserError("the kernel density of the event's numbers has seen no training events")
        return self.points[: int(self.count)]

    def _weights(self, cond: Tensor) -> Tensor:
        """Logarithms of the kernels' weights ``(B, n)`` up to a constant of each row."""
        kept = self.conditions[: int(self.count)]
        scaled = cond / self.condition_width, kept / self.condition_width
        return -0.5 * torch.cdist(*scaled).square()


def _spread(x: Tensor) -> Tensor:
    """Standard deviation of each column, 1 where it never varies."""
    std = x.std(0, correction=0)
    return torch.where(std > 0, std, 1.0)
