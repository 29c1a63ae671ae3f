r"""Inverse of a masked autoregressive step at about the cost of one network pass.

Computing feature :math:`i` by a full pass costs :math:`D` passes for :math:`D` features. Here every number is
computed once: when :math:`x_{i-1}` is known, the hidden units of degree :math:`i` are determined, layer by
layer, and then the free numbers of feature :math:`i`,

.. math:: h_U = \phi(b_U + W_{U, <i}\, x_{<i} + V_U c), \qquad \theta_i = b_i + W_{i, <u}\, h_{<u}.

Units stand in the order of their degrees, so all of these are leading slices of the weights as they are: no
copy that could be out of date. Buffers hold features in rows, ``(D, B)``.

In an exported graph (:mod:`simulacra.core.draws`) nothing is written in place and every feature is a piece of
the graph, so that only short rows can be unrolled.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from simulacra.core import UserError, draws
from simulacra.dynamics.splines import Rows, Spline
from simulacra.nn.masked import SEEN, MaskedNet

MOST_UNROLLED = 64
"""Features of which an exported graph holds the steps one after the other."""


@torch.no_grad()
def invert(
    net: MaskedNet, spline: Spline, z: Tensor, context: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Solve ``z = spline(x, net(x, context))`` for ``x`` ``(B, D)``.

    Returns:
        ``x`` and the log-determinant ``(B,)`` of this inverse map, both without gradients.

    Raises:
        UserError: If the features are too many for an exported graph.
    """
    if draws.unrolled():
        return _unrolled(net, spline, z.to(net.weight.dtype), context)
    rows = spline.rows(z.to(net.weight.dtype).t().contiguous())
    with torch.inference_mode():
        _fill(net, rows, context)
    return rows.x.t().contiguous(), rows.log_det()


def _unrolled(
    net: MaskedNet, spline: Spline, z: Tensor, context: Tensor | None
) -> tuple[Tensor, Tensor]:
    """As :func:`invert`, without writing into buffers."""
    if net.features > MOST_UNROLLED:
        raise UserError(
            f"an autoregressive flow makes {net.features:,} numbers one after the other, and an exported "
            f"graph unrolls {MOST_UNROLLED} at most: export the student"
        )
    shift = net.shift(context)
    starts = [layer.bias[None] for layer in net.linears()]
    starts[0] = starts[0] if shift is None else starts[0] + shift
    ends = [[0, *known] for known in net.ready]
    seen: list[Tensor] = []
    units: list[list[Tensor]] = [[] for _ in starts]
    made, slopes = [], []
    for i in range(net.features):
        source, done = seen, i
        for layer, start, end, parts in zip(net.linears(), starts, ends, units, strict=True):
            first, last = end[i], end[i + 1]
            if last > first:
                raw = start[:, first:last].expand(z.shape[0], -1)
                if done:
                    weight = layer.weight[first:last, :done]
                    raw = torch.addmm(raw, torch.cat(source, 1), weight.t())
                parts.append(net.activation(raw))
            source, done = parts, last
        free = net.bias[:, :, i].expand(-1, z.shape[0])
        if done:
            free = torch.addmm(free, net.weight[:, i, :done], torch.cat(source, 1).t())
        value, slope = spline.inverse(z[:, i], free)
        seen.append(value.clamp(-SEEN, SEEN)[:, None])
        made.append(value)
        slopes.append(slope)
    return torch.stack(made, 1), torch.stack(slopes, 1).sum(1)


def _fill(net: MaskedNet, rows: Rows, context: Tensor | None) -> None:
    """Solve all rows in order."""
    batch = rows.y.shape[1]
    seen = torch.empty_like(rows.y)
    layers: list[_Layer] = []
    source, shift = seen, net.shift(context)
    for linear, known in zip(net.linears(), net.ready, strict=True):
        start = linear.bias[:, None].expand(-1, batch)
        start, shift = start if shift is None else start + shift.t(), None
        layers.append(_Layer(linear.weight, start, known, source, net.activation))
        source = layers[-1].hidden
    outputs = zip(net.bias.permute(2, 0, 1).unbind(0), net.weight.unbind(1), seen, strict=True)
    for i, (bias, weight, row) in enumerate(outputs):
        done = i
        for layer in layers:
            done = layer.grow(i, done)
        torch.addmm(bias, weight[:, :done], source[:done], out=rows.free)
        torch.clamp(rows.solve(i), -SEEN, SEEN, out=row)


class _Layer:
    """A hidden layer of which more and more units are determined.

    Args:
        weight: Weights ``(H, inputs)``.
        start: Bias, with what the context adds, ``(H, B)``.
        known: Number of units that the features before each one determine.
        source: Buffer of the inputs ``(inputs, B)``.
        activation: The activation.
    """

    def __init__(
        self,
        weight: Tensor,
        start: Tensor,
        known: Sequence[int],
        source: Tensor,
        activation: nn.Module,
    ) -> None:
        self.known, self.source, self.activation = known, source, activation
        self.hidden = source.new_empty(start.shape)
        sizes = [b - a for a, b in pairwise([0, *known, len(start)])]
        self.parts = list(
            zip(start.split(sizes), weight.split(sizes), self.hidden.split(sizes), strict=True)
        )

    def grow(self, i: int, below: int) -> int:
        """Compute the units of degree ``i`` from the first ``below`` inputs; how many are known then."""
        start, weight, hidden = self.parts[i]
        if len(hidden) > 0:
            raw = torch.addmm(start, weight[:, :below], self.source[:below])
            hidden.copy_(self.activation(raw))
        return self.known[i]
