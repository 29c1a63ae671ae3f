r"""L2LFlows: one masked autoregressive flow per layer, given the layers before it.

Generates cell energies on regular grids given the incident energy and any further condition: a flow of the
layer energies, then for each layer a causal flow of its cells,

.. math:: p(v | E, c) = \prod_n p_n(v_n | e_n(v_{n-5} \dots v_{n-1}, E_n, c), E_n, c),

with an embedding network :math:`e_n` of the layers before it. All are masked autoregressive flows with
rational-quadratic splines, trained together by the sum of their negative log-likelihoods.

Reference: Diefenbacher et al., arXiv:2302.11594.

Note:
    Differs from the reference: cells are logarithms relative to a floor, standardised, with noise below it
    in empty ones (:mod:`simulacra.transforms.showers`); layer energies are fractions; both stand in for
    min-max scaling and logits. The layers' flows are trained in one run. The paper's code is not public: the
    published size follows the CaloFlow teacher of the same authors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from simulacra.core import Spec
from simulacra.dynamics.autoregressive import autoregressive_flow
from simulacra.dynamics.layer_chain import CausalChain
from simulacra.dynamics.splines import Spline
from simulacra.models.layerwise import LayerwiseFlow
from simulacra.nn.mlp import MLP

LARGEST = 1000
"""Cells of a layer, at most: an autoregressive flow makes one after the other."""


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


class L2LFlows(LayerwiseFlow):
    """See the module's docstring.

    Args:
        spec: Regular grid with an incident energy.
        given: Fields the generator is given (None: all conditions).
        history: Layers that each layer sees before it.
        embedding: Width of the embedding of those layers.
        embedding_hidden: Widths of the embedding networks.
        blocks: Masked autoregressive steps of each layer's flow.
        hidden: Widths of their networks.
        spline: Their elementwise map.
        actnorm: Whether an ActNorm precedes each step.
        dropout: Dropout of their networks.
        energy_blocks: Masked autoregressive steps of the flow of the layer energies.
        energy_hidden: Widths of their networks.
        energy_spline: Their elementwise map.
        floor: Smallest resolved cell energy [spec.unit] (None: from the spec).
        spread: Width of the noise in empty cells, in ``ln v``.
        smear: Width of the noise on each layer's scale, in ``ln v``.
        veto: Largest generated ``E_tot / E_inc`` (None: no limit).
        optimizer: Makes the optimizer.
        scheduler: Makes the schedule.
    """

    def __init__(
        self,
        spec: Spec,
        given: Sequence[str] | None,
        history: int,
        embedding: int,
        embedding_hidden: Sequence[int],
        blocks: int,
        hidden: Sequence[int],
        spline: Spline,
        actnorm: bool,
        dropout: float,
        energy_blocks: int,
        energy_hidden: Sequence[int],
        energy_spline: Spline,
        floor: float | None,
        spread: float,
        smear: float,
        veto: float | None,
        optimizer: Callable[[Iterable[nn.Parameter]], Optimizer],
        scheduler: Callable[..., LRScheduler] | None,
    ) -> None:
        super().__init__(spec, given, floor, spread, smear, veto, optimizer, scheduler)

        widths, cond = self.transform.geometry.sizes, self.transform.conditions.width
        embeddings = [
            VectorEmbedding(
                sum(widths[max(0, n - history) : n]), cond + 1, embedding, embedding_hidden
            )
            for n in range(len(widths))
        ]
        flows = [
            autoregressive_flow(
                width,
                net.outputs,
                blocks,
                spline,
                hidden,
                actnorm=actnorm,
                dropout=dropout,
                seed=n,
            )
            for n, (width, net) in enumerate(zip(widths, embeddings, strict=True))
        ]
        self.shower_flow = CausalChain(widths, history, cond, embeddings, flows)
        self.energy_flow = autoregressive_flow(
            *self.energy_widths(), energy_blocks, energy_spline, energy_hidden, seed=1
        )

    @classmethod
    def accepts(cls, spec: Spec) -> str | None:
        """Regular grids with an incident energy and layers that are not too large."""
        reason = super().accepts(spec)
        if reason is None and spec.geometry is not None and spec.geometry.sizes[0] > LARGEST:
            return (
                f"it generates cell by cell, at most {LARGEST} in a layer, and this data set's "
                f"layers have {spec.geometry.sizes[0]}"
            )
        return reason
