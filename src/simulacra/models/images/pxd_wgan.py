r"""Wasserstein GAN of single detector images (Belle II basf2), the negative control for
correlations between sensors.

Generates the images of a stack one by one, unconditionally: noise :math:`z \sim N(0, 1)^{96}` and a
convolutional generator that ends in tanh on the logarithm of the pixel content. Every sensor of an
event is an independent draw from one distribution of images, so that sensors are uncorrelated and
the occupancy of a given sensor is not reproduced: metrics of inter-sensor correlation must see the
difference. Trained as WGAN-GP
(:class:`~simulacra.dynamics.games.Wasserstein`, weight 10).

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
from torch import Tensor

from simulacra.core import Conditions, Field, Latent, Spec, UserError, draws
from simulacra.core.constructors import constructor
from simulacra.core.ranges import Count, NotNegative
from simulacra.dynamics.adversarial import moment_distance
from simulacra.models.two_player import MakePlayer, Rules, TwoPlayer
from simulacra.nn.image_gan import Images
from simulacra.training.optim import Optim
from simulacra.transforms.image import ImageScaling


@constructor
@dataclass(frozen=True)
class ImageStep:
    """What a step sees and is told beside the game.

    Args:
        matching: Weight of the distance between means and widths of true and generated pixel statistics.
        images: Images that a step sees, drawn from those of the batch (None: all).
    """

    matching: NotNegative
    images: Count | None


class PXDWGAN(TwoPlayer):
    """See the module's docstring.

    Args:
        spec: See :class:`TwoPlayer`, as all but two.
        given: Must be empty (None: all conditions, of which there are none).
        transform: The transform.
        net: The generator.
        critic: The critic.
        rules: How they learn from each other.
        step: What a step sees and is told.
        optim: What moves the generator.
        critic_optim: What moves the critic.

    Raises:
        UserError: If anything is given.
    """

    transform: ImageScaling
    stage = "image"

    def __init__(
        self,
        spec: Spec,
        given: Sequence[str] | None,
        transform: Callable[[Spec, Sequence[Field]], ImageScaling],
        net: MakePlayer,
        critic: MakePlayer,
        rules: Rules,
        step: ImageStep,
        optim: Optim,
        critic_optim: Optim,
    ) -> None:
        super().__init__(
            spec=spec, given=given, transform=transform, net=net, critic=critic, rules=rules,
            optim=optim, critic_optim=critic_optim,
        )  # fmt: skip
        if self.given:
            raise UserError(
                f"pxd_wgan is unconditional: given must be empty, got {list(self.given)}"
            )
        self.step = step

    @classmethod
    def accepts(cls, spec: Spec) -> str | None:
        """Images without conditions."""
        if spec.kind != "image" or len(spec.shape) != 3:
            return f"it generates stacks of images, and this is a {spec.kind} of shape {spec.shape}"
        if spec.conditions:
            names = [field.name for field in spec.conditions]
            return f"it is unconditional, and the data set is conditioned on {names}"
        return None

    @property
    def canvas(self) -> Images:
        """A single image."""
        transform = self.transform
        return Images(transform.size, transform.summary_width, transform.summary)

    def generate(self, cond: Conditions, generator: torch.Generator | None = None) -> Latent:
        """Independent images for every sensor of every event."""
        images = self.net(cond.n * self.transform.sensors, None, generator)
        return Latent({"image": images.unflatten(0, (cond.n, self.transform.sensors))[:, :, 0]})

    def drawn(self, latent: Latent, generator: torch.Generator | None = None) -> Latent:
        """True images ``(n, 1, rows, cols)`` of a step, whatever their sensor."""
        real = latent.x["image"].flatten(0, 1)[:, None]
        if self.step.images is not None and self.step.images < len(real):
            real = real[draws.permutation(len(real), real, generator)[: self.step.images]]
        return Latent({"image": real})

    def terms(self, events: Tensor, latent: Latent) -> dict[str, Tensor]:
        """How far the moments of the summary are from those of true images."""
        if not self.step.matching:
            return {}
        true, made = (self.transform.summary(x[:, 0]) for x in (latent.x["image"], events))
        return {"gap": self.step.matching * moment_distance(true, made)}
