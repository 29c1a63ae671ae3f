r"""Affine elementwise map with a bounded scale, :math:`y = x\,e^{s} + t`, :math:`s = a \tanh(\sigma / a)`.

In a coupling it makes RealNVP, in a masked autoregressive step a MAF. The bound keeps a deep stack from
overflowing; all zeros give the identity.

References: Dinh et al., arXiv:1605.08803, equations 4 to 8 (coupling); Papamakarios et al., arXiv:1705.07057
(masked autoregressive).
"""

from __future__ import annotations

import torch
from torch import Tensor

from simulacra.core.ranges import Positive
from simulacra.dynamics.splines import Spline


class Affine(Spline):
    """Two free numbers per element: the raw log scale and the shift.

    Args:
        limit: ``a``, the largest ``|s|``.
    """

    numbers = 2

    def __init__(self, limit: Positive = 2.0) -> None:
        if limit <= 0:
            raise ValueError(f"an affine map needs a positive limit of its log scale, got {limit}")
        self.limit = limit

    def __call__(self, x: Tensor, free: Tensor) -> tuple[Tensor, Tensor]:
        """See :class:`~simulacra.dynamics.splines.Spline`."""
        log_scale = self._log_scale(free)
        return x * torch.exp(log_scale) + free[1], log_scale

    def inverse(self, y: Tensor, free: Tensor) -> tuple[Tensor, Tensor]:
        """See :class:`~simulacra.dynamics.splines.Spline`."""
        log_scale = self._log_scale(free)
        return (y - free[1]) * torch.exp(-log_scale), -log_scale

    def _log_scale(self, free: Tensor) -> Tensor:
        return self.limit * torch.tanh(free[0] / self.limit)
