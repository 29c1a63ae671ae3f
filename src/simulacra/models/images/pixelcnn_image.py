r"""PixelCNN of images: levels of pixels one after the other, with an exact likelihood.

Generates one image, such as that of a jet, row by row (:mod:`simulacra.dynamics.pixels`), by a gated network
with a softmax over levels (:mod:`simulacra.nn.gated_pixels`), or by any other network and distribution.
Conditions: whatever the data set has, in every gate. Representation: images of one sensor with a threshold;
pixels as levels (:mod:`simulacra.transforms.image_levels`). What the pixels sum to is not described apart.
Reference: van den Oord et al., arXiv:1606.05328; sizes are our own. Showers are those of
:mod:`simulacra.models.showers.pixelcnn`.

Training logs bits per dimension of the logarithms of the pixels, as of the models of showers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Self

import torch
from torch import Tensor

from simulacra.core import Batch, Conditions, Field, Latent, Spec
from simulacra.dynamics.density import MakeDensity
from simulacra.training.generative import GenerativeModule, Objective
from simulacra.training.optim import Optim
from simulacra.transforms.base import Batches
from simulacra.transforms.image_levels import ImageLevels


class PixelCNNImage(GenerativeModule):
    """See the module's docstring.

    Args:
        spec: One image ``(1, rows, cols)`` with a geometry and a threshold.
        given: Fields the generator is given (None: all conditions).
        transform: Makes the transform.
        pixels: Makes the density of the levels.
        optim: What moves it.
    """

    transform: ImageLevels

    def __init__(
        self,
        spec: Spec,
        given: Sequence[str] | None,
        transform: Callable[[Spec, Sequence[Field]], ImageLevels],
        pixels: MakeDensity,
        optim: Optim,
    ) -> None:
        super().__init__(spec, given)
        self.transform = transform(spec, self.given_fields)
        self.pixels = pixels(self.transform.layout)
        self.optim = optim

    @classmethod
    def accepts(cls, spec: Spec) -> str | None:
        """One image with a geometry and a threshold, and no event fields."""
        if spec.kind != "image" or len(spec.shape) != 3 or spec.shape[0] != 1:
            return f"it generates one image, and this is a {spec.kind} of shape {spec.shape}"
        if spec.geometry is None or spec.threshold <= 0:
            return "it needs images with a geometry and a threshold, below which a pixel is empty"
        if spec.event:
            return f"it generates pixels alone, not {[field.name for field in spec.event]}"
        return None

    def fit_transform(self, batches: Batches) -> Self:
        """Statistics of the transform, then the start of the density from the first batch."""
        super().fit_transform(batches)
        latent = self.encode(next(iter(batches)).to(self.device))
        with self.evaluating():
            self.pixels.fit([(latent.x["image"], latent.cond, latent.weight)])
        return self

    def objectives(self) -> dict[str, Objective]:
        """One: the negative log-likelihood per pixel."""
        return {"pixels": Objective(self._loss, list(self.parameters()), self.optim)}

    def generate(self, cond: Conditions, generator: torch.Generator | None = None) -> Latent:
        """Pixel after pixel."""
        scaled = self.transform.condition(cond)
        return Latent({"image": self.pixels.sample(cond.n, scaled, generator)}, scaled)

    def log_prob(self, batch: Batch) -> Tensor:
        """Log density ``(B,)`` of images, per unit of each pixel that is not empty; an empty one counts with
        its probability.
        """
        with self.evaluating():
            latent = self.encode(batch)
            logs = self.pixels.log_prob(latent.x["image"], latent.cond)
            return logs + self.transform.log_slope(latent) + self.transform.log_det(batch)

    def _loss(self, latent: Latent, generator: torch.Generator | None) -> dict[str, Tensor]:
        loss = self.pixels.loss(latent.x["image"], latent.cond, latent.weight, generator)
        slope = latent.mean(self.transform.log_slope(latent)) / self.pixels.features
        return {"loss": loss, "bits_per_dim": (loss.detach() - slope) / math.log(2)}
