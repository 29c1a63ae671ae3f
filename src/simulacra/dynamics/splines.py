r"""Monotone splines on a box :math:`[-B, B]`, the identity outside it.

A rational-quadratic spline (Durkan et al. 2019, arXiv:1906.04032) has knots :math:`(x_k, y_k)` with slopes
:math:`\delta_k`; with :math:`\xi = (x - x_k) / w_k` and :math:`s_k = h_k / w_k` bin :math:`k` maps

.. math::
    y = y_k + h_k \frac{s_k \xi^2 + \delta_k \xi (1 - \xi)}
                       {s_k + (\delta_{k+1} + \delta_k - 2 s_k) \xi (1 - \xi)}.

Free numbers stand first, ``(3K - 1, B, D)``, in the order widths ``K``, heights ``K``, inner slopes ``K -
1``; all zeros give the identity. Choosing the bin needs every number of an element, evaluating it only six:
the choice is one autograd function with a closed-form gradient that works slab by slab. Bins are selected by
arithmetic with 0 and 1, since ``where`` and ``gather`` do not vectorise on a CPU.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from simulacra.dynamics.rows import RationalQuadraticRows, Rows


class Spline(ABC):
    """A monotone map of each element, steered by free numbers."""

    numbers: int
    """Free numbers per element."""

    @abstractmethod
    def __call__(self, x: Tensor, free: Tensor) -> tuple[Tensor, Tensor]:
        """Map ``x`` ``(B, D)`` with ``free`` ``(numbers, B, D)``: values and log slopes, both ``(B, D)``."""

    @abstractmethod
    def inverse(self, y: Tensor, free: Tensor) -> tuple[Tensor, Tensor]:
        """Undo the map: values and the log slopes of the inverse map, both ``(B, D)``."""

    def rows(self, y: Tensor) -> Rows:
        """Inverses of the rows of ``y`` ``(D, B)``, one after the other and without gradients."""
        return Rows(y, self.numbers, self.inverse)


class _Bin(torch.autograd.Function):
    r"""Bin of each element: left edge and width along both axes of the unit square, and the raw slopes at its
    ends.

    A bin's share of an axis is :math:`p_k = \epsilon + (1 - K \epsilon)\,\sigma_k` with :math:`\sigma` the
    softmax of the free numbers :math:`a`, its left edge :math:`\sum_{j<k} p_j`. With gradients :math:`g` of
    the edge and :math:`q` of the share, :math:`\partial a_j = (1 - K \epsilon)\,\sigma_j (g [j < k] + q [j =
    k] - g \sum_{i<k} \sigma_i - q \sigma_k)`.
    """

    @staticmethod
    def forward(
        ctx: Any, unit: Tensor, free: Tensor, bins: int, floor: float, axis: int
    ) -> tuple[Tensor, ...]:
        """Left edge, share along the input; the same along the output; raw slope left, right; all ``(B, D)``.

        ``unit`` ``(B, D)`` is the position along ``axis`` (0 input, 1 output), ``free`` ``(3K - 1, B, D)``.
        """
        rest = 1 - bins * floor
        raw = free[: 2 * bins].unflatten(0, (2, bins))
        dense = torch.sub(raw, raw.amax(1, keepdim=True)).exp_()  # (2, K, B, D)
        total = dense.sum(1)
        scale = total[axis] / rest
        position = unit * scale
        after = dense.new_empty(
            bins + 1, *unit.shape
        )  # after[k] is 1 where the bin is k or a later one
        after[0], after[bins] = 1, 0
        seen = torch.zeros_like(unit)
        for k in range(1, bins):
            seen += dense[axis, k - 1]
            torch.ge(torch.sub(position, scale, alpha=floor * k), seen, out=after[k])
        edge, share = torch.zeros_like(total), torch.zeros_like(total)
        left, right = torch.zeros_like(unit), torch.zeros_like(unit)
        for k in range(bins):
            own = after[k] - after[k + 1]
            share.addcmul_(dense[:, k], own)
            if k > 0:
                edge.addcmul_(dense[:, k - 1], after[k])
                left.addcmul_(free[2 * bins + k - 1], own)
            if k < bins - 1:
                right.addcmul_(free[2 * bins + k], own)
        edge /= total
        share /= total
        ctx.save_for_backward(dense, after, total, edge, share)
        ctx.rest = rest
        number = after[1:bins].sum(0)
        start, share_ = (number * floor).add(edge, alpha=rest), share.mul(rest).add_(floor)
        return start[0], share_[0], start[1], share_[1], left, right

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, g0: Tensor, q0: Tensor, g1: Tensor, q1: Tensor, left: Tensor, right: Tensor
    ) -> tuple[None, Tensor, None, None, None]:
        dense, after, total, edge, share = ctx.saved_tensors
        bins = dense.shape[1]
        factor = ctx.rest / total
        g, q = torch.stack([g0, g1]).mul_(factor), torch.stack([q0, q1]).mul_(factor)
        common = -(g * edge + q * share)
        grad = dense.new_empty(3 * bins - 1, *dense.shape[2:])
        pair = grad[: 2 * bins].unflatten(0, (2, bins))
        for k in range(bins):
            own = after[k] - after[k + 1]
            part = torch.addcmul(common, g, after[k + 1]).addcmul_(q, own)
            torch.mul(part, dense[:, k], out=pair[:, k])
            if k < bins - 1:
                torch.mul(right, own, out=grad[2 * bins + k])
            if k > 0:
                grad[2 * bins + k - 1].addcmul_(left, own)
        return None, grad, None, None, None


class RationalQuadratic(Spline):
    r"""Monotone rational-quadratic spline with linear tails of slope 1.

    Args:
        bins: Number of bins ``K``.
        bound: Half width of the box ``B``.
        min_bin: Smallest share of a bin in the box.
        min_slope: Smallest slope at a knot; the largest is its inverse.

    Reference: Durkan et al. 2019, arXiv:1906.04032, equations 4 to 8.
    """

    def __init__(
        self, bins: int = 10, bound: float = 10.0, min_bin: float = 1e-3, min_slope: float = 1e-3
    ) -> None:
        if bins < 2 or bins * min_bin >= 1 or not 0 < min_slope < 1 or bound <= 0:
            raise ValueError(
                f"no spline has bins={bins}, bound={bound}, min_bin={min_bin}, min_slope={min_slope}"
            )
        self.bins, self.bound, self.min_bin, self.min_slope = bins, bound, min_bin, min_slope
        self.numbers = 3 * bins - 1
        self.limit = -math.log(min_slope)

    def __call__(self, x: Tensor, free: Tensor) -> tuple[Tensor, Tensor]:
        """See :class:`Spline`."""
        x, unit, inside, x0, width, y0, height, d0, d1 = self._bin(x, free, axis=0)
        slope = height / width
        xi = (unit - x0) / width
        product = xi * (1 - xi)
        denominator = slope + (d0 + d1 - 2 * slope) * product
        moved = y0 + height * (slope * xi * xi + d0 * product) / denominator
        y = x + (2 * self.bound) * inside * (moved - unit)
        return y, inside * self.log_slope(slope, d0, d1, xi, product, denominator)

    def inverse(self, y: Tensor, free: Tensor) -> tuple[Tensor, Tensor]:
        """See :class:`Spline`."""
        y, unit, inside, x0, width, y0, height, d0, d1 = self._bin(y, free, axis=1)
        slope = height / width
        xi = self.place(unit - y0, height, slope, d0, d1)
        x = y + (2 * self.bound) * inside * (x0 + xi * width - unit)
        product = xi * (1 - xi)
        denominator = slope + (d0 + d1 - 2 * slope) * product
        return x, -inside * self.log_slope(slope, d0, d1, xi, product, denominator)

    def rows(self, y: Tensor) -> Rows:
        """See :class:`Spline`."""
        return RationalQuadraticRows(y, self)

    @staticmethod
    def place(rise: Tensor, height: Tensor, slope: Tensor, d0: Tensor, d1: Tensor) -> Tensor:
        """Where in its bin, from 0 to 1, the map has risen by ``rise``; equations 6 to 8."""
        rise = rise.clamp(min=0)
        bend = rise * torch.sub(d0 + d1, slope, alpha=2)
        a = height * (slope - d0) + bend
        b = height * d0 - bend
        c = slope * rise
        square = torch.add(b * b, a * c, alpha=4).clamp(min=0)  # negative only by rounding
        low = torch.finfo(rise.dtype).tiny
        return ((c + c) / (b + torch.sqrt(square)).clamp(min=low)).clamp(max=1)

    @staticmethod
    def log_slope(
        s: Tensor, d0: Tensor, d1: Tensor, xi: Tensor, product: Tensor, denominator: Tensor
    ) -> Tensor:
        """Logarithm of the map's slope at ``xi``, equation 5; the last two are parts of the map itself."""
        rest = 1 - xi
        numerator = d1 * xi * xi + 2 * s * product + d0 * rest * rest
        ratio = s / denominator
        return torch.log(ratio * ratio * numerator)

    def _bin(self, value: Tensor, free: Tensor, axis: int) -> tuple[Tensor, ...]:
        """Element, place in the unit interval, 1 inside the box; edges, sizes and slopes of its bin."""
        dtype = torch.promote_types(value.dtype, torch.float32)
        value, free = value.to(dtype), free.to(dtype)
        inside = (value.detach().abs() < self.bound).to(dtype)
        unit = (value / (2 * self.bound) + 0.5).clamp(0, 1)
        *box, left, right = _Bin.apply(unit, free, self.bins, self.min_bin, axis)  # type: ignore[no-untyped-call]
        d0, d1 = (torch.exp(self.limit * torch.tanh(raw / self.limit)) for raw in (left, right))
        return value, unit, inside, *box, d0, d1
