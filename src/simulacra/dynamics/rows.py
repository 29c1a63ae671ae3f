r"""Inverting an elementwise map one feature after the other, for a whole batch at once.

A masked autoregressive step knows the free numbers of a feature only when those before it are done.
:class:`Rows` is the plain way; :class:`RationalQuadraticRows` does the same arithmetic as the spline's
``inverse`` in few calls: one table of the knots, one ``gather`` of the bin, log slopes of all features at the
end.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from simulacra.dynamics.splines import RationalQuadratic

Inverse = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


class Rows:
    """Inverses of the rows of ``y``, in order.

    Args:
        y: Values ``(D, B)``.
        numbers: Free numbers per element.
        inverse: The map's inverse, see :class:`~simulacra.dynamics.splines.Spline`.
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
