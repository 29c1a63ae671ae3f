r"""Showers layer by layer with two flows: one of the first layer, one shared by all others.

.. math::
    p(x_0 \dots x_{L-1} | c, E) = p_2(x_0 | c, E_0) \prod_{n \ge 1} p_3(x_n | c, E_n, E_{n-1}, x_{n-1}, n),

with the number of the layer as a one-hot vector. All layers have the same cells. A training step may draw
some of the layers :math:`n \ge 1` of every shower: their mean estimates that over all, and a step costs less.

Reference: iCaloFlow, arXiv:2305.11934, section 3.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from simulacra.core import Layout, draws
from simulacra.core.constructors import constructor
from simulacra.core.layout import Seen
from simulacra.core.ranges import Count
from simulacra.dynamics import density
from simulacra.dynamics.flows import Flow
from simulacra.dynamics.layer_chain import LayerChain, known


@dataclass(frozen=True)
class Rows:
    """What one of the two flows describes.

    Args:
        flow: The flow.
        x: Layers ``(R, V)``.
        context: What steers the flow ``(R, C)``.
        weight: Weight of the shower that each row is of ``(R,)``, or None.
    """

    flow: Flow
    x: Tensor
    context: Tensor
    weight: Tensor | None = None


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
        seen: What the next layer sees of a generated one (None: the layer itself).
        each: How many of the layers ``n >= 1`` of each shower a training step draws, without replacement
            (None: all).
    """

    def __init__(
        self,
        layers: int,
        width: int,
        given: int,
        first: Flow,
        next: Flow,
        seen: Seen | None = None,
        each: int | None = None,
    ) -> None:
        super().__init__([width] * layers, history=1, seen=seen)
        self.given, self.each = given, each
        self.first, self.next = first, next

    def flow_of(self, n: int) -> Flow:
        return self.first if n == 0 else self.next

    def steer(self, n: int, past: list[Tensor], context: Tensor) -> Tensor:
        if n == 0:
            return context[:, : self.given + 1]
        number = torch.full((context.shape[0],), n, device=context.device)
        return self._steer_next(past[-1], context, number)

    def rows(
        self,
        x: Tensor,
        context: Tensor,
        each: int | None,
        generator: torch.Generator | None = None,
        weight: Tensor | None = None,
    ) -> dict[str, Rows]:
        """What the flow of the first layer and that of the next ones describe, the true layer before each.

        Args:
            x: Showers ``(B, features)``.
            context: ``(B, given + L)``.
            each: How many of the layers ``n >= 1`` of each shower are drawn.
            generator: Source of the draw.
            weight: Weights of the showers ``(B,)``, or None.

        Returns:
            ``first`` with ``B`` rows and ``next`` with ``each * B``.
        """
        count = len(self.widths) - 1
        layers = x.unflatten(-1, (count + 1, -1))  # (B, L, V)
        if each is None or each >= count:
            number = torch.arange(1, count + 1, device=x.device).expand(len(x), -1)
        else:
            lots = draws.uniform((len(x), count), x, generator)
            number = 1 + lots.topk(each, dim=1).indices  # (B, each)
        row = torch.arange(len(x), device=x.device)[:, None].expand_as(number).flatten()
        number = number.flatten()
        steer = self._steer_next(layers[row, number - 1], context[row], number)
        return {
            "first": Rows(self.first, layers[:, 0], self.steer(0, [], context), weight),
            "next": Rows(
                self.next, layers[row, number], steer, None if weight is None else weight[row]
            ),
        }

    def terms(
        self,
        x: Tensor,
        context: Tensor | None = None,
        weight: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> dict[str, tuple[Tensor, int]]:
        """One per flow, each the mean over what it describes."""
        width = self.widths[0]
        numbers = {"first": width, "next": self.features - width}
        rows = self.rows(x, known(context), self.each, generator, weight)
        return {
            name: (item.flow.loss(item.x, item.context, item.weight, generator), numbers[name])
            for name, item in rows.items()
        }

    def loss(
        self,
        x: Tensor,
        context: Tensor | None = None,
        weight: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Sum of the terms, so that both flows learn alike fast."""
        terms = self.terms(x, context, weight, generator).values()
        return torch.stack([value for value, _ in terms]).sum()

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
        generator = torch.Generator(device=x.device).manual_seed(0)
        for item in self.rows(x, known(context), 1, generator, weight).values():
            item.flow.fit([(item.x, item.context, item.weight)])


@constructor
def inductive_chain(
    layout: Layout,
    flow: Callable[..., Flow],
    first_hidden: Sequence[Count],
    next_hidden: Sequence[Count],
    layers_per_step: Count | None = None,
) -> InductiveChain:
    """Chain of two flows of one kind.

    Args:
        layout: What is described, in layers that are all alike.
        flow: Makes a flow from ``(layout, hidden=..., seed=...)``.
        first_hidden: Widths of the networks of the flow of the first layer.
        next_hidden: Widths of those of the flow of the other layers.
        layers_per_step: See ``each`` of :class:`InductiveChain`.
    """
    layers, width, given = len(layout.layers), layout.layers[0], layout.given
    first = flow(Layout(width, given + 1), hidden=first_hidden, seed=2)
    following = flow(Layout(width, next_width(layers, width, given)), hidden=next_hidden, seed=3)
    return InductiveChain(
        layers, width, given, first, following, seen=layout.seen, each=layers_per_step
    )
