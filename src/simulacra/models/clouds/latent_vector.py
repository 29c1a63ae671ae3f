r"""A vector that tells what the points of a shower share, so that given it they are independent.

An encoder makes of the points of a shower a normal distribution with means :math:`\mu` and widths
:math:`\sigma`, of which :math:`z = \mu + \sigma \epsilon` is drawn; a flow describes :math:`z` itself, given
the context of the shower, so that it can be drawn without points.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from simulacra.core.constructors import constructor
from simulacra.core.ranges import Count, NotNegative
from simulacra.dynamics.density import MakeDensity


@constructor
@dataclass(frozen=True)
class LatentVector:
    """What such a vector is made of.

    Args:
        width: ``Z``, width of the vector.
        encoder: Makes the encoder from numbers per point, width of the context and ``Z``; it is called as
            ``encoder(points, mask, context)`` and gives means and logarithms of variances, each ``(B, Z)``.
        flow: Makes the density of the vector.
    """

    width: Count
    encoder: Callable[[int, int, int], nn.Module]
    flow: MakeDensity


@constructor
@dataclass(frozen=True)
class NormalLatentVector(LatentVector):
    r"""The same, drawn towards a standard normal.

    Args:
        kl: Weight of :math:`KL(q(z | x)\,\|\,N(0, 1))` in the loss.
    """

    kl: NotNegative


def joined(context: Tensor | None, z: Tensor) -> Tensor:
    """Context and vector."""
    return z if context is None else torch.cat([context, z], 1)
