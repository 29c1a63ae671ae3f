r"""Wasserstein GAN of single detector images (Belle II basf2), the negative control for
correlations between sensors.

Generates the images of a stack one by one, unconditionally: noise :math:`z \sim N(0, 1)^{96}` and a
convolutional generator that ends in tanh on the logarithm of the pixel content. Every sensor of an
event is an independent draw from one distribution of images, so that sensors are uncorrelated and
the occupancy of a given sensor is not reproduced: metrics of inter-sensor correlation must see the
difference. Trained as WGAN-GP (:mod:`simulacra.dynamics.adversarial`, weight 10).

Reference: belle2/basf2, pxd/scripts/pxd/background_generator. Its ConvNet and ResNet generators
make 256 x 768 images, of which 250 rows are kept.

Note:
    Generators have the reference's layers; the critics mirror them (the publication's are not
    public): strided 5x5 convolutions or residual blocks with mean pooling, no normalisation, one
    linear output. Other image sizes are padded to a multiple of the total stride. Pixels below the
    read-out threshold become 0. ``noise`` adds channels of Gaussian noise to every block, ``detail``
    a nonlinear layer and exact zeros at full size, ``hidden`` lets the critic see how many pixels
    fired and how much they hold, and ``matching`` pulls their means and widths over a batch to the
    true ones (feature matching, Salimans et al., arXiv:1606.03498); all are off at published size.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from simulacra.core import Conditions, Field, Latent, Spec, UserError, draws, refuse_weights
from simulacra.core.constructors import constructor
from simulacra.core.ranges import Count, NotNegative
from simulacra.dynamics.adversarial import (
    gradient_penalty,
    moment_distance,
    wasserstein_critic_loss,
    wasserstein_generator_loss,
)
from simulacra.nn.image_gan import ImageCritic, ImageGenerator
from simulacra.training.generative import GenerativeModule, Objective, frozen
from simulacra.training.optim import Optim
from simulacra.transforms.image import ImageScaling


@constructor
@dataclass(frozen=True)
class ImageGANLoss:
    """What the networks learn from each other.

    Args:
        penalty: Weight of the gradient penalty.
        matching: Weight of the distance between means and widths of true and generated pixel statistics.
        images: Images that a step sees, drawn from those of the batch (None: all).
        n_critic: Critic steps per step of the network that generates.
    """

    penalty: NotNegative
    matching: NotNegative
    images: Count | None
    n_critic: Count


class PXDWGAN(GenerativeModule):
    """See the module's docstring.

    Args:
        spec: Stacks of images without conditions.
        given: Must be empty (None: all conditions, of which there are none).
        transform: Makes the transform.
        net: Makes the network that generates from the size of an image.
        critic: Makes the critic from the size of an image and the columns of its summary.
        loss: What they learn from each other.
        optim: What moves ``net``.
        critic_optim: What moves the critic.
    """

    transform: ImageScaling

    def __init__(
        self,
        spec: Spec,
        given: Sequence[str] | None,
        transform: Callable[[Spec, Sequence[Field]], ImageScaling],
        net: Callable[[tuple[int, int]], ImageGenerator],
        critic: Callable[[tuple[int, int], int], ImageCritic],
        loss: ImageGANLoss,
        optim: Optim,
        critic_optim: Optim,
    ) -> None:
        super().__init__(spec, given)
        if self.given:
            raise UserError(
                f"pxd_wgan is unconditional: given must be empty, got {list(self.given)}"
            )
        self.transform = transform(spec, self.given_fields)
        self.net = net(self.transform.size)
        self.critic = critic(self.transform.size, self.transform.summary_width)
        self.terms = loss
        self.optims = optim, critic_optim

    @classmethod
    def accepts(cls, spec: Spec) -> str | None:
        """Images without conditions."""
        if spec.kind != "image" or len(spec.shape) != 3:
            return f"it generates stacks of images, and this is a {spec.kind} of shape {spec.shape}"
        if spec.conditions:
            names = [field.name for field in spec.conditions]
            return f"it is unconditional, and the data set is conditioned on {names}"
        return None

    def objectives(self) -> dict[str, Objective]:
        """Critic at every batch, the network that generates at every ``n_critic``-th."""
        optim, critic_optim = self.optims
        every = self.terms.n_critic
        return {
            "critic": Objective(self.critic_loss, list(self.critic.parameters()), critic_optim),
            "generator": Objective(self.generator_loss, self.used_parameters(), optim, every=every),
        }

    def used_parameters(self) -> list[nn.Parameter]:
        """Those of the network that generates."""
        return list(self.net.parameters())

    def generate(self, cond: Conditions, generator: torch.Generator | None = None) -> Latent:
        """Independent images for every sensor of every event."""
        images = self.net(cond.n * self.transform.sensors, generator)
        return Latent({"image": images.unflatten(0, (cond.n, self.transform.sensors))[:, :, 0]})

    def score(self, images: Tensor) -> Tensor:
        """Critic's score ``(B, 1)`` of scaled single images ``(B, 1, rows, cols)``."""
        summary = None if self.critic.joint is None else self.transform.summary(images[:, 0])
        return self.critic(images, summary)

    def critic_loss(
        self, latent: Latent, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """Wasserstein loss and gradient penalty over all images of the batch."""
        real = self._single_images(latent, generator)
        with torch.no_grad():
            fake = self.net(len(real), generator)
        distance = wasserstein_critic_loss(self.score(real), self.score(fake))
        slope = gradient_penalty(self.score, real, fake, generator)
        loss = distance + self.terms.penalty * slope
        return {"loss": loss, "distance": -distance, "penalty": slope}

    def generator_loss(
        self, latent: Latent, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """Minus the critic's score, and the distance of the summary's moments."""
        real = self._single_images(latent, generator)
        fake = self.net(len(real), generator)
        with frozen(self.critic):
            score = wasserstein_generator_loss(self.score(fake))
        if not self.terms.matching:
            return {"loss": score, "score": -score}
        gap = moment_distance(
            self.transform.summary(real[:, 0]), self.transform.summary(fake[:, 0])
        )
        return {"loss": score + self.terms.matching * gap, "score": -score, "gap": gap}

    def _single_images(self, latent: Latent, generator: torch.Generator | None) -> Tensor:
        """True images ``(n, 1, rows, cols)`` of a step, whatever their sensor."""
        refuse_weights(latent.weight, "the batch normalisation of PXDWGAN")
        real = latent.x["image"].flatten(0, 1)[:, None]
        if self.terms.images is None or self.terms.images >= len(real):
            return real
        return real[draws.permutation(len(real), real, generator)[: self.terms.images]]
