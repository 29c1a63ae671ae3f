r"""Parts of rational-quadratic splines, with gradients in closed form: the bin of each element, and the map
within it.

Choosing the bin needs every number of an element, evaluating it only six. Of many elements the choice works
slab by slab, and bins are selected by arithmetic with 0 and 1, since ``where`` and ``gather`` do not
vectorise on a CPU; of few elements what counts is the number of operations.

What belongs to both axes, input and output, or to both ends of a bin, is a pair ``(2, B, D)``.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from simulacra.core import draws
from simulacra.nn.derived import keeps

FEW = 4096
"""Elements up to which few operations are faster than operations slab by slab."""
Box = tuple[Tensor, Tensor, Tensor]
"""Left edges of a bin, shares of the axes, and raw slopes at its ends: pairs."""


def bin_of(unit: Tensor, free: Tensor, bins: int, floor: float, axis: int) -> Box:
    """The bin of each element.

    Args:
        unit: Position along ``axis``, from 0 to 1, ``(B, D)``.
        free: Free numbers ``(3K - 1, B, D)``.
        bins: ``K``.
        floor: Smallest share.
        axis: 0 input, 1 output.
    """
    recorded = draws.unrolled()  # as a graph, for any number of elements
    few = recorded or unit.numel() <= FEW
    if recorded or (few and keeps()):
        return _gathered(unit, free, bins, floor, axis)[0]
    choose = _Gathered if few else _Slabs
    found: Box = choose.apply(unit, free, bins, floor, axis)
    return found


class _Slabs(torch.autograd.Function):
    r"""Slab by slab.

    A bin's share of an axis is :math:`p_k = \epsilon + (1 - K \epsilon)\,\sigma_k` with :math:`\sigma` the
    softmax of the free numbers :math:`a`, its left edge :math:`\sum_{j<k} p_j`. With gradients :math:`g` of
    the edge and :math:`q` of the share, :math:`\partial a_j = (1 - K \epsilon)\,\sigma_j (g [j < k] + q [j =
    k] - g \sum_{i<k} \sigma_i - q \sigma_k)`.
    """

    @staticmethod
    def forward(ctx: Any, unit: Tensor, free: Tensor, bins: int, floor: float, axis: int) -> Box:
        """See :func:`bin_of`."""
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
        edge, share, ends = (torch.zeros_like(total) for _ in range(3))
        left, right = ends
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
        return (number * floor).add(edge, alpha=rest), share.mul(rest).add_(floor), ends

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, start: Tensor, share_: Tensor, ends: Tensor
    ) -> tuple[None, Tensor, None, None, None]:
        dense, after, total, edge, share = ctx.saved_tensors
        bins = dense.shape[1]
        factor = ctx.rest / total
        g, q = start * factor, share_ * factor
        common = -(g * edge + q * share)
        grad = dense.new_empty(3 * bins - 1, *dense.shape[2:])
        pair = grad[: 2 * bins].unflatten(0, (2, bins))
        for k in range(bins):
            own = after[k] - after[k + 1]
            part = torch.addcmul(common, g, after[k + 1]).addcmul_(q, own)
            torch.mul(part, dense[:, k], out=pair[:, k])
            if k < bins - 1:
                torch.mul(ends[1], own, out=grad[2 * bins + k])
            if k > 0:
                grad[2 * bins + k - 1].addcmul_(ends[0], own)
        return None, grad, None, None, None


def _gathered(
    unit: Tensor, free: Tensor, bins: int, floor: float, axis: int
) -> tuple[Box, Tensor, Tensor]:
    """The same in few operations and none in place, as an exported graph wants it; also the softmax ``(2, K,
    B, D)`` and the number of the bin ``(1, B, D)``.
    """
    raw, slopes = free[: 2 * bins].unflatten(0, (2, bins)), free[2 * bins :]
    dense = torch.softmax(raw, 1)
    shares = dense * (1 - bins * floor) + floor
    ends = shares.cumsum(1)
    index = (ends[axis, :-1] <= unit).sum(0, keepdim=True)
    zero = torch.zeros_like(slopes[:1])
    knots = [(ends - shares).flatten(0, 1), shares.flatten(0, 1), zero, slopes, slopes, zero]
    table = torch.cat(knots).unflatten(0, (3, 2, bins))
    start, share, raw_slopes = table.gather(2, index.expand(3, 2, *index.shape))[:, :, 0]
    return (start, share, raw_slopes), dense, index


class _Gathered(torch.autograd.Function):
    """In few operations; the gradient is that of :class:`_Slabs`."""

    @staticmethod
    def forward(ctx: Any, unit: Tensor, free: Tensor, bins: int, floor: float, axis: int) -> Box:
        """See :func:`bin_of`."""
        found, dense, index = _gathered(unit, free, bins, floor, axis)
        ctx.save_for_backward(dense, index)
        ctx.rest = 1 - bins * floor
        return found

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, start: Tensor, share: Tensor, ends: Tensor
    ) -> tuple[None, Tensor, None, None, None]:
        dense, index = ctx.saved_tensors
        bins = dense.shape[1]
        number = torch.arange(bins, device=index.device).view(-1, *(1,) * (index.ndim - 1))
        own = (number == index).to(dense)  # (K, B, D)
        part = (start[:, None] * (number < index)).addcmul_(share[:, None], own).mul_(dense)
        part.addcmul_(dense, part.sum(1, keepdim=True), value=-1).mul_(ctx.rest)
        slopes = (ends[0] * own[1:]).addcmul_(ends[1], own[:-1])
        return None, torch.cat([part.flatten(0, 1), slopes]), None, None, None


def within(unit: Tensor, start: Tensor, share: Tensor, slopes: Tensor) -> tuple[Tensor, Tensor]:
    r"""The map within a bin, along the unit interval, and the logarithm of its slope; equations 4 and 5.

    With :math:`p = \xi (1 - \xi)`, :math:`q = s + (\delta_0 + \delta_1 - 2 s) p`, :math:`r = (s \xi^2 +
    \delta_0 p) / q` and :math:`m = \delta_1 \xi^2 + 2 s p + \delta_0 (1 - \xi)^2` they are :math:`y_0 + h r`
    and :math:`\ln(s^2 m / q^2)`, both ``(B, D)``.

    Args:
        unit: Position, from 0 to 1, ``(B, D)``.
        start: Left edges.
        share: Width and height.
        slopes: Slopes at both ends.

    Reference: Durkan et al. 2019, arXiv:1906.04032.
    """
    box = (unit, start, share, slopes)
    if draws.unrolled():
        moved, log_slope, *_ = _within(*box)
        return moved, log_slope
    found: tuple[Tensor, Tensor] = _Within.apply(*box)
    return found


def _within(unit: Tensor, start: Tensor, share: Tensor, slopes: Tensor) -> tuple[Tensor, ...]:
    r"""The two, then :math:`s, \xi, q, r, m`."""
    (x0, y0), (width, height), (d0, d1) = start, share, slopes
    s, xi = height / width, (unit - x0) / width
    rest = 1 - xi
    p, square = xi * rest, xi * xi
    q = torch.addcmul(s, torch.sub(d0 + d1, s, alpha=2), p)
    r = torch.addcmul(s * square, d0, p) / q
    m = torch.addcmul(torch.addcmul(d1 * square, s, p, value=2), d0, rest * rest)
    ratio = s / q
    return torch.addcmul(y0, height, r), torch.log(ratio * ratio * m), s, xi, q, r, m


class _Within(torch.autograd.Function):
    """The gradient is that of ``r``, ``q`` and ``m``, then of what these are made of."""

    @staticmethod
    def forward(
        ctx: Any, unit: Tensor, start: Tensor, share: Tensor, slopes: Tensor
    ) -> tuple[Tensor, Tensor]:
        """See :func:`within`."""
        moved, log_slope, *inner = _within(unit, start, share, slopes)
        ctx.save_for_backward(share, slopes, *inner)
        return moved, log_slope

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, moved: Tensor, log_slope: Tensor) -> tuple[Tensor, ...]:
        (width, height), (d0, d1), s, xi, q, r, m = ctx.saved_tensors
        rest = 1 - xi
        p, square, odd = xi * rest, xi * xi, rest - xi
        by_n = (moved * height).div_(q)  # r = n / q
        by_m = log_slope / m
        by_q = torch.addcmul(log_slope / q * -2, by_n, r, value=-1)
        ends = torch.stack([by_n + by_q, by_q]).mul_(p)
        ends[0].addcmul_(by_m, rest * rest)
        ends[1].addcmul_(by_m, square)
        by_s = torch.addcmul(by_q, by_n, square).addcmul_(by_m - by_q, p, value=2)
        by_s.addcdiv_(log_slope, s, value=2)
        half = torch.addcmul(d1 * xi, s, odd).addcmul_(d0, rest, value=-1)  # of the slope of m
        by_xi = (by_n * s).mul_(m).div_(q).addcmul_(by_m, half, value=2)
        bend = torch.sub(d0 + d1, s, alpha=2).mul_(odd)  # slope of q
        by_xi.addcmul_(log_slope / q, bend, value=-2)
        by_unit, by_height = by_xi / width, by_s / width
        by_width = -torch.addcmul(by_unit * xi, by_height, s)
        by_height.addcmul_(moved, r)
        return by_unit, torch.stack([-by_unit, moved]), torch.stack([by_width, by_height]), ends


def soft(limit: Tensor, free: Tensor) -> Tensor:
    r""":math:`a / (1 + |a| c)` of free numbers :math:`a`, with positive :math:`c` that needs no gradient.

    Args:
        limit: ``c``, to be broadcast.
        free: ``a``.
    """
    if torch.is_grad_enabled() and not draws.unrolled():
        found: Tensor = _Soft.apply(limit, free)
        return found
    return free / torch.addcmul(torch.ones_like(limit), free.abs(), limit)


class _Soft(torch.autograd.Function):
    """The gradient is the square of the factor."""

    @staticmethod
    def forward(ctx: Any, limit: Tensor, free: Tensor) -> Tensor:
        """See :func:`soft`."""
        factor = torch.addcmul(torch.ones_like(limit), free.abs(), limit).reciprocal_()
        ctx.save_for_backward(factor)
        return free * factor

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[None, Tensor]:
        (factor,) = ctx.saved_tensors
        return None, (grad * factor).mul_(factor)
