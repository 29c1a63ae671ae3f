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

A masked autoregressive step knows the free numbers of a feature only when the features before it are done, so
it undoes the map row by row, for a whole batch at once. :class:`Rows` is the plain way;
:class:`RationalQuadraticRows` does the same arithmetic as the spline's ``inverse`` in few calls: one table of
the knots, one ``gather`` of the bin, log slopes of all features at the end.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from simulacra.core import draws
from simulacra.core.constructors import role
from simulacra.core.ranges import Count, Positive
from simulacra.nn.derived import keeps

FEW = 4096
"""Elements up to which few operations are faster than operations slab by slab."""
Inverse = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


class Rows:
    """Inverses of the rows of ``y``, in order.

    Args:
        y: Values ``(D, B)``.
        numbers: Free numbers per element.
        inverse: The map's inverse, see :class:`Spline`.
    """

    def __init__(self, y: Tensor, numbers: int, inverse: Inverse) -> None:
        self.y, self.inverse = y, inverse
        self.free = y.new_empty(numbers, y.shape[1])
        """To be filled with the free numbers ``(numbers, B)`` before each :meth:`solve`."""
        self.x = torch.empty_like(y)
        self.log_slope = torch.empty_like(y)

    def solve(self, i: int) -> Tensor:
        """Row ``i`` of the result ``(B,)``, from ``free``."""
        self.x[i], self.log_slope[i] = self.inverse(self.y[i], self.free)
        return self.x[i]

    def log_det(self) -> Tensor:
        """Sum of the log slopes of the inverse map over all rows, ``(B,)``."""
        return self.log_slope.sum(0)


@role
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


def _gathered(unit: Tensor, free: Tensor, bins: int, floor: float, axis: int) -> tuple[Tensor, ...]:
    """The same without gradients, in few operations and none in place, as an exported graph wants it."""
    raw, slopes = free[: 2 * bins].unflatten(0, (2, bins)), free[2 * bins :]
    shares = floor + (1 - bins * floor) * torch.softmax(raw, 1)  # (2, K, B, D)
    starts = torch.nn.functional.pad(shares[:, :-1].cumsum(1), (0, 0) * unit.ndim + (1, 0))
    index = (starts[axis, 1:] <= unit).sum(0, keepdim=True)  # (1, B, D)
    both = index.expand(2, *index.shape)
    start, share = starts.gather(1, both)[:, 0], shares.gather(1, both)[:, 0]
    zero = torch.zeros_like(slopes[:1])
    ends = torch.cat([zero, slopes, zero])
    left, right = ends.gather(0, index)[0], ends.gather(0, index + 1)[0]
    return start[0], share[0], start[1], share[1], left, right


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
        self,
        bins: Count = 10,
        bound: Positive = 10.0,
        min_bin: float = 1e-3,
        min_slope: float = 1e-3,
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
        few = draws.unrolled() or (keeps() and unit.numel() <= FEW)
        choose = _gathered if few else _Bin.apply
        *box, left, right = choose(unit, free, self.bins, self.min_bin, axis)
        d0, d1 = (torch.exp(self.limit * torch.tanh(raw / self.limit)) for raw in (left, right))
        return value, unit, inside, *box, d0, d1


class RationalQuadraticRows(Rows):
    """Rows of a rational-quadratic spline.

    Args:
        y: Values ``(D, B)``.
        spline: The spline.
    """

    def __init__(self, y: Tensor, spline: RationalQuadratic) -> None:
        super().__init__(y, spline.numbers, spline.inverse)
        bins, (count, batch) = spline.bins, y.shape
        self.spline = spline
        self.inside = (y.abs() < spline.bound).to(y.dtype)
        self.raw, self.raw_slopes = self.free[: 2 * bins].view(2, bins, -1), self.free[2 * bins :]
        # the knots of one feature: starts of the bins along both axes, their sizes, raw slopes
        table = y.new_zeros(5 * bins + 1, batch)
        starts, self.sizes = table[: 4 * bins].view(2, 2, bins, batch)
        self.table, self.inner, self.heights = table, starts[:, 1:], starts[1, 1:]
        self.widths, self.slopes = self.sizes[:, :-1], table[4 * bins + 1 : -1]  # 1 at both ends
        first = [0, bins, 2 * bins, 3 * bins, 4 * bins, 4 * bins + 1]
        self.first = torch.tensor(first, device=y.device)[:, None].expand(-1, batch).contiguous()
        self.index = torch.empty_like(self.first)
        self.floor, self.limit = y.new_tensor(spline.min_bin), y.new_tensor(spline.limit)
        self.rest = 1 - bins * spline.min_bin
        self.piece = y.new_empty(count, 6, batch)
        self.places: list[Tensor] = []
        unit = (y / (2 * spline.bound) + 0.5).clamp_(0, 1)
        each = (y, self.x, unit, (2 * spline.bound) * self.inside, self.piece, self.piece[:, 4:])
        self.each = list(zip(*(part.unbind(0) for part in each), strict=True))

    def solve(self, i: int) -> Tensor:
        """See :class:`Rows`."""
        y, x, unit, scale, piece, slopes = self.each[i]
        torch.add(self.floor, torch.softmax(self.raw, 1), alpha=self.rest, out=self.sizes)
        torch.cumsum(self.widths, 1, out=self.inner)
        self.slopes.copy_(self.raw_slopes)
        torch.add(self.first, torch.le(self.heights, unit).sum(0), out=self.index)
        torch.gather(self.table, 0, self.index, out=piece)
        slopes.div_(self.limit).tanh_().mul_(self.limit).exp_()
        x0, y0, width, height, d0, d1 = piece.unbind(0)
        place = self.spline.place(unit - y0, height, height / width, d0, d1)
        self.places.append(place)
        return torch.addcmul(y, scale, torch.addcmul(x0, place, width).sub_(unit), out=x)

    def log_det(self) -> Tensor:
        """See :class:`Rows`."""
        _, _, width, height, d0, d1 = self.piece.unbind(1)
        xi, slope = torch.stack(self.places), height / width
        product = xi * (1 - xi)
        denominator = slope + (d0 + d1 - 2 * slope) * product
        log = self.spline.log_slope(slope, d0, d1, xi, product, denominator)
        return -(self.inside * log).sum(0)
