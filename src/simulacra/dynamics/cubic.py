r"""Monotone cubic spline on a box :math:`[-B, B]`, the identity outside it.

Bin :math:`k` of width :math:`w`, height :math:`h` and mean slope :math:`s = h / w` maps with
:math:`t = x - x_k`

.. math:: y = y_k + d_k t + \frac{3 s - 2 d_k - d_{k+1}}{w} t^2 + \frac{d_k + d_{k+1} - 2 s}{w^2} t^3.

Slopes at inner knots follow from the bins beside them, :math:`d_k = \min(2 s_{k-1}, 2 s_k, p_k)` with
:math:`p_k` the slope of the parabola through three knots, which keeps every piece monotone (Steffen
1990); only the two outermost are free, in :math:`(0, 3 s)`.

References: Durkan et al., arXiv:1906.02145; Steffen, A&A 239 (1990) 443.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from simulacra.core.ranges import Count, Positive
from simulacra.dynamics.splines import Spline


class Cubic(Spline):
    """Monotone cubic spline with ``2 K + 2`` free numbers: widths, heights, first and last slope.

    Args:
        bins: Number of bins ``K``.
        bound: Half width of the box ``B``.
        min_bin: Smallest share of a bin in the box.
    """

    def __init__(self, bins: Count = 10, bound: Positive = 10.0, min_bin: float = 1e-3) -> None:
        if bins < 2 or bins * min_bin >= 1 or bound <= 0:
            raise ValueError(f"no spline has bins={bins}, bound={bound}, min_bin={min_bin}")
        self.bins, self.bound, self.min_bin = bins, bound, min_bin
        self.numbers = 2 * bins + 2

    def __call__(self, x: Tensor, free: Tensor) -> tuple[Tensor, Tensor]:
        """See :class:`Spline`."""
        x, unit, inside, piece = self._piece(x, free, axis=0)
        y, slope = _evaluate(unit, *piece)
        return x + (2 * self.bound) * inside * (y - unit), inside * torch.log(slope)

    def inverse(self, y: Tensor, free: Tensor) -> tuple[Tensor, Tensor]:
        """See :class:`Spline`; by bisection, then one differentiable Newton step."""
        y, unit, inside, piece = self._piece(y, free, axis=1)
        with torch.no_grad():
            low, high = piece[0].clone(), piece[0] + piece[1]
            for _ in range(26 if y.dtype == torch.float32 else 50):
                middle = 0.5 * (low + high)
                below = _evaluate(middle, *piece)[0] < unit
                low, high = torch.where(below, middle, low), torch.where(below, high, middle)
            root = 0.5 * (low + high)
        value, slope = _evaluate(root, *piece)
        x = root + (unit - value) / slope.detach()
        log_slope = torch.log(_evaluate(x, *piece)[1])
        return y + (2 * self.bound) * inside * (x - unit), -inside * log_slope

    def _piece(
        self, value: Tensor, free: Tensor, axis: int
    ) -> tuple[Tensor, Tensor, Tensor, tuple[Tensor, ...]]:
        """Element, place in the unit interval, 1 inside the box; edges, sizes and slopes of its bin."""
        k = self.bins
        dtype = torch.promote_types(value.dtype, torch.float32)
        value, free = value.to(dtype), free.to(dtype)
        inside = (value.detach().abs() < self.bound).to(dtype)
        unit = (value / (2 * self.bound) + 0.5).clamp(0, 1)
        shares = torch.softmax(free[: 2 * k].unflatten(0, (2, k)), dim=1)
        sizes = self.min_bin + (1 - k * self.min_bin) * shares  # (2, K, B, D)
        ends = sizes.cumsum(1)
        width, height = sizes
        slope = height / width
        parabola = (slope[:-1] * width[1:] + slope[1:] * width[:-1]) / (width[:-1] + width[1:])
        inner = torch.minimum(parabola, 2 * torch.minimum(slope[:-1], slope[1:]))
        outer = (
            3 * torch.sigmoid(free[2 * k :] - math.log(2)) * slope[[0, -1]]
        )  # zeros give the identity
        knots = torch.cat([outer[:1].clamp(min=1e-6), inner, outer[1:].clamp(min=1e-6)])
        index = (unit >= ends[axis, :-1]).sum(0, keepdim=True)  # (1, B, D)
        x1, y1 = (end.gather(0, index)[0] for end in ends)
        w, h = (size.gather(0, index)[0] for size in sizes)
        d0, d1 = knots.gather(0, index)[0], knots.gather(0, index + 1)[0]
        return value, unit, inside, (x1 - w, w, y1 - h, h, d0, d1)


def _evaluate(
    x: Tensor, x0: Tensor, width: Tensor, y0: Tensor, height: Tensor, d0: Tensor, d1: Tensor
) -> tuple[Tensor, Tensor]:
    """Value and slope of the cubic piece."""
    xi = (x - x0) / width
    mean = height / width
    square, cube = 3 * mean - 2 * d0 - d1, d0 + d1 - 2 * mean
    y = y0 + width * xi * (d0 + xi * (square + xi * cube))
    return y, (d0 + xi * (2 * square + 3 * xi * cube)).clamp(min=1e-7)
