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
    a nonlinear layer and exact zeros at full size, ``summary`` shows the critic how many pixels
    fired and how much they hold, and ``matching`` pulls their means and widths over a batch to the
    true ones (feature matching, Salimans et al., arXiv:1606.03498); all are off at published size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from simulacra.core import Conditions, Latent, Spec, UserError
from simulacra.dynamics.adversarial import (
    gradient_penalty,
    moment_distance,
    wasserstein_critic_loss,
    wasserstein_generator_loss,
)
from simulacra.models.base import GenerativeModule, Objective, frozen
from simulacra.models.optim import Optim
from simulacra.nn.image_gan import ImageCritic, ImageGenerator, normed_output, plain_output
from simulacra.nn.resblocks import ConvDown2d, ConvUp2d, ResidualDown2d, ResidualUp2d
from simulacra.transforms.image import ImageScaling

MakeOptimizer = Callable[[Iterable[nn.Parameter]], Optimizer]
Schedule = Callable[..., LRScheduler] | None


class PXDWGAN(GenerativeModule):
    """See the module's docstring.

    Args:
        spec: Stacks of images without conditions.
        given: Must be empty (None: all conditions, of which there are none).
        residual: Residual blocks (ResNet) in place of plain convolutions (ConvNet).
        latent: Length of the latent vector.
        start: Channels at the coarsest size.
        channels: Channels after each of the generator's blocks, each of which doubles rows and columns.
        critic_channels: Channels after each of the critic's blocks.
        noise: Channels of noise at the input of every block of the generator.
        detail: Channels of a further convolution at full size in the generator, 0 for none.
        summary: Width of the layers through which the critic sees pixel statistics, 0 for none.
        dequantise: Width of the uniform noise on true images in training, on the scale of the logarithm.
        matching: Weight of the distance between means and widths of true and generated pixel statistics.
        penalty: Weight of the gradient penalty.
        images: Images that a step sees, drawn from those of the batch (None: all).
        n_critic: Critic steps per generator step.
        optimizer: Makes the generator's optimizer.
        critic_optimizer: Makes the critic's.
        scheduler: Makes the schedule of both, or None.
    """

    transform: ImageScaling

    def __init__(
        self,
        spec: Spec,
        given: Sequence[str] | None,
        residual: bool,
        latent: int,
        start: int,
        channels: Sequence[int],
        critic_channels: Sequence[int],
        noise: int,
        detail: int,
        summary: int,
        dequantise: float,
        matching: float,
        penalty: float,
        images: int | None,
        n_critic: int,
        optimizer: MakeOptimizer,
        critic_optimizer: MakeOptimizer,
        scheduler: Schedule,
    ) -> None:
        super().__init__(spec, given)
        if self.given:
            raise UserError(
                f"pxd_wgan is unconditional: given must be empty, got {list(self.given)}"
            )
        self.transform = ImageScaling(
            spec, self.given_fields, 2 ** max(len(channels), len(critic_channels)), dequantise
        )
        size = self.transform.size
        up, down = (ResidualUp2d, ResidualDown2d) if residual else (ConvUp2d, ConvDown2d)
        self.generator = ImageGenerator(
            size,
            latent,
            start,
            channels,
            up,
            normed_output if residual else plain_output,
            noise,
            detail,
        )
        self.critic = ImageCritic(
            size, critic_channels, down, self.transform.summary_width if summary else 0, summary
        )
        self.summary = summary > 0
        self.matching = matching
        self.penalty = penalty
        self.images = images
        self.n_critic = n_critic
        self.optimizer, self.critic_optimizer, self.schedule = (
            optimizer,
            critic_optimizer,
            scheduler,
        )

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
        """Critic at every batch, generator at every ``n_critic``-th."""
        return {
            "critic": Objective(
                self.critic_loss,
                list(self.critic.parameters()),
                Optim(self.critic_optimizer, self.schedule),
            ),
            "generator": Objective(
                self.generator_loss,
                self.used_parameters(),
                Optim(self.optimizer, self.schedule),
                every=self.n_critic,
            ),
        }

    def used_parameters(self) -> list[nn.Parameter]:
        """The generator network's."""
        return list(self.generator.parameters())

    def generate(self, cond: Conditions, generator: torch.Generator | None = None) -> Latent:
        """Independent images for every sensor of every event."""
        images = self.generator(len(cond) * self.transform.sensors, generator)
        return Latent({"image": images.unflatten(0, (len(cond), self.transform.sensors))[:, :, 0]})

    def score(self, images: Tensor) -> Tensor:
        """Critic's score ``(B, 1)`` of scaled single images ``(B, 1, rows, cols)``."""
        return self.critic(images, self.transform.summary(images[:, 0]) if self.summary else None)

    def critic_loss(
        self, latent: Latent, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """Wasserstein loss and gradient penalty over all images of the batch."""
        real = self._single_images(latent, generator)
        with torch.no_grad():
            fake = self.generator(len(real), generator)
        distance = wasserstein_critic_loss(self.score(real), self.score(fake))
        slope = gradient_penalty(self.score, real, fake, generator)
        return {"loss": distance + self.penalty * slope, "distance": -distance, "penalty": slope}

    def generator_loss(
        self, latent: Latent, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """Minus the critic's score, and the distance of the summary's moments."""
        real = self._single_images(latent, generator)
        fake = self.generator(len(real), generator)
        with frozen(self.critic):
            score = wasserstein_generator_loss(self.score(fake))
        if not self.matching:
            return {"loss": score, "score": -score}
        gap = moment_distance(
            self.transform.summary(real[:, 0]), self.transform.summary(fake[:, 0])
        )
        return {"loss": score + self.matching * gap, "score": -score, "gap": gap}

    def _single_images(self, latent: Latent, generator: torch.Generator | None) -> Tensor:
        """True images ``(n, 1, rows, cols)`` of a step, whatever their sensor."""
        real = latent.x["image"].flatten(0, 1)[:, None]
        if self.images is None or self.images >= len(real):
            return real
        chosen = torch.randperm(len(real), generator=generator, device=real.device)[: self.images]
        return real[chosen]
