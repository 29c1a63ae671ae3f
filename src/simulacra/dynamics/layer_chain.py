r"""Showers layer by layer: a density of each layer given those before it.

.. math:: p(x_1 \dots x_L | c) = \prod_n p(x_n | x_{n-h} \dots x_{n-1}, c).

Trained on true layers before each one (teacher forcing), sampled on generated ones: what the two differ by is
the exposure bias, for which :meth:`LayerChain.sample` also takes true layers. The context ``c`` holds the
conditions and then the energies of all layers, so that a chain stands wherever one flow of all cells stands.

Reference: L2LFlows, arXiv:2302.11594; iCaloFlow, arXiv:2305.11934.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from simulacra.core.layout import Seen
from simulacra.dynamics.density import Density, Rows, first
from simulacra.dynamics.flows import Flow


class LayerChain(Density):
    """See the module's docstring.

    Args:
        widths: Numbers that describe each layer.
        history: Layers ``h`` that each layer sees before it.
        seen: What later layers see of a generated one, e.g. after a cut (None: the layer itself).
    """

    def __init__(self, widths: Sequence[int], history: int, seen: Seen | None = None) -> None:
        super().__init__()
        if history < 0 or not widths:
            raise ValueError(
                f"a chain needs layers and history >= 0, got {list(widths)} and {history}"
            )
        self.widths = list(widths)
        self.history = history
        self.seen = seen
        self.features = sum(widths)

    @abstractmethod
    def flow_of(self, n: int) -> Flow:
        """The flow that describes layer ``n``, ``(B, widths[n])``."""

    @abstractmethod
    def steer(self, n: int, past: list[Tensor], context: Tensor) -> Tensor:
        """What steers the flow of layer ``n``.

        Args:
            n: Number of the layer, from 0.
            past: Up to ``history`` layers before it, each ``(B, width)``, the last one next to it.
            context: ``(B, C)``.
        """

    def log_probs(self, x: Tensor, context: Tensor | None) -> Tensor:
        """Log density ``(B, L)`` of every layer of ``x`` ``(B, features)``, given the true layers before."""
        layers, context = self.split(x), known(context)
        values = [
            self.flow_of(n).log_prob(layer, self.steer(n, self._past(layers, n), context))
            for n, layer in enumerate(layers)
        ]
        return torch.stack(values, dim=-1)

    def log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Log density ``(B,)`` of ``x`` ``(B, features)``."""
        return self.log_probs(x, context).sum(-1)

    def sample(
        self,
        n: int,
        context: Tensor | None = None,
        generator: torch.Generator | None = None,
        truth: Tensor | None = None,
    ) -> Tensor:
        """Draw ``(n, features)``, layer after layer.

        Args:
            n: Number of showers, the rows of the context.
            context: ``(n, C)``.
            generator: Source of the noise.
            truth: True showers ``(n, features)`` whose layers stand in for the generated ones before each
                layer (None: free running).
        """
        context = known(context)
        before = None if truth is None else self.split(truth)
        made: list[Tensor] = []
        shown: list[Tensor] = []
        for number in range(len(self.widths)):
            past = self._past(shown if before is None else before, number)
            steered = self.steer(number, past, context)
            layer = self.flow_of(number).sample(n, steered, generator)
            made.append(layer)
            shown.append(layer if self.seen is None else self.seen(number, layer, context))
        return torch.cat(made, dim=-1)

    @torch.no_grad()
    def fit(self, rows: Iterable[Rows]) -> None:
        """Data-dependent initialisation of all layers' flows."""
        x, context, weight = first(rows)
        layers, context = self.split(x), known(context)
        for n, layer in enumerate(layers):
            steered = self.steer(n, self._past(layers, n), context)
            self.flow_of(n).fit([(layer, steered, weight)])

    def split(self, x: Tensor) -> list[Tensor]:
        """Layers ``(B, widths[n])`` of ``(B, features)``."""
        return list(x.split(self.widths, dim=-1))

    def _past(self, layers: Sequence[Tensor], n: int) -> list[Tensor]:
        return list(layers[max(0, n - self.history) : n])


def known(context: Tensor | None) -> Tensor:
    """The context, without which there is no chain.

    Raises:
        ValueError: If there is none.
    """
    if context is None:
        raise ValueError("a chain of layers needs a context with the energies of all layers")
    return context


class CausalChain(LayerChain):
    """A flow of its own for each layer, steered by an embedding of the layers before it.

    Args:
        widths: Numbers that describe each layer.
        history: Layers that each layer sees before it.
        given: Width ``G`` of the conditions, the first columns of the context.
        embeddings: Networks ``(layers before, (B, G + 1)) -> context``, one per layer; the second argument
            are the conditions and the layer's energy.
        flows: Flows, one per layer.
    """

    def __init__(
        self,
        widths: Sequence[int],
        history: int,
        given: int,
        embeddings: Sequence[nn.Module],
        flows: Sequence[Flow],
    ) -> None:
        super().__init__(widths, history)
        self.given = given
        self.embeddings = nn.ModuleList(embeddings)
        self.flows = nn.ModuleList(flows)

    def flow_of(self, n: int) -> Flow:
        flow = self.flows[n]
        assert isinstance(flow, Flow)
        return flow

    def steer(self, n: int, past: list[Tensor], context: Tensor) -> Tensor:
        energy = context[:, self.given + n, None]
        steered: Tensor = self.embeddings[n](
            past, torch.cat([context[:, : self.given], energy], dim=-1)
        )
        return steered
