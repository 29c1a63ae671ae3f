r"""iCaloFlow: exact-likelihood flow of showers with many layers, generated one layer after the other.

Generates cell energies of a regular grid given the incident energy and any further condition, by three masked
autoregressive spline flows: the energies of all layers; the first layer; every further layer, given the one
before it (:mod:`simulacra.dynamics.inductive`). A generated layer is scaled to its energy and cut at the
readout threshold before the next one sees it. :mod:`simulacra.models.icaloflow_student` learns from it to
sample fast.

Reference: Buckley et al., arXiv:2305.11934; code claudius-krause/inductive-caloflow.

Note:
    Differs from the reference: energies and cells are logarithms relative to a floor, as in
    :mod:`simulacra.transforms.showers`, in place of logits of noisy fractions; layers are scaled without
    leaving a cell below the floor; the three flows are trained together, each for the mean over what it
    describes, and a step may draw some of the layers of each shower; SiLU for ReLU. The small size begins
    with an affine step steered by the context. The published sizes (8 blocks, 8 bins, width 256, two hidden
    layers for the energies, three for the first layer and, with 144 cells, for the others, else two) have
    19.5 M parameters for 45 layers of 144 cells and 95.1 M for 45 of 900.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from simulacra.core import Latent, Spec
from simulacra.dynamics.autoregressive import autoregressive_flow
from simulacra.dynamics.flows import Flow
from simulacra.dynamics.inductive import InductiveChain, Rows, next_width
from simulacra.dynamics.splines import Spline
from simulacra.models.layerwise import LayerwiseFlow


class ICaloFlow(LayerwiseFlow):
    """See the module's docstring.

    Args:
        spec: Regular grid with an incident energy.
        given: Fields the generator is given (None: all conditions).
        blocks: Autoregressive blocks of the flows of the layers.
        first_hidden: Widths of the masked networks of the flow of the first layer.
        next_hidden: Widths of those of the flow of the other layers.
        spline: Elementwise map of both.
        affine: Widths of the network that first takes means and widths at given context away (None: no such
            step).
        layers_per_step: Layers after the first that each shower shows in a training step (None: all).
        energy_blocks: Blocks of the flow of the layer energies.
        energy_hidden: Widths of its masked networks.
        energy_spline: Its elementwise map.
        floor: Smallest resolved cell energy [spec.unit] (None: from the spec).
        spread: Width of the noise in empty cells, in ``ln v``.
        smear: Width of the noise on each layer's scale, in ``ln v``.
        veto: Largest generated ``E_tot / E_inc`` (None: no limit).
        optimizer: Makes the optimizer.
        scheduler: Makes the schedule.
    """

    shower_flow: InductiveChain
    energy_flow: Flow

    def __init__(
        self,
        spec: Spec,
        given: Sequence[str] | None,
        blocks: int,
        first_hidden: Sequence[int],
        next_hidden: Sequence[int],
        spline: Spline,
        affine: Sequence[int] | None,
        layers_per_step: int | None,
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
        self.layers_per_step = layers_per_step
        self.energy_flow = autoregressive_flow(
            *self.energy_widths(),
            energy_blocks,
            energy_spline,
            energy_hidden,
            activation=nn.SiLU,
            affine=affine,
            seed=1,
        )
        layers = len(self.transform.geometry)
        width, c = spec.n_voxels // layers, self.transform.conditions.width
        first = self.layer_flow(width, c + 1, blocks, spline, first_hidden, affine, 2)
        context = next_width(layers, width, c)
        following = self.layer_flow(width, context, blocks, spline, next_hidden, affine, 3)
        self.shower_flow = InductiveChain(layers, width, c, first, following, self.seen)

    def layer_flow(
        self,
        width: int,
        context: int,
        blocks: int,
        spline: Spline,
        hidden: Sequence[int],
        affine: Sequence[int] | None,
        seed: int,
    ) -> Flow:
        """Flow of one layer's cells."""
        return autoregressive_flow(
            width, context, blocks, spline, hidden, activation=nn.SiLU, affine=affine, seed=seed
        )

    def seen(self, n: int, x: Tensor, context: Tensor) -> Tensor:
        """What layer ``n + 1`` sees of a generated layer ``n`` ``(B, V)``: scaled to its energy and cut."""
        cells = self.transform.cells
        mean, std = (
            value.unflatten(-1, (len(self.transform.geometry), -1))[n]
            for value in (cells.mean, cells.std)
        )
        energies = self.transform.layers.inverse(context[:, self.shower_flow.given :])
        decoded = self.transform.decoded(x * std + mean, energies[:, n : n + 1])
        return (decoded - mean) / std

    def rows(self, latent: Latent, generator: torch.Generator | None) -> dict[str, Rows]:
        """What the flows of the layers describe in a training step."""
        x, context = self.described(latent), self.context(latent)
        assert context is not None
        return self.shower_flow.rows(x, context, self.layers_per_step, generator)

    def _loss(self, latent: Latent, generator: torch.Generator | None) -> dict[str, Tensor]:
        """Sum of the negative log-likelihoods per number that each flow describes."""
        energies, width = latent.x["energies"], self.shower_flow.widths[0]
        log_prob = self.energy_flow.log_prob(energies, latent.cond)
        parts = {"energies": -log_prob.mean() / energies.shape[1]}
        for name, rows in self.rows(latent, generator).items():
            parts[name] = -rows.flow.log_prob(rows.x, rows.context).mean() / width
        cells = self.shower_flow.features
        widths = {"energies": energies.shape[1], "first": width, "next": cells - width}
        return self.scored(parts, widths)
