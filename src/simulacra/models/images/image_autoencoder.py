r"""Auto-encoder of images, whose error of reconstruction says how unusual an image is.

The shares :math:`x` of the pixels in the content of an image become a code of few numbers and come back as
:math:`\hat x`, which sums to one, too; what is minimised is :math:`\sum (x - \hat x)^2`. What the networks
have not learnt to repeat comes back badly. Neither network is told a condition, so that the error of an event
of another class is that of its image alone. A flow of content and code, given the conditions, makes images of
them; it learns from the codes and moves nothing of the auto-encoder.

Generates: single images of non-negative pixels.
Conditions: classes and other conditions of the data set, for the flow alone.
Representation: images, in shares of their content (:class:`~simulacra.transforms.total_shares.TotalShares`).
Reference: Heimel et al. 2018, arXiv:1808.08979; Farina, Nakai, Shih 2018, arXiv:1808.08992.

Note:
    Networks are fully connected, the last layer is a softmax over the pixels, and images are taken as they
    come: neither rotated nor mirrored. The flow is our own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from simulacra.core import Batch, Conditions, Field, Latent, Layout, Spec
from simulacra.core.ranges import Count
from simulacra.dynamics.density import MakeDensity
from simulacra.models.images.single import unlike
from simulacra.nn.mlp import MLP
from simulacra.training.generative import GenerativeModule, Objective
from simulacra.training.optim import Optim
from simulacra.transforms.total_shares import TotalShares

MakeTransform = Callable[[Spec, Sequence[Field]], TotalShares]

REACH = 3.0
"""Numbers of a code lie between minus and plus this, which the flow can describe."""


class ImageAutoencoder(GenerativeModule):
    """See the module's docstring.

    Args:
        spec: Single images.
        given: Conditions (None: all).
        transform: Makes the transform.
        numbers: Makes the density of content and code.
        code: Numbers of the code.
        hidden: Widths of the layers from the pixels to the code; back they are the same in reverse.
        optim: What moves all of them.
    """

    transform: TotalShares

    def __init__(
        self,
        spec: Spec,
        given: Sequence[str] | None,
        transform: MakeTransform,
        numbers: MakeDensity,
        code: Count,
        hidden: Sequence[Count],
        optim: Optim,
    ) -> None:
        super().__init__(spec, given)
        self.transform = transform(spec, self.given_fields)
        inside = self.transform.inside()
        self.register_buffer("pixels", inside.flatten().nonzero()[:, 0], persistent=False)
        count = int(inside.sum())
        self.encoder = MLP(count, code, hidden)
        self.decoder = MLP(code, count, [*reversed(hidden)])
        self.numbers = numbers(Layout(1 + code, self.transform.conditions.width))
        self.optim = optim

    pixels: Tensor

    @classmethod
    def accepts(cls, spec: Spec) -> str | None:
        """Single images of real numbers."""
        return unlike(spec)

    def objectives(self) -> dict[str, Objective]:
        """One for all networks."""
        return {"image": Objective(self.loss, list(self.parameters()), self.optim)}

    def loss(self, latent: Latent, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """Squared errors, and the negative log-likelihood of content and code per number."""
        shares = self._shares(latent.x["shares"])
        code = self.code(shares)
        error = latent.mean((shares - self.repeated(code)).square().sum(1))
        rows = torch.cat([latent.x["total"], code.detach()], 1)
        numbers = self.numbers.loss(rows, latent.cond, latent.weight, generator)
        return {"loss": error + numbers, "error": error, "numbers": numbers}

    def generate(self, cond: Conditions, generator: torch.Generator | None = None) -> Latent:
        """Content and code, then the image."""
        scaled = self.transform.condition(cond)
        rows = self.numbers.sample(cond.n, scaled, generator)
        inside = self.transform.inside()
        shares = rows.new_zeros(cond.n, inside.numel())
        shares[:, self.pixels] = self.repeated(rows[:, 1:].clamp(-REACH, REACH))
        return Latent({"total": rows[:, :1], "shares": shares.view(-1, *inside.shape)}, scaled)

    def code(self, shares: Tensor) -> Tensor:
        """Codes ``(B, K)`` of shares ``(B, P)``, of which roots are taken so that faint pixels are seen."""
        return REACH * torch.tanh(self.encoder(shares.sqrt() * ROOT) / REACH)

    def repeated(self, code: Tensor) -> Tensor:
        """Shares ``(B, P)`` of codes."""
        return self.decoder(code).softmax(1)

    @torch.no_grad()
    def surprise(self, batch: Batch) -> Tensor:
        """Squared error ``(B,)`` of the shares of the pixels by which images come back.

        Args:
            batch: Images in physical units, with the conditions of the spec, which play no part.
        """
        with self.evaluating():
            latent = self.encode(batch.to(self.device))
            shares = self._shares(latent.x["shares"])
            error: Tensor = (shares - self.repeated(self.code(shares))).square().sum(1)
            return error.cpu()

    def _shares(self, square: Tensor) -> Tensor:
        """Shares ``(B, P)`` of the pixels of the image alone."""
        return square.flatten(1)[:, self.pixels]


ROOT = 5.0
"""Factor on the roots of shares, of which there are some tens."""
