r"""Showers layer by layer with two flows: one of the first layer, one shared by all others.

.. math::
    p(x_0 \dots x_{L-1} | c, E) = p_2(x_0 | c, E_0) \prod_{n \ge 1} p_3(x_n | c, E_n, E_{n-1}, x_{n-1}, n),

with the number of the layer as a one-hot vector. All layers have the same cells. A training step may draw
some of the layers :math:`n \ge 1` of every shower: their mean estimates that over all, and a step costs less.

Reference: iCaloFlow, arXiv:2305.11934, section 3.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from simulacra.dynamics import density
from simulacra.dynamics.flows import Flow
from simulacra.dynamics.layer_chain import LayerChain

Seen = Callable[[int, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Rows:
    """What one of the two flows describes.

    Args:
        flow: The flow.
        x: Layers ``(R, V)``.
        context: What steers the flow ``(R, C)``.
    """

    flow: Flow
    x: Tensor
    context: Tensor


def next_width(layers: int, width: int, given: int) -> int:
    """Width of the context of the flow of the layers ``n >= 1``."""
    return given + 2 + width + layers - 1


class InductiveChain(LayerChain):
    """See the module's docstring; the context is ``c``, then the energies of all layers.

    Args:
        layers: ``L``, at least 2.
        width: Cells of a layer ``V``.
        given: Width of ``c``.
        first: Flow of the first layer, context ``c, E_0``.
        next: Flow of the others, context :func:`next_width`.
        seen: What the next layer sees of a generated one, as :meth:`LayerChain.seen`.
    """

    def __init__(
        self, layers: int, width: int, given: int, first: Flow, next: Flow, seen: Seen
    ) -> None:
        super().__init__([width] * layers, history=1)
        self.given = given
        self.first, self.next = first, next
        self._seen = seen

    def seen(self, n: int, x: Tensor, context: Tensor) -> Tensor:
        """See :class:`LayerChain`."""
        return self._seen(n, x, context)

    def flow_of(self, n: int) -> Flow:
        """See :class:`LayerChain`."""
        return self.first if n == 0 else self.next

    def steer(self, n: int, past: list[Tensor], context: Tensor) -> Tensor:
        """See :class:`LayerChain`."""
        if n == 0:
            return context[:, : self.given + 1]
        number = torch.full((len(context),), n, device=context.device)
        return self._steer_next(past[-1], context, number)

    def rows(
        self, x: Tensor, context: Tensor, each: int | None, generator: torch.Generator | None
    ) -> dict[str, Rows]:
        """What the flow of the first layer and that of the next ones describe, the true layer before each.

        Args:
            x: Showers ``(B, features)``.
            context: ``(B, given + L)``.
            each: How many of the layers ``n >= 1`` of each shower are drawn, without replacement (None: all).
            generator: Source of the draw.

        Returns:
            ``first`` with ``B`` rows and ``next`` with ``each * B``.
        """
        count = len(self.widths) - 1
        layers = x.unflatten(-1, (count + 1, -1))  # (B, L, V)
        if each is None or each >= count:
            number = torch.arange(1, count + 1, device=x.device).expand(len(x), -1)
        else:
            lots = torch.rand(len(x), count, generator=generator, device=x.device)
            number = 1 + lots.topk(each, dim=1).indices  # (B, each)
        row = torch.arange(len(x), device=x.device)[:, None].expand_as(number).flatten()
        number = number.flatten()
        steer = self._steer_next(layers[row, number - 1], context[row], number)
        return {
            "first": Rows(self.first, layers[:, 0], self.steer(0, [], context)),
            "next": Rows(self.next, layers[row, number], steer),
        }

    def _steer_next(self, before: Tensor, context: Tensor, number: Tensor) -> Tensor:
        c, energies = context[:, : self.given], context[:, self.given :]
        now = energies.gather(1, number[:, None])
        last = energies.gather(1, number[:, None] - 1)
        place = F.one_hot(number - 1, len(self.widths) - 1).to(before.dtype)
        return torch.cat([c, now, last, before, place], dim=-1)

    @torch.no_grad()
    def fit(self, rows: Iterable[density.Rows]) -> None:
        """Data-dependent initialisation of both flows, of the second from one layer of each shower."""
        x, context, weight = density.first(rows)
        assert context is not None
        generator = torch.Generator(device=x.device).manual_seed(0)
        for item in self.rows(x, context, 1, generator).values():
            item.flow.fit([(item.x, item.context, weight)])
