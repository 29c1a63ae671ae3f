r"""Densities of the cells of a shower that are described as fewer numbers, those of an auto-encoder.

An encoder makes of cells :math:`x` a coarse volume :math:`z`, whose density another one describes; samples of
it are decoded. First encoder and decoder learn, then, with both as they are, the density of what they make.

Cells are compared as numbers in (0, 1), by the divergence of two Bernoulli distributions of each,

.. math:: \sum_v s_v \ln \frac{s_v}{p_v} + (1 - s_v) \ln \frac{1 - s_v}{1 - p_v}, \qquad
          s = \sigma(x),\; p = \sigma(y),

with the sigmoid :math:`\sigma` and the decoder's :math:`y`: the cross-entropy less the entropy of the cells,
so that it ends at 0. Where x are logits of shares that are not standardised, s are the shares.

Reference: CaloDREAM, arXiv:2405.09629, section 3.3.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor
from torch.nn.functional import softplus

from simulacra.core import Layout, weighted_mean
from simulacra.dynamics.density import Density, MakeDensity, Rows, first
from simulacra.dynamics.running_scale import RunningScale
from simulacra.nn.bottleneck import Bottleneck
from simulacra.nn.cell_coder import CellCoder

MakeCoder = Callable[[Layout, int], CellCoder]
"""From what is described, and what the encoder gives for each number of the coarse volume."""


class LatentDensity(Density):
    """See the module's docstring.

    Args:
        layout: Cells that are described.
        coder: Makes encoder and decoder.
        bottleneck: What passes from one to the other.
        latent: Makes the density of the coarse volume.
    """

    exact = False

    def __init__(
        self, layout: Layout, coder: MakeCoder, bottleneck: Bottleneck, latent: MakeDensity
    ) -> None:
        super().__init__()
        self.features = layout.features
        self.bottleneck = bottleneck
        self.coder = coder(layout, bottleneck.numbers)
        self.scale = RunningScale(self.coder.channels)
        self.latent = latent(self.coder.layout)

    def fit(self, rows: Iterable[Rows]) -> None:
        """Start the density of what an encoder makes that has not learnt."""
        x, context, weight = first(rows)
        with torch.no_grad():
            self.scale.start(self.bottleneck(self.coder.encode(x, context))[0], weight)
        self.latent.fit([(self.encode(x, context), context, weight)])

    def reconstruction(
        self,
        x: Tensor,
        context: Tensor | None = None,
        weight: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """What encoder and decoder minimise, a scalar; in training the statistics follow.

        The arguments are those of :meth:`loss`.
        """
        z, excess = self.bottleneck(self.coder.encode(x, context), generator)
        if self.training:
            self.scale.see(z.detach(), weight)
        y = self.coder.decode(z, context)
        return weighted_mean(bernoulli_divergence(x, y).mean(1) + excess, weight)

    def loss(
        self,
        x: Tensor,
        context: Tensor | None = None,
        weight: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Of the density of the coarse volume; encoder and decoder are constants in it."""
        return self.latent.loss(self.encode(x, context, generator), context, weight, generator)

    def sample(
        self, n: int, context: Tensor | None = None, generator: torch.Generator | None = None
    ) -> Tensor:
        """Draw ``(n, D)``, one for each row of the context."""
        return self.decode(self.latent.sample(n, context, generator), context)

    @torch.no_grad()
    def encode(
        self,
        x: Tensor,
        context: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Cells ``(B, D)`` as standardised numbers of the coarse volume in a line."""
        z, _ = self.bottleneck(self.coder.encode(x, context), generator)
        return self.coder.line(self.scale(z))

    def decode(self, line: Tensor, context: Tensor | None = None) -> Tensor:
        """The way back to ``(B, D)``."""
        return self.coder.decode(self.scale.inverse(self.coder.volume(line)), context)


def bernoulli_divergence(x: Tensor, y: Tensor) -> Tensor:
    """Of what logits ``y`` say from what logits ``x`` say, number by number."""
    return softplus(y) - softplus(x) - x.sigmoid() * (y - x)
