r"""CaloPointFlow: a normalising flow of points given a latent of their shower.

Generates: complete showers. A flow draws the numbers of the shower, a second flow a latent vector; a flow
    of points turns noise into points, given the latent and the numbers that they are conditioned on;
    the transform then imposes the drawn numbers on them (:mod:`simulacra.transforms.cloud_layers`).
Conditions: whatever the data set is conditioned on (incident energy).
Representation: clouds whose points lie in layers: the cloud views of calorimeters and ILD's clouds.
Reference: Schnake, Krücker, Borras 2024, arXiv:2403.15782; code simonschnake/CaloPointFlow.

The loss is that of a variational autoencoder whose prior is a flow, every part per number it describes:

.. math:: -\tfrac1K \ln p(\mathrm{numbers} | c) - \tfrac1F \langle \ln p(x_i | z, c) \rangle_i
    - \tfrac1Z \big(\ln p(z | c) + H[q(z | x)]\big).

The first version has couplings that see the latent alone, the second (DeepSet flow, ``summary``) also a
summary of the features that steer them.

Note:
    Differences from the paper: points keep both transverse positions (the second version there draws the
    angle at random); the flow of the shower's numbers describes layers too, and the transform imposes
    them; energies go through their quantiles, not a logit of their share of the sum; a training step sees
    some points of a shower, drawn at random.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from simulacra.core import Latent, Layout, Spec, draws
from simulacra.dynamics.clouds import by_length
from simulacra.dynamics.density import MakeDensity
from simulacra.dynamics.set_flows import SetFlow
from simulacra.models.clouds.cloud import MakeTransform, trimmed
from simulacra.models.clouds.latent_vector import LatentVector, joined
from simulacra.models.clouds.layered_cloud import LayeredCloud
from simulacra.nn.bottleneck import encoded
from simulacra.training.generative import Objective
from simulacra.training.optim import Optim


class CaloPointFlow(LayeredCloud):
    """See the module's docstring.

    Args:
        spec: See :class:`~simulacra.models.clouds.cloud.CloudModel`, as the next three.
        given: What is given.
        transform: The transform.
        numbers: The event's numbers.
        latent: The vector that the points of a shower share.
        points: Makes the flow of the points from numbers per point and width of the context.
        optim: How all parameters are moved.
    """

    def __init__(
        self,
        spec: Spec,
        given: Sequence[str] | None,
        transform: MakeTransform,
        numbers: MakeDensity,
        latent: LatentVector,
        points: Callable[[int, int], SetFlow],
        optim: Optim,
    ) -> None:
        super().__init__(spec=spec, given=given, transform=transform, numbers=numbers)
        self.encoder = latent.encoder(self.features, self.context_width, latent.width)
        self.latent_flow = latent.flow(Layout(latent.width, self.context_width))
        self.point_flow = points(self.features, self.context_width + latent.width)
        self.optim = optim

    def objectives(self) -> dict[str, Objective]:
        """One, the loss of the module's docstring."""
        return {"flow": Objective(self.loss, list(self.parameters()), self.optim)}

    def loss(self, latent: Latent, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """The loss and its parts; every shower counts as much as its weight says."""
        points, mask = trimmed(latent)
        context = self.context(latent.x["event"], latent.cond)
        mean, log_variance = self.encoder(points, mask, context)
        z = encoded(mean, log_variance, generator)
        log_prob = self.point_flow.log_prob(points, mask, joined(context, z))
        entropy = 0.5 * latent.mean(log_variance + math.log(2 * math.pi) + 1)
        parts = {
            "points": -latent.mean(log_prob.sum(1) / mask.sum(1).clamp_min(1)) / self.features,
            "latent_nll": self.latent_flow.loss(z, context, latent.weight),
        }
        numbers = self.learnt_numbers(latent)
        parts |= {name: value / self.transform.width for name, value in numbers.items()}
        return {"loss": torch.stack(list(parts.values())).sum() - entropy, **parts}

    def draw_points(
        self, mask: Tensor, context: Tensor | None, generator: torch.Generator | None
    ) -> Tensor:
        """A latent for each event, then its points; events of like size together."""
        z = joined(context, self.latent_flow.sample(mask.shape[0], context, generator))
        noise = draws.normal((*mask.shape, self.features), mask, generator)
        points = torch.zeros_like(noise)
        for chosen, longest in by_length(mask, least=4):
            real = mask[chosen, :longest]
            points[chosen, :longest] = self.point_flow.inverse(
                noise[chosen, :longest], real, z[chosen]
            )
        return points
