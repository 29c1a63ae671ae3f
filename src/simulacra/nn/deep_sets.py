r"""DeepSets: a function of a set, :math:`\rho(\frac1N \sum_i \phi(x_i))`, over the points of a mask.

Reference: Zaheer et al. 2017, arXiv:1703.06114.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

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
