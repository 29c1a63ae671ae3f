r"""Bounded-information-bottleneck auto-encoder of showers on a regular grid, with a post-processor.

Generates cell energies on ``(L, rows, cols)`` grids, given the incident energy and any further condition.
Conditions: whatever the data set is conditioned on.
Representation: regular grids with an incident energy.
References: Voloshynovskiy et al., arXiv:1912.00830; Buhmann et al., arXiv:2005.05334; for densities of the
    vector arXiv:2102.12491. Code FLC-QU-hep/getting_high. At 30 x 30 x 30 cells and one condition the
    networks have the published numbers of parameters: 71,443,094 of the auto-encoder, 4,762,753 and 10,301
    of the critics, 299,136 of the post-processor.

An encoder makes of a shower ``x`` some numbers, noise makes them a vector ``z``, and a decoder makes of it a
shower ``y``. With a critic ``D`` of pairs, one ``C`` of the components of ``z`` and the discrepancy ``M``
(:mod:`simulacra.dynamics.discrepancy`) encoder and decoder minimise

.. math:: -D(x, y) - w_C\, C(z) + w_M\, M(z, n) + w_K\, KL(q(z | x)\,\|\,\mathcal N(0, 1)), \qquad
          n \sim \mathcal N(0, 1).

To the critic of pairs the pair (x, x) is a true one and (x, y) a generated one. When they have learnt, a
post-processor ``P`` of single cells minimises the squared distance of ``P(y)`` from ``x``, then with it the
discrepancy of their sorted hits, and beside it the density of the encoder's numbers, where that is learnt.

Note:
    Differs from the reference: conditions enter scaled to [-1, 1], the visible energy in GeV; other grids get
    the same networks with sizes derived from theirs; the coder's turn takes one batch of ``n_critic``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from simulacra.core import Conditions, Field, Latent, Layout, Spec, UserError, draws
from simulacra.core.constructors import constructor
from simulacra.core.ranges import Count, NotNegative, Positive, Share
from simulacra.dynamics.adversarial import (
    gradient_penalty,
    wasserstein_critic_loss,
    wasserstein_generator_loss,
)
from simulacra.dynamics.density import MakeDensity
from simulacra.dynamics.discrepancy import mmd_rbf, sorted_window_mmd
from simulacra.nn.bib_ae import VolumeCoder
from simulacra.nn.bottleneck import divergence, encoded
from simulacra.training.generative import GenerativeModule, Objective, frozen
from simulacra.training.optim import Optim
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
        critic: Weight of the critic of pairs.
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
        optim: What moves the first.
        latent_optim: What moves the second.
    """

    pairs: MakeNet
    latent: Callable[[], nn.Module]
    optim: Optim
    latent_optim: Optim


