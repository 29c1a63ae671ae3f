r"""Masked autoregressive flows: exact density in one pass, sampling feature by feature.

Feature :math:`i` is moved by a monotone map that the features before it and the context steer,

.. math:: z_i = f(x_i;\, \theta_i(x_{<i}, c)), \qquad \log|\det J| = \sum_i \log f'(x_i; \theta_i),

with all :math:`\theta_i` from one masked network (:mod:`simulacra.nn.masked`). Towards data the features
follow one after the other; :mod:`simulacra.dynamics.incremental` does that at about the cost of one pass.
:class:`Inverted` swaps the directions: fast samples, slow densities (inverse autoregressive flow).

References: Papamakarios et al., arXiv:1705.07057; Kingma et al., arXiv:1606.04934; with splines, Durkan et
al., arXiv:1906.04032.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from simulacra.core import Layout
from simulacra.core.constructors import constructor
from simulacra.core.ranges import Count, Dropout, Whole
from simulacra.dynamics.flows import ActNorm, ContextAffine, Flow, Permute, Steered, Step
from simulacra.dynamics.incremental import invert
from simulacra.dynamics.splines import Spline
from simulacra.nn.masked import MaskedNet


class MaskedAutoregressive(Step):
    """See the module's docstring; starts as the identity.

    Args:
        features: ``D``.
        context: Width of the context, 0 for none.
        spline: The elementwise map.
        hidden: Widths of the masked network.
        activation: Activation of the network.
        dropout: Dropout of the network, in :meth:`forward` while training.
    """

    def __init__(
        self,
        features: int,
        context: int,
        spline: Spline,
        hidden: Sequence[int],
        activation: Callable[[], nn.Module] = nn.ReLU,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.spline = spline
        self.net = MaskedNet(features, context, spline.numbers, hidden, activation, dropout)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Steered:
        """Towards noise, in one pass."""
        z, log_slope = self.spline(x, self.free(x, context))
        return z, log_slope.sum(-1)

    def inverse(self, z: Tensor, context: Tensor | None = None) -> Steered:
        """Towards data, feature by feature, without gradients and without dropout."""
        return invert(self.net, self.spline, z, context)

    def free(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Free numbers ``(numbers, B, D)`` of the map, from the values on the data's side."""
        return self.net(x, context)


class Inverted(Step):
    """Another step with its directions swapped.

    Args:
        step: The step; its ``inverse`` becomes the way towards noise.
    """

    def __init__(self, step: Step) -> None:
        super().__init__()
        self.step = step

    def forward(self, x: Tensor, context: Tensor | None = None) -> Steered:
        """Towards noise: the inverse of ``step``."""
        return self.step.inverse(x, context)

    def inverse(self, z: Tensor, context: Tensor | None = None) -> Steered:
        """Towards data: ``step``."""
        return self.step(z, context)


class Unsteered(Step):
    """Another step that is not shown the context.

    Args:
        step: The step, made for none.
    """

    def __init__(self, step: Step) -> None:
        super().__init__()
        self.step = step

    def forward(self, x: Tensor, context: Tensor | None = None) -> Steered:
        """Towards noise."""
        found: Steered = self.step(x)
        return found

    def inverse(self, z: Tensor, context: Tensor | None = None) -> Steered:
        """Towards data."""
        return self.step.inverse(z)


def layer_orders(sizes: Sequence[int], blocks: int, seed: int = 0) -> list[Tensor]:
    """Orders of the features before each block: within each layer, first reversed, then random, in turn.

    Reference: arXiv:2106.05285, section 3.

    Args:
        sizes: Features of each layer.
        blocks: Number of orders.
        seed: Seed of the random ones.
    """
    generator = torch.Generator().manual_seed(seed)
    starts = torch.tensor([0, *sizes], device="cpu").cumsum(0).tolist()
    orders = []
    for block in range(blocks):
        if block % 2 == 0:
            parts = [torch.arange(size - 1, -1, -1, device="cpu") for size in sizes]
        else:
            parts = [torch.randperm(size, generator=generator, device="cpu") for size in sizes]
        orders.append(torch.cat([part + start for part, start in zip(parts, starts, strict=False)]))
    return orders


@constructor
def autoregressive_flow(
    layout: Layout,
    blocks: Count,
    spline: Spline,
    hidden: Sequence[Count],
    *,
    activation: Callable[[], nn.Module] = nn.ReLU,
    dropout: Dropout = 0.0,
    affine: Sequence[Count] | None = None,
    actnorm: bool = False,
    seed: Whole = 0,
) -> Flow:
    """Blocks of permutation and masked autoregressive step, in this order.

    Args:
        layout: What is described; features are reversed and shuffled in turn, where they lie in layers within
            each of them.
        blocks: Number of masked autoregressive steps.
        spline: The elementwise map of all of them.
        hidden: Widths of each masked network.
        activation: Activation of the networks.
        dropout: Dropout of the networks.
        affine: Widths of the network of a first :class:`~simulacra.dynamics.flows.ContextAffine`, or None
            for none.
        actnorm: Whether an ActNorm precedes each block.
        seed: Seed of the shuffles.
    """
    features, context = layout.features, layout.context
    steps: list[Step] = []
    if affine is not None and context > 0:
        steps.append(ContextAffine(features, context, affine))
    for order in layer_orders(layout.layers or [features], blocks, seed):
        if actnorm:
            steps.append(ActNorm(features))
        net = MaskedAutoregressive(features, context, spline, hidden, activation, dropout)
        steps += [Permute(order), net]
    return Flow(features, steps)


@constructor
def located_flow(
    layout: Layout,
    blocks: Count,
    spline: Spline,
    hidden: Sequence[Count],
    affine: Sequence[Count] = (),
) -> Flow:
    """A :class:`~simulacra.dynamics.flows.ContextAffine`, then masked autoregressive steps that the context
    does not reach, features being reversed after each: only location and width depend on the context.

    Args:
        layout: What is described, given a context.
        blocks: Number of masked autoregressive steps.
        spline: The elementwise map of all of them.
        hidden: Widths of each masked network.
        affine: Widths of the network of location and width; none: they are linear in the context.
    """
    features = layout.features
    steps: list[Step] = [ContextAffine(features, layout.context, affine)]
    back = torch.arange(features - 1, -1, -1, device="cpu")
    for _ in range(blocks):
        steps += [Unsteered(MaskedAutoregressive(features, 0, spline, hidden)), Permute(back)]
    if blocks % 2:
        steps.append(Permute(back))
    return Flow(features, steps)
