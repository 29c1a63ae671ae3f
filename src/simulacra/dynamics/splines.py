r"""Monotone splines on a box :math:`[-B, B]`, the identity outside it.

A rational-quadratic spline (Durkan et al. 2019, arXiv:1906.04032) has knots :math:`(x_k, y_k)` with slopes
:math:`\delta_k`; with :math:`\xi = (x - x_k) / w_k` and :math:`s_k = h_k / w_k` bin :math:`k` maps

.. math::
    y = y_k + h_k \frac{s_k \xi^2 + \delta_k \xi (1 - \xi)}
                       {s_k + (\delta_{k+1} + \delta_k - 2 s_k) \xi (1 - \xi)}.

Free numbers stand first, ``(3K - 1, B, D)``, in the order widths ``K``, heights ``K``, inner slopes ``K -
1``; all zeros give the identity. The choice of the bin and the map within it have gradients in closed form
(:mod:`simulacra.dynamics.spline_bins`).

A masked autoregressive step knows the free numbers of a feature only when the features before it are done, so
it undoes the map row by row, for a whole batch at once. :class:`Rows` is the plain way;
:class:`RationalQuadraticRows` does the same arithmetic as the spline's ``inverse`` in few calls: one table of
the knots, one ``gather`` of the bin, log slopes of all features at the end.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from simulacra.core.constructors import role
from simulacra.core.ranges import Count, Positive
from simulacra.dynamics.spline_bins import bin_of, soft, within

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

    def undo(self, y: Tensor, free: Tensor) -> Tensor:
        """The values of :meth:`inverse` alone."""
        return self.inverse(y, free)[0]

    def rows(self, y: Tensor) -> Rows:
        """Inverses of the rows of ``y`` ``(D, B)``, one after the other and without gradients."""
        return Rows(y, self.numbers, self.inverse)


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
        x, unit, *box = self._bin(x, free, axis=0)
        moved, log_slope = within(unit, *box)
        inside = self._inside(x)
        return x + (2 * self.bound) * inside * (moved - unit), inside * log_slope

    def inverse(self, y: Tensor, free: Tensor) -> tuple[Tensor, Tensor]:
        """See :class:`Spline`."""
        y, unit, *pairs = self._bin(y, free, axis=1)
        (x0, y0), (width, height), (d0, d1) = (pair.unbind(0) for pair in pairs)
        slope, inside = height / width, self._inside(y)
        xi = self.place(unit - y0, height, slope, d0, d1)
        x = y + (2 * self.bound) * inside * (x0 + xi * width - unit)
        product = xi * (1 - xi)
        denominator = slope + (d0 + d1 - 2 * slope) * product
        return x, -inside * self.log_slope(slope, d0, d1, xi, product, denominator)

    def undo(self, y: Tensor, free: Tensor) -> Tensor:
        """See :class:`Spline`."""
        y, unit, *pairs = self._bin(y, free, axis=1)
        (x0, y0), (width, height), (d0, d1) = (pair.unbind(0) for pair in pairs)
        xi = self.place(unit - y0, height, height / width, d0, d1)
        moved = torch.addcmul(x0, xi, width) - unit
        return torch.add(y, moved * self._inside(y), alpha=2 * self.bound)

    def rows(self, y: Tensor) -> Rows:
        """See :class:`Spline`."""
        return RationalQuadraticRows(y, self)

    @staticmethod
    def place(rise: Tensor, height: Tensor, slope: Tensor, d0: Tensor, d1: Tensor) -> Tensor:
        """Where in its bin, from 0 to 1, the map has risen by ``rise``; equations 6 to 8."""
        rise = (rise / height).clamp(min=0)  # a, b and c of the equations, over the height
        b = torch.addcmul(d0, rise, torch.sub(d0 + d1, slope, alpha=2), value=-1)
        c = slope * rise
        square = torch.addcmul(b * b, slope - b, c, value=4).clamp(
            min=0
        )  # negative only by rounding
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
        """Element and place in the unit interval, ``(B, D)``; edges, sizes and slopes of its bin, ``(2, B,
        D)``.
        """
        dtype = torch.promote_types(value.dtype, torch.float32)
        value, free = value.to(dtype), free.to(dtype)
        unit = (value / (2 * self.bound) + 0.5).clamp(0, 1)
        start, share, raw = bin_of(unit, self.soften(free)(free), self.bins, self.min_bin, axis)
        return value, unit, start, share, self.slopes(raw)

    def _inside(self, value: Tensor) -> Tensor:
        """1 where an element is inside the box, 0 elsewhere, ``(B, D)``."""
        return (value.detach().abs() < self.bound).to(value.dtype)

    def soften(self, like: Tensor) -> Callable[[Tensor], Tensor]:
        """What makes the numbers of the bins of free numbers ``(numbers, *)`` of the shape of ``like``."""
        return _same

    def slopes(self, raw: Tensor) -> Tensor:
        """Slopes at the knots from softened numbers, both of any shape."""
        return torch.exp(self.limit * torch.tanh(raw / self.limit))


def _same(free: Tensor) -> Tensor:
    return free


class SoftQuadratic(RationalQuadratic):
    r"""The same, with free numbers :math:`a` bounded by :math:`a / (1 + |a| / L)`, with :math:`L = -\ln
    \delta_{min}` for slopes and half of it for widths and heights, whose smallest share follows from it.

    Args:
        bins: Number of bins ``K``.
        bound: Half width of the box ``B``.
        min_slope: Smallest slope at a knot; the largest is its inverse.

    Reference: as in the package zuko, ``MonotonicRQSTransform``.
    """

    def __init__(self, bins: Count = 8, bound: Positive = 5.0, min_slope: float = 1e-3) -> None:
        super().__init__(bins, bound, 0.0, min_slope)

    def soften(self, like: Tensor) -> Callable[[Tensor], Tensor]:
        """See :class:`RationalQuadratic`."""
        inverse = like.new_full((self.numbers, *(1,) * (like.ndim - 1)), 1 / self.limit)
        inverse[: 2 * self.bins] *= 2
        return partial(soft, inverse)

    def slopes(self, raw: Tensor) -> Tensor:
        """See :class:`RationalQuadratic`."""
        return raw.exp()


class RationalQuadraticRows(Rows):
    """Rows of a rational-quadratic spline.

    Args:
        y: Values ``(D, B)``.
        spline: The spline.
    """

    def __init__(self, y: Tensor, spline: RationalQuadratic) -> None:
        super().__init__(y, spline.numbers, spline.inverse)
        bins, (count, batch) = spline.bins, y.shape
        self.spline, self.soft = spline, spline.soften(self.free)
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
        self.floor = y.new_tensor(spline.min_bin)
        self.rest = 1 - bins * spline.min_bin
        self.piece = y.new_empty(count, 6, batch)
        self.places: list[Tensor] = []
        unit = (y / (2 * spline.bound) + 0.5).clamp_(0, 1)
        each = (y, self.x, unit, (2 * spline.bound) * self.inside, self.piece, self.piece[:, 4:])
        self.each = list(zip(*(part.unbind(0) for part in each), strict=True))

    def solve(self, i: int) -> Tensor:
        """See :class:`Rows`."""
        y, x, unit, scale, piece, slopes = self.each[i]
        soft = self.soft(self.free)
        if soft is not self.free:
            self.free.copy_(soft)
        torch.add(self.floor, torch.softmax(self.raw, 1), alpha=self.rest, out=self.sizes)
        torch.cumsum(self.widths, 1, out=self.inner)
        self.slopes.copy_(self.raw_slopes)
        torch.add(self.first, torch.le(self.heights, unit).sum(0), out=self.index)
        torch.gather(self.table, 0, self.index, out=piece)
        slopes.copy_(self.spline.slopes(slopes))
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
