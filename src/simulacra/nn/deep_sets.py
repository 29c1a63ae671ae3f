r"""DeepSets: a function of a set, :math:`\rho(\frac1N \sum_i \phi(x_i))`, over the points of a mask.

Reference: Zaheer et al. 2017, arXiv:1703.06114.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from simulacra.core.ranges import Count
from simulacra.nn.mlp import MLP


class DeepSet(nn.Module):
    """See the module's docstring.

    Args:
        features: ``F``, columns of a point.
        point: Widths of the network of the points; the mean of the last is taken.
        whole: Widths of the network of the mean; the last is that of the result.
    """

    def __init__(self, features: int, point: Sequence[int], whole: Sequence[int]) -> None:
        super().__init__()
        self.point = MLP(features, point[-1], point[:-1])
        self.whole = MLP(point[-1], whole[-1], whole[:-1])

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Points ``(B, N, F)`` with mask ``(B, N)`` to ``(B, whole[-1])``; no points: mean 0."""
        weight = mask[..., None].to(x.dtype)
        total = (self.point(x) * weight).sum(1)
        result: Tensor = self.whole(total / weight.sum(1).clamp_min(1))
        return result


class DeepSetEncoder(nn.Module):
    """A cloud to mean and log-variance of a latent vector, whatever the conditions of its event.

    Args:
        features: ``F``, columns of a point.
        cond: Width of the conditions, which are not used.
        latent: ``Z``, width of the latent.
        point: See :class:`DeepSet`.
        whole: Widths of the network of the mean, but for the last.
    """

    def __init__(
        self, features: int, cond: int, latent: int, point: Sequence[Count], whole: Sequence[Count]
    ) -> None:
        super().__init__()
        self.set = DeepSet(features, point, [*whole, 2 * latent])

    def forward(self, x: Tensor, mask: Tensor, cond: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Mean and log-variance, each ``(B, Z)``, of points ``(B, N, F)`` with mask ``(B, N)``."""
        mean, log_variance = self.set(x, mask).chunk(2, 1)
        return mean, log_variance
