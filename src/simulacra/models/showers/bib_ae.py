r"""Bounded-information-bottleneck auto-encoder of showers on a regular grid, with a post-processor.

Generates cell energies on ``(L, rows, cols)`` grids, given the incident energy and any further condition.
Conditions: whatever the data set is conditioned on.
Representation: regular grids with an incident energy.
References: Voloshynovskiy et al., arXiv:1912.00830; Buhmann et al., arXiv:2005.05334; for densities of the
    vector arXiv:2102.12491; for hadrons arXiv:2112.09709. Code FLC-QU-hep/getting_high and
    neurIPS2021_hadron. At 30 x 30 x 30 cells and one condition the networks have the published numbers of
    parameters: 71,443,094 of the auto-encoder, 4,762,753 and 10,301 of the critics, 299,136 of the
    post-processor. Those for hadrons, at 48 x 25 x 25 cells, have 8,707,082 and 629,184; their critic has
    6,560,045, 1.3 % more than the published one, whose strides are not known.

An encoder makes of a shower ``x`` some numbers, noise makes them a vector ``z``, and a decoder makes of it a
shower ``y``. With a critic ``D`` of pairs, one ``C`` of the components of ``z`` and the discrepancy ``M``
(:mod:`simulacra.dynamics.discrepancy`) encoder and decoder minimise

.. math:: -D(x, y) - w_C\, C(z) + w_M\, M(z, n) + w_K\, KL(q(z | x)\,\|\,\mathcal N(0, 1)), \qquad
          n \sim \mathcal N(0, 1).

To the critic of pairs the pair (x, x) is a true one and (x, y) a generated one; a second critic of pairs
may start anew on schedule. When they have learnt, a post-processor ``P`` of single cells learns to give
``y`` the spectrum of ``x`` and to leave it as it is beyond that (:mod:`simulacra.dynamics.cell_losses`), and
beside it the density of the encoder's numbers learns, where it does.

Note:
    Differs from the reference: conditions enter scaled to [-1, 1], the visible energy in GeV; other grids get
    the same networks with sizes derived from theirs; the coder's turn takes one batch of ``n_critic``. The
    post-processor begins as the identity, which it learns there first. The
    slope of a critic that sees statistics of a batch is taken for each shower with the others held, so that
    the penalty is one of single showers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar, Self

import torch
from torch import Tensor, nn

from simulacra.core import Conditions, Field, Latent, Layout, Spec, UserError, draws
from simulacra.core.constructors import constructor
from simulacra.core.ranges import Count, NotNegative, Share, Whole
from simulacra.dynamics.adversarial import (
    gradient_penalty,
    wasserstein_critic_loss,
    wasserstein_generator_loss,
)
from simulacra.dynamics.density import MakeDensity
from simulacra.dynamics.discrepancy import mmd_rbf
from simulacra.models.showers.post_processing import PostProcessing
from simulacra.nn.bib_ae import VolumeCoder
from simulacra.nn.bottleneck import divergence, encoded
from simulacra.training.generative import GenerativeModule, Objective, frozen
from simulacra.training.objective import Renewal
from simulacra.training.optim import Optim
from simulacra.transforms.base import Batches
from simulacra.transforms.volume import GridScaling

MakeTransform = Callable[[Spec, Sequence[Field]], GridScaling]
"""From the data set and the given fields."""
MakeNet = Callable[[Sequence[int], int], nn.Module]
"""From the cells per axis and the columns of the conditions."""
MakeCoder = Callable[[Sequence[int], int], VolumeCoder]
"""The same."""
ALPHAS = (1.0, 0.01)
"""Of the kernels that compare vectors."""


@constructor
@dataclass(frozen=True)
class CoderLoss:
    """What encoder and decoder learn from.

    Args:
        kl: Weight of the divergence.
        mmd: Weight of the discrepancy of the vectors from noise.
        critic: Weight of each critic of pairs.
        latent_critic: Weight of the critic of the vectors.
        penalty: Weight of the gradient penalties of both.
        n_critic: Steps of the critics per step of encoder and decoder.
        warmup: Part of a training in which the weight of the critic of pairs rises from 0, linearly.
    """

    kl: NotNegative
    mmd: NotNegative
    critic: NotNegative
    latent_critic: NotNegative
    penalty: NotNegative
    n_critic: Count
    warmup: Share


@constructor
@dataclass(frozen=True)
class Critics:
    """What judges showers and vectors.

    Args:
        pairs: Makes the critic of pairs.
        latent: Makes the critic of vectors.
        optim: What moves critics of pairs.
        latent_optim: What moves the critic of vectors.
        renewed: Turns after which a second critic of pairs starts anew; 0: there is none.
    """

    pairs: MakeNet
    latent: Callable[[], nn.Module]
    optim: Optim
    latent_optim: Optim
    renewed: Whole


class BIBAE(GenerativeModule):
    """See the module's docstring.

    Args:
        spec: Grid data set with an incident energy.
        given: Fields the generator is given (None: all conditions).
        transform: Makes the transform; its cells are in MeV.
        coder: Makes encoder and decoder.
        latent: Makes the density of the encoder's numbers.
        critics: What judges showers and vectors.
        post: The post-processor and how it learns.
        loss: What encoder and decoder learn from.
        optim: What moves encoder, decoder and density.
    """

    adversarial = True
    transform: GridScaling
    beside: ClassVar[int] = 0
    """Numbers of a shower that the density describes and the post-processor is told, beside the encoder's."""

    def __init__(
        self,
        spec: Spec,
        given: Sequence[str] | None,
        transform: MakeTransform,
        coder: MakeCoder,
        latent: MakeDensity,
        critics: Critics,
        post: PostProcessing,
        loss: CoderLoss,
        optim: Optim,
    ) -> None:
        super().__init__(spec, given)
        self.transform = transform(spec, self.given_fields)
        cond = self.transform.conditions.width
        self.coder = coder(spec.shape, cond)
        self.latent = latent(Layout(self.coder.encoded + self.beside, cond))
        self.new_critic = partial(critics.pairs, spec.shape, cond)
        names = ("critic", "renewed_critic") if critics.renewed else ("critic",)
        self.pair_critics = nn.ModuleDict({name: self.new_critic() for name in names})
        self.latent_critic = critics.latent()
        self.post = post.net(spec.shape, cond + self.beside)
        self.critics, self.processing, self.terms, self.optim = critics, post, loss, optim

    @classmethod
    def accepts(cls, spec: Spec) -> str | None:
        """Regular grids with an incident energy."""
        if spec.kind != "grid" or len(spec.shape) != 3:
            return f"it needs a regular grid (L, rows, cols), and this is a {spec.kind} of shape {spec.shape}"
        if spec.roles.get("energy") not in spec.conditions:
            return "it needs a condition that is the incident energy"
        return None

    def fit_transform(self, batches: Batches) -> Self:
        """Statistics of the transform, then the start of the density from the first batch."""
        super().fit_transform(batches)
        source = torch.Generator(device=self.device).manual_seed(0)
        with self.evaluating():
            latent = self.encode(next(iter(batches)).to(self.device), source)
            numbers = self.numbers(self.encoded(latent, source), latent)
            self.latent.fit([(numbers, latent.cond, latent.weight)])
        return self

    def objectives(self) -> dict[str, Objective]:
        """Critics at every batch and encoder and decoder at some, then the post-processor."""
        begin, every, given = self.processing.begin, self.terms.n_critic, self.critics
        density = list(self.latent.parameters())
        found = {
            name: Objective(
                partial(self.critic_loss, critic), list(critic.parameters()), given.optim, end=begin
            )
            for name, critic in self.pair_critics.items()
        }
        if given.renewed:
            renewal = Renewal(self.pair_critics["renewed_critic"], self.new_critic, given.renewed)
            found["renewed_critic"] = replace(found["renewed_critic"], renewal=renewal)
        found |= {
            "latent_critic": Objective(
                self.latent_critic_loss, list(self.latent_critic.parameters()),
                given.latent_optim, end=begin,
            ),
            "coder": Objective(
                self.coder_loss, list(self.coder.parameters()), self.optim, end=begin, every=every
            ),
            "post": Objective(
                self.post_loss, list(self.post.parameters()), self.processing.optim, begin=begin
            ),
        }  # fmt: skip
        if density:
            found["latent"] = Objective(self.latent_loss, density, self.optim, begin=begin)
        return found

    def used_parameters(self) -> list[nn.Parameter]:
        """All but those of the critics."""
        parts = (self.coder, self.latent, self.post)
        return [parameter for part in parts for parameter in part.parameters()]

    def generate(self, cond: Conditions, generator: torch.Generator | None = None) -> Latent:
        """A vector, what is decoded of it, and what the post-processor makes of that; cells below the cut are
        empty.
        """
        scaled = known(self.transform.condition(cond))
        z = self.latent.sample(cond.n, scaled, generator)
        shower = self.coder.decode(self.coder.filled(z, generator), scaled)
        return Latent({"shower": self.transform.emptied(self.post(shower, scaled))}, scaled)

    def numbers(self, z: Tensor, latent: Latent) -> Tensor:
        """What the density describes of showers of which the encoder says ``z``."""
        return z

    @torch.no_grad()
    def encoded(self, latent: Latent, generator: torch.Generator | None = None) -> Tensor:
        """What the encoder says of true showers ``(B, Z)``, a constant."""
        mean, log_variance = self.coder.encode(latent.x["shower"], known(latent.cond))
        return encoded(mean, log_variance, generator)

    def told(self, latent: Latent) -> Tensor:
        """What the post-processor is told of true showers beside generated ones."""
        return known(latent.cond)

    def reconstructed(
        self, latent: Latent, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Showers without post-processing ``(B, 1, *)``, vectors, means and logarithms of variances."""
        given = known(latent.cond)
        mean, log_variance = self.coder.encode(latent.x["shower"], given)
        z = encoded(mean, log_variance, generator)
        vector = self.coder.filled(z, generator)
        return self.coder.decode(vector, given), vector, mean, log_variance

    def score(
        self, critic: nn.Module, pair: Tensor, latent: Latent, others: Tensor | None = None
    ) -> Tensor:
        """Critic's score ``(B, 1)`` of pairs ``(B, 2, *)`` for the conditions of ``latent``.

        Args:
            critic: Of pairs.
            pair: True showers, then those that are judged.
            latent: Their conditions and weights.
            others: What a critic that sees statistics of a batch compares them with (None: themselves).
        """
        return critic(pair, known(latent.cond), latent.weight, others)

    def critic_loss(
        self, critic: nn.Module, latent: Latent, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """Wasserstein loss of pairs and gradient penalty; a shower beside itself is a true pair."""
        true = latent.x["shower"]
        with torch.no_grad():
            made, *_ = self.reconstructed(latent, generator)
        real, fake = torch.cat([true, true], 1), torch.cat([true, made], 1)
        score = partial(self.score, critic, latent=latent)

        def alone(pair: Tensor) -> Tensor:
            return score(pair, others=pair.detach())

        return self._against(score, alone, real, fake, latent, generator)

    def latent_critic_loss(
        self, latent: Latent, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """The same of vectors and noise."""
        with torch.no_grad():
            _, vector, *_ = self.reconstructed(latent, generator)
        noise = draws.normal(vector.shape, vector, generator)
        critic = self.latent_critic
        return self._against(critic, critic, noise, vector, latent, generator)

    def coder_loss(
        self, latent: Latent, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """See the module's docstring; in training a density that remembers sees the encoder's numbers."""
        true, weight, terms = latent.x["shower"], latent.weight, self.terms
        made, vector, mean, log_variance = self.reconstructed(latent, generator)
        pair = torch.cat([true, made], 1)
        with frozen(self.pair_critics, self.latent_critic):
            judged = [self.score(critic, pair, latent) for critic in self.pair_critics.values()]
            pairs = torch.stack([wasserstein_generator_loss(s, weight) for s in judged]).sum()
            components = wasserstein_generator_loss(self.latent_critic(vector), weight)
        if self.training:
            z = vector[:, : self.coder.encoded].detach()
            self.latent.remember(self.numbers(z, latent), latent.cond, weight)
        noise = draws.normal(vector.shape, vector, generator)
        parts = {
            "divergence": latent.mean(divergence(mean, log_variance)),
            "mmd": mmd_rbf(vector, noise, ALPHAS, weight),
            "critic": pairs,
            "latent_critic": components,
        }
        loss = (
            terms.kl * parts["divergence"]
            + terms.mmd * parts["mmd"]
            + self.warmth * terms.critic * pairs
            + terms.latent_critic * components
        )
        return {"loss": loss, **{name: value.detach() for name, value in parts.items()}}

    def post_loss(
        self, latent: Latent, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """What keeps a shower as it is, and what gives it the spectrum of the true one."""
        with torch.no_grad():
            made, *_ = self.reconstructed(latent, generator)
        found = self.post(made, self.told(latent))
        return self.processing.loss(found, made, latent.x["shower"], latent.weight)

    def latent_loss(
        self, latent: Latent, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """Of the density of the encoder's numbers."""
        numbers = self.numbers(self.encoded(latent, generator), latent)
        return {"loss": self.latent.loss(numbers, latent.cond, latent.weight, generator)}

    @property
    def warmth(self) -> float:
        """Factor on the weight of the critic of pairs; 1 outside of a training."""
        if not self.in_training or self.progress >= self.terms.warmup:
            return 1.0
        return self.progress / self.terms.warmup

    def _against(
        self,
        score: Callable[[Tensor], Tensor],
        alone: Callable[[Tensor], Tensor],
        real: Tensor,
        fake: Tensor,
        latent: Latent,
        generator: torch.Generator | None,
    ) -> dict[str, Tensor]:
        distance = wasserstein_critic_loss(score(real), score(fake), latent.weight)
        slope = gradient_penalty(alone, real, fake, generator, weight=latent.weight)
        loss = distance + self.terms.penalty * slope
        return {"loss": loss, "distance": -distance.detach(), "penalty": slope.detach()}


def known(cond: Tensor | None) -> Tensor:
    """Conditions.

    Raises:
        UserError: If there are none.
    """
    if cond is None:
        raise UserError("this model needs conditions, and the events have none")
    return cond
