"""Fully connected generator and critic of showers that are one vector, as in FastCaloGAN (arXiv:2109.02551).

What follows a linear layer is a choice (:func:`relu`, :func:`normed_relu`,
:func:`normed_swish`); what follows the last one also says what its numbers are: cells (:class:`CellHead`),
or shares of cells in their layer, of layers in the shower, and the shower's energy (:class:`PartHead`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from simulacra.core import Layout
from simulacra.core.constructors import constructor
from simulacra.core.ranges import Count
from simulacra.nn.latent_vectors import Columns, MakeLatent
from simulacra.nn.verdicts import Verdict

MakeActivation = Callable[[int], nn.Module]
"""From the width of the layer that it follows."""


@constructor
def relu(width: int) -> nn.Module:
    """Zero below zero."""
    return nn.ReLU()


@constructor
def normed_relu(width: int) -> nn.Module:
    """:func:`relu` of numbers that are normalised over the batch."""
    return nn.Sequential(_norm(width), nn.ReLU())


@constructor
def normed_swish(width: int) -> nn.Module:
    """``x sigmoid(x)``, which is down to -0.28 below zero, of numbers that are normalised over the batch."""
    return nn.Sequential(_norm(width), nn.SiLU())


@constructor
def plain(width: int) -> nn.Module:
    """Numbers as they are."""
    return nn.Identity()


@constructor
def normed(width: int) -> nn.Module:
    """Numbers that are normalised over the batch."""
    return _norm(width)


class Head(nn.Module, ABC):
    """Numbers of the last layer ``(B, D)`` to a shower ``(B, D)``.

    Args:
        layout: How the shower's numbers lie.
        activation: What comes first.
    """

    def __init__(self, layout: Layout, activation: MakeActivation) -> None:
        super().__init__()
        self.activation = activation(layout.features)
        self.sizes = list(layout.layers)

    @abstractmethod
    def forward(self, h: Tensor) -> Tensor:
        """See the class."""


class CellHead(Head):
    """The shower's numbers are its cells."""

    def forward(self, h: Tensor) -> Tensor:
        """See :class:`Head`."""
        return self.activation(h)


class PartHead(Head):
    """The shower's numbers are the parts of :class:`~simulacra.transforms.parted.PartedShowers`: shares
    that sum to one, by a softmax among the cells of each layer and among the layers, and an energy, by a
    softplus, from whose start there is always a way on.
    """

    def forward(self, h: Tensor) -> Tensor:
        """See :class:`Head`."""
        *groups, total = self.activation(h).split([*self.sizes, len(self.sizes), 1], dim=1)
        return torch.cat(
            [*(group.softmax(1) for group in groups), functional.softplus(total)], dim=1
        )


class VectorGenerator(nn.Module):
    """Noise and conditions to a shower ``(B, D)``.

    Args:
        layout: How the shower's numbers lie.
        columns: What the conditions are.
        latent: Makes the latent vector.
        hidden: Widths of the hidden layers.
        activation: What follows each of them.
        head: What follows the last layer.
    """

    def __init__(
        self,
        layout: Layout,
        columns: Columns,
        latent: MakeLatent,
        hidden: Sequence[Count],
        activation: MakeActivation,
        head: Callable[[Layout], Head],
    ) -> None:
        super().__init__()
        self.latent = latent(columns)
        widths = [self.latent.width, *hidden]
        layers: list[nn.Module] = []
        for a, b in pairwise(widths):
            layers += [nn.Linear(a, b), activation(b)]
        layers += [nn.Linear(widths[-1], layout.features), head(layout)]
        self.layers = nn.Sequential(*layers)
        self.apply(_he_uniform)

    def forward(
        self, n: int, cond: Tensor | None, generator: torch.Generator | None = None
    ) -> Tensor:
        """``n`` showers for conditions ``(n, C)``."""
        return self.layers(self.latent(n, cond, next(self.parameters()), generator))


class VectorCritic(nn.Module):
    """Shower and conditions to a verdict, by linear layers with rectifiers between them.

    Args:
        layout: How the shower's numbers lie.
        columns: What the conditions are.
        hidden: Widths of the hidden layers; None: three as wide as the shower has cells.
    """

    def __init__(self, layout: Layout, columns: Columns, hidden: Sequence[Count] | None) -> None:
        super().__init__()
        self.given = columns.width
        inner = [sum(layout.layers)] * 3 if hidden is None else hidden
        widths = [layout.features + columns.width, *inner]
        layers: list[nn.Module] = []
        for a, b in pairwise(widths):
            layers += [nn.Linear(a, b), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.Linear(widths[-1], 1))
        self.apply(_he_uniform)

    def forward(self, shower: Tensor, cond: Tensor) -> Verdict:
        """The verdict on showers ``(B, D)`` under conditions ``(B, C)``, the first columns of ``cond``."""
        return Verdict(self.layers(torch.cat([shower, cond[:, : self.given]], dim=1)))


def _norm(width: int) -> nn.BatchNorm1d:
    """With the settings of the reference."""
    return nn.BatchNorm1d(width, eps=1e-3, momentum=0.01)


def _he_uniform(module: nn.Module) -> None:
    """Uniform weights of variance 2 over the inputs, and biases of zero, as in the reference."""
    if isinstance(module, nn.Linear):
        nn.init.kaiming_uniform_(module.weight, nonlinearity="relu")
        nn.init.zeros_(module.bias)
