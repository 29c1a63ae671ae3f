"""MDMA: a mean-field attention generator and critic of point clouds, after a flow for an event's numbers.

Generates: complete clouds. A spline flow draws the number of points and the other numbers of the event; one
    pass of the generator then turns noise into that many points.
Conditions: whatever the data set is conditioned on, and any event field listed in ``given``.
Representation: clouds of any number of features, jets and showers alike.
Reference: Käch, Melzer-Pellmann 2023, arXiv:2305.15254.

Note:
    Differences from the paper: all numbers of the event enter where the number of particles does (the
    critic's first mean field sees them too); the first mean field is summed over real points alone (the
    public code also adds what the embedding makes of padding) and scaled by a number in place of the mean
    multiplicity; noise and mask are cut to the longest event of a batch; generated numbers are not clamped
    to the range of the data; the means of the mean fields over a batch are matched, not the fields of each
    pair of true and generated events (which would draw all events to the mean); attention's own layers are
    not weight-normalised; no noise on true events, and no steps of the critic alone at the start; the
    optimizers' eps is 1e-8.
"""

from __future__ import annotations

import torch
from torch import Tensor

from simulacra.core import Latent, event_mean
from simulacra.core.ranges import NotNegative, Share
from simulacra.dynamics.games import LeastSquares
from simulacra.models.clouds.cloud import trimmed
from simulacra.models.clouds.cloud_gan import CloudGAN
from simulacra.nn.mean_field import MeanFieldCritic
from simulacra.training.generative import frozen


class MatchedFields(LeastSquares):
    """Least squares, and mean fields that match at first.

    Args:
        weight: ``w``.
        share: Share of the run, from its beginning, with that term.
    """

    def __init__(self, weight: NotNegative, share: Share) -> None:
        self.weight, self.share = weight, share


class MDMA(CloudGAN):
    r"""A cloud GAN whose generator also matches the critic's mean fields :math:`z` at first.

    With weight :math:`w` in the first part of the run, its loss is

    .. math::
        \tfrac12 E[(D(G) - 1)^2] + w\, \| E[z(x)] - E[z(G)] \|^2 .

    Arguments are those of :class:`CloudGAN`.
    """

    critic: MeanFieldCritic
    game: MatchedFields

    def generator_loss(
        self, latent: Latent, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """Squared distance of scores from 1, and the distance of mean fields where it counts."""
        real, mask = trimmed(latent)
        context = self.context(latent.x["event"], latent.cond)
        fake = self.net(self.net.noise(mask, generator), mask, context)
        with frozen(self.critic):
            made = self.critic.mean_field(fake, mask, context)
            scores = self.critic.of_mean_field(made, context)
        score = self.game.generator(scores, latent.weight)
        if self.progress >= self.game.share:
            return {"loss": score}
        with torch.no_grad():
            true = self.critic.mean_field(real, mask, context)
        means = [event_mean(field, latent.weight) for field in (true, made)]
        distance = (means[0] - means[1]).square().sum()
        return {
            "loss": score + self.game.weight * distance,
            "score": score,
            "mean_field": distance,
        }
