r"""Densities of the cells of a shower that are described as fewer numbers, those of an auto-encoder.

An encoder makes of cells :math:`x` numbers :math:`z`, whose density another one describes; samples of it are
decoded, and cells are drawn from the likelihood of what a decoder gives
(:mod:`simulacra.dynamics.likelihoods`).
Encoder and decoder minimise

.. math:: \frac1D \bigl(-\ln p(x | z, c) + \beta\, KL(q(z | x, c)\,\|\,\mathcal N(0, 1))\bigr),

where without a divergence (:mod:`simulacra.nn.bottleneck`) the first term is all. The density of :math:`z`
takes them as they are, after encoder and decoder have learnt or beside them:

- :class:`~simulacra.dynamics.standard_normal.StandardNormal` has no parameters: the divergence draws
  :math:`z` to it;
- :class:`~simulacra.dynamics.kernel_density.KernelDensity` keeps :math:`z` of the latest training events;
- a flow or a diffusion learns, from numbers of mean 0 and width 1.

References: Kingma and Welling, arXiv:1312.6114; CaloDREAM, arXiv:2405.09629, section 3.3; for the aggregated
posterior as what is to be drawn from arXiv:2102.12491 and arXiv:2312.09290.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from simulacra.core import Layout, UserError, weighted_mean
from simulacra.dynamics.density import Density, MakeDensity, Rows, first
from simulacra.dynamics.likelihoods import MakeLikelihood
from simulacra.dynamics.running_scale import RunningScale
from simulacra.nn.bottleneck import Bottleneck
from simulacra.nn.coder import Coder

MakeCoder = Callable[[Layout, int, int], Coder]
"""From what is described, what the encoder gives for each number that passes, and what the decoder gives."""


class LatentDensity(Density):
    """See the module's docstring.

    Args:
        layout: Cells that are described.
        coder: Makes encoder and decoder.
        bottleneck: What passes from one to the other.
        likelihood: Makes what the decoder says of the cells.
        latent: Makes the density of what passes.
    """

    exact = False

    def __init__(
        self,
        layout: Layout,
        coder: MakeCoder,
        bottleneck: Bottleneck,
        likelihood: MakeLikelihood,
        latent: MakeDensity,
    ) -> None:
        super().__init__()
        self.features = layout.features
        self.bottleneck = bottleneck
        self.likelihood = likelihood(layout)
        self.coder = coder(layout, bottleneck.numbers, self.likelihood.outputs)
        self.scale = RunningScale(self.coder.channels)
        self.latent = latent(self.coder.layout)

    @property
    def learns(self) -> bool:
        """Whether the density of what passes does."""
        return self.latent.learns

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
        warmth: float = 1.0,
    ) -> dict[str, Tensor]:
        """What encoder and decoder minimise per cell as ``loss``, and the mean ``divergence`` of an event
        [nat]; in training the statistics follow.

        The arguments are those of :meth:`loss`, and ``warmth`` is a factor on the weight of the divergence.
        """
        z, divergence = self.bottleneck(self.coder.encode(x, context), generator)
        if self.training:
            self.scale.see(z.detach(), weight)
            self.latent.remember(self._line(z.detach()), context, weight)
        nats = self.likelihood(x, self.coder.decode(z, context))
        total = nats + warmth * self.bottleneck.kl * divergence
        return {
            "loss": weighted_mean(total, weight) / self.features,
            "divergence": weighted_mean(divergence, weight).detach(),
        }

    def loss(
        self,
        x: Tensor,
        context: Tensor | None = None,
        weight: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Of the density of what passes; encoder and decoder are constants in it."""
        return self.latent.loss(self.encode(x, context, generator), context, weight, generator)

    def sample(
        self, n: int, context: Tensor | None = None, generator: torch.Generator | None = None
    ) -> Tensor:
        """Draw ``(n, D)``, one for each row of the context."""
        line = self.latent.sample(n, context, generator)
        return self.likelihood.sample(self.decode(line, context), generator)

    @torch.no_grad()
    def encode(
        self,
        x: Tensor,
        context: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Cells ``(B, D)`` as the numbers in a line whose density is described."""
        z, _ = self.bottleneck(self.coder.encode(x, context), generator)
        return self._line(z)

    def decode(self, line: Tensor, context: Tensor | None = None) -> Tensor:
        """What the decoder says of the cells, ``(B, outputs)``."""
        z = self.coder.volume(line)
        return self.coder.decode(self.scale.inverse(z) if self.learns else z, context)

    def _line(self, z: Tensor) -> Tensor:
        """Numbers in a line; standardised, where their density learns."""
        return self.coder.line(self.scale(z) if self.learns else z)


def check_coded(cells: Density) -> None:
    """Refuse a density of cells without an encoder.

    Raises:
        UserError: If it has none.
    """
    if not isinstance(cells, LatentDensity):
        raise UserError(
            f"model.cells is a {type(cells).__name__}, which has no encoder: take a LatentDensity, or a "
            "model without an auto-encoder"
        )
