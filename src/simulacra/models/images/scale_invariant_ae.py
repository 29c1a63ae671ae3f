r"""Scale-invariant auto-encoder of jet images, which generates them as a parton shower does.

One small network encodes and decodes an image at all scales alike: it halves the image, rows and columns
in turn, until one number is left, and a random mask lets codes pass into the decoder or not. Images are
generated from the coarse level down, with all codes masked: each parent's content is divided among two
children.

Generates: single images of non-negative pixels.
Conditions: classes and other conditions of the data set.
Representation: images, in shares of their content (:class:`~simulacra.transforms.total_shares.TotalShares`).
Reference: Monk 2018, "Deep Learning as a Parton Shower", arXiv:1807.03685.

Note:
    No code of the reference is public, and this is a reading of its abstract: taken from there are one kernel
    for all scales (so that the number of weights does not depend on the size of an image), the codes that are
    carried over from encoder to decoder, and the mask that makes every evaluation another. Our own are the
    division of each parent among two children by a likelihood (:mod:`simulacra.dynamics.cascade`), in place
    of a squared error of pixels whose minimum is a blurred image, and the flow of the image's content.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from simulacra.core import Batch, Conditions, Field, Latent, Layout, Spec
from simulacra.dynamics.cascade import Cascade
from simulacra.dynamics.density import MakeDensity
from simulacra.models.images.single import unlike
from simulacra.training.generative import GenerativeModule, Objective
from simulacra.training.optim import Optim
from simulacra.transforms.total_shares import TotalShares

MakeTransform = Callable[[Spec, Sequence[Field]], TotalShares]
MakeCascade = Callable[[Tensor, int], Cascade]


class ScaleInvariantAE(GenerativeModule):
    """See the module's docstring.

    Args:
        spec: Single images.
        given: Conditions (None: all).
        transform: Makes the transform.
        total: Makes the density of the image's content.
        cascade: Makes the law of its divisions from the pixels that there are and the width of the context.
        optim: What moves both.
    """

    transform: TotalShares

    def __init__(
        self,
        spec: Spec,
        given: Sequence[str] | None,
        transform: MakeTransform,
        total: MakeDensity,
        cascade: MakeCascade,
        optim: Optim,
    ) -> None:
        super().__init__(spec, given)
        self.transform = transform(spec, self.given_fields)
        width = self.transform.conditions.width
        self.total = total(Layout(1, width))
        self.cascade = cascade(self.transform.inside(), width + 1)
        self.optim = optim

    @classmethod
    def accepts(cls, spec: Spec) -> str | None:
        """Single images of real numbers."""
        return unlike(spec)

    def objectives(self) -> dict[str, Objective]:
        """One for both."""
        return {"image": Objective(self.loss, list(self.parameters()), self.optim)}

    def loss(self, latent: Latent, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """Negative log-likelihoods, per pixel of the divisions and of the content."""
        total = self.total.loss(latent.x["total"], latent.cond, latent.weight, generator)
        known = _known(latent.cond, latent.x["total"])
        division = latent.mean(self.cascade.loss(latent.x["shares"], known, generator))
        return {
            "loss": division + total / self.cascade.pixels,
            "division": division,
            "total": total,
        }

    def generate(self, cond: Conditions, generator: torch.Generator | None = None) -> Latent:
        """A content, then its divisions."""
        scaled = self.transform.condition(cond)
        total = self.total.sample(cond.n, scaled, generator)
        shares = self.cascade.sample(cond.n, _known(scaled, total), generator)
        return Latent({"total": total, "shares": shares}, scaled)

    @torch.no_grad()
    def regenerate(
        self, batch: Batch, levels: int, generator: torch.Generator | None = None
    ) -> Batch:
        """Events whose image is the same after ``levels`` halvings of the square, and finer another.

        Args:
            batch: Events in physical units.
            levels: Divisions that are kept; 0 draws a new image of the same content.
            generator: Source of the finer divisions.

        Raises:
            UserError: If there are not as many divisions.
        """
        with self.evaluating():
            latent = self.encode(batch.to(self.device))
            known = _known(latent.cond, latent.x["total"])
            shares = self.cascade.regenerated(latent.x["shares"], known, levels, generator)
            made = Latent({"total": latent.x["total"], "shares": shares}, latent.cond)
            return self.decode(made, batch.conditions(self.given), generator).to("cpu")


def _known(cond: Tensor | None, total: Tensor) -> Tensor:
    """Conditions and content as the context of the cascade."""
    return total if cond is None else torch.cat([cond, total], 1)