@constructor
@dataclass(frozen=True)
class PostProcessing:
    """What comes after the auto-encoder has learnt.

    Args:
        net: Makes the post-processor.
        begin: Part of a training after which it does.
        plain: Part of a training after which sorted hits count, at least ``begin``.
        weight: Weight of their discrepancy.
        window: Ranks in a window of hits.
        stride: Ranks between the starts of two windows.
        hits: Hits that are looked at, the strongest.
        alpha: Of their kernel [1/MeV^2].
    """

    net: MakeNet
    begin: Share
    plain: Share
    weight: NotNegative
    window: Count
    stride: Count
    hits: Count
    alpha: Positive


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
        optim: What moves encoder, decoder, post-processor and density.
    """

    transform: GridScaling

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
        self.latent = latent(Layout(self.coder.encoded, cond))
        self.critic = critics.pairs(spec.shape, cond)
        self.latent_critic = critics.latent()
        self.post = post.net(spec.shape, cond)
        self.critics, self.processing, self.terms, self.optim = critics, post, loss, optim

    @classmethod
    def accepts(cls, spec: Spec) -> str | None:
        """Regular grids with an incident energy."""
        if spec.kind != "grid" or len(spec.shape) != 3:
            return f"it needs a regular grid (L, rows, cols), and this is a {spec.kind} of shape {spec.shape}"
        if spec.roles.get("energy") not in spec.conditions:
            return "it needs a condition that is the incident energy"
        return None

    def objectives(self) -> dict[str, Objective]:
        """Critics at every batch and encoder and decoder at some, then the post-processor."""
        begin, every, given = self.processing.begin, self.terms.n_critic, self.critics
        density = list(self.latent.parameters())
        found = {
            "critic": Objective(
                self.critic_loss, list(self.critic.parameters()), given.optim, end=begin
            ),
            "latent_critic": Objective(
                self.latent_critic_loss, list(self.latent_critic.parameters()),
                given.latent_optim, end=begin,
            ),
            "coder": Objective(
                self.coder_loss, list(self.coder.parameters()), self.optim, end=begin, every=every
            ),
            "post": Objective(
                self.post_loss, list(self.post.parameters()), self.optim, begin=begin
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
        scaled = _known(self.transform.condition(cond))
        z = self.latent.sample(cond.n, scaled, generator)
        shower = self.coder.decode(self.coder.filled(z, generator), scaled)
        processed = self.post(shower, scaled)
        empty = processed < self.transform.scale(processed.new_tensor(self.transform.hit))
        return Latent({"shower": torch.where(empty, 0.0, processed)}, scaled)

    def reconstructed(
        self, latent: Latent, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Showers without post-processing ``(B, 1, *)``, vectors, means and logarithms of variances."""
        given = _known(latent.cond)
        mean, log_variance = self.coder.encode(latent.x["shower"], given)
        z = encoded(mean, log_variance, generator)
        vector = self.coder.filled(z, generator)
        return self.coder.decode(vector, given), vector, mean, log_variance

    def score(self, pair: Tensor, latent: Latent) -> Tensor:
        """Critic's score ``(B, 1)`` of pairs ``(B, 2, *)`` for the conditions of ``latent``."""
        return self.critic(pair, _known(latent.cond))

    def critic_loss(
        self, latent: Latent, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """Wasserstein loss of pairs and gradient penalty; a shower beside itself is a true pair."""
        true = latent.x["shower"]
        with torch.no_grad():
            made, *_ = self.reconstructed(latent, generator)
        real, fake = torch.cat([true, true], 1), torch.cat([true, made], 1)
        return self._against(partial(self.score, latent=latent), real, fake, latent, generator)

    def latent_critic_loss(
        self, latent: Latent, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """The same of vectors and noise."""
        with torch.no_grad():
            _, vector, *_ = self.reconstructed(latent, generator)
        noise = draws.normal(vector.shape, vector, generator)
        return self._against(self.latent_critic, noise, vector, latent, generator)

    def coder_loss(
        self, latent: Latent, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """See the module's docstring; in training a density that remembers sees the encoder's numbers."""
        true, weight, terms = latent.x["shower"], latent.weight, self.terms
        made, vector, mean, log_variance = self.reconstructed(latent, generator)
        with frozen(self.critic, self.latent_critic):
            pairs = wasserstein_generator_loss(
                self.score(torch.cat([true, made], 1), latent), weight
            )
            components = wasserstein_generator_loss(self.latent_critic(vector), weight)
        if self.training:
            z = vector[:, : self.coder.encoded].detach()
            self.latent.remember(z, latent.cond, weight)
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
        """Squared distance [MeV^2] and, when it is time, the discrepancy of sorted hits."""
        true, how = latent.x["shower"], self.processing
        with torch.no_grad():
            made, *_ = self.reconstructed(latent, generator)
        found = self.post(made, _known(latent.cond))
        squared = latent.mean((found - true).square())
        hits = sorted_window_mmd(
            found.flatten(1), true.flatten(1), window=how.window, stride=how.stride,
            hits=how.hits, alpha=how.alpha, weight=latent.weight,
        )  # fmt: skip
        early = self.in_training and self.progress < how.plain
        loss = squared if early else squared + how.weight * hits
        return {"loss": loss, "squared": squared.detach(), "hits": hits.detach()}

    def latent_loss(
        self, latent: Latent, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """Of the density of the encoder's numbers."""
        with torch.no_grad():
            mean, log_variance = self.coder.encode(latent.x["shower"], _known(latent.cond))
            z = encoded(mean, log_variance, generator)
        return {"loss": self.latent.loss(z, latent.cond, latent.weight, generator)}

    @property
    def warmth(self) -> float:
        """Factor on the weight of the critic of pairs; 1 outside of a training."""
        if not self.in_training or self.progress >= self.terms.warmup:
            return 1.0
        return self.progress / self.terms.warmup

    def _against(
        self,
        score: Callable[[Tensor], Tensor],
        real: Tensor,
        fake: Tensor,
        latent: Latent,
        generator: torch.Generator | None,
    ) -> dict[str, Tensor]:
        distance = wasserstein_critic_loss(score(real), score(fake), latent.weight)
        slope = gradient_penalty(score, real, fake, generator, weight=latent.weight)
        loss = distance + self.terms.penalty * slope
        return {"loss": loss, "distance": -distance.detach(), "penalty": slope.detach()}


def _known(cond: Tensor | None) -> Tensor:
    if cond is None:
        raise UserError("this model needs conditions, and the events have none")
    return cond
