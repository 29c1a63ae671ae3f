"""Chain of masked autoregressive flows, one per layer, each steered by a vector of the layers before it.

Reference: L2LFlows, arXiv:2302.11594.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from simulacra.core import Layout
from simulacra.core.constructors import constructor
from simulacra.core.ranges import Count
from simulacra.dynamics.flows import Flow
from simulacra.dynamics.layer_chain import CausalChain
from simulacra.nn.mlp import MLP


class VectorEmbedding(nn.Module):
    """Layers before the present one and numbers, as one vector that the numbers follow.

    Args:
        before: Cells of all layers before the present one together, 0 for none.
        given: Numbers ``G``.
        width: Width ``E`` of the embedding.
        hidden: Widths of the network.
    """

    def __init__(self, before: int, given: int, width: int, hidden: Sequence[int]) -> None:
        super().__init__()
        self.net = MLP(before + given, width, hidden) if before > 0 else None
        self.outputs = given + (width if before > 0 else 0)

    def forward(self, past: list[Tensor], given: Tensor) -> Tensor:
        """Layers ``(B, V)`` and numbers ``(B, G)`` to ``(B, E + G)``, without layers the numbers alone."""
        if self.net is None:
            return given
        return torch.cat([self.net(torch.cat([*past, given], dim=-1)), given], dim=-1)


@constructor
def causal_chain(
    layout: Layout,
    history: Count,
    embedding: Count,
    embedding_hidden: Sequence[Count],
    flow: Callable[..., Flow],
) -> CausalChain:
    """A flow of each layer.

    Args:
        layout: What is described, in layers.
        history: Layers that each layer sees before it.
        embedding: Width of their embedding.
        embedding_hidden: Widths of the embedding networks.
        flow: Makes each flow from ``(layout, seed=...)``.
    """
    widths, given = layout.layers, layout.given
    embeddings = [
        VectorEmbedding(
            sum(widths[max(0, n - history) : n]), given + 1, embedding, embedding_hidden
        )
        for n in range(len(widths))
    ]
    flows = [
        flow(Layout(width, net.outputs), seed=n)
        for n, (width, net) in enumerate(zip(widths, embeddings, strict=True))
    ]
    return CausalChain(widths, history, given, embeddings, flows)
