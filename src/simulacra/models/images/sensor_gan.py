r"""Adversarial networks of all sensors of a pixel detector at once: IEA-GAN and PE-GAN.

Generates: the images of all sensors of an event together, from noise that the sensors share through a
    relational module (IEA-GAN) or each for itself (PE-GAN, and IEA-GAN without the module).
Conditions: none; a sensor is its place in the stack, and PE-GAN is told its mean occupancy in the events of
    the training.
Representation: stacks of two images or more, whose charges are whole numbers up to a largest one. Logarithms
    of charges in [-1, 1] end in tanh; what lies below the threshold becomes 0.
Losses: hinge on every image; contrastive, uniformity and intra-event-aware terms on embeddings of the images
    of an event (:mod:`simulacra.dynamics.sensor_terms`); consistency (PE-GAN); orthogonal weights.
References: IEA-GAN, arXiv:2303.08046; PE-GAN, arXiv:2303.00693; code Hosein47/IEA-GAN, snapshot e982481.

With the layers of the reference and 40 sensors the generator has 11,693,473 parameters, 46.8 MB in single
precision, the critic 4,476,610.

A step takes several events, ``(E, S, H, W)``, and nothing that relates images reaches beyond an event but the
batch norm in training, for which event weights are refused. In evaluation mode every image is normalised by
running statistics, so that an event is the same whatever it is sampled with. An averaged generator gets
statistics of its own (:meth:`SensorGAN.settle`), not those of the weights that were averaged.

Note:
    Differs from the reference, whose code never steps the generator unless gradients are clipped, tells
    sensors apart by the order of file names sorted as strings, augments generated images alone, and truncates
    charges where ours are rounded. What shifts and cutouts leave behind is an empty pixel. Estimates of the
    layers' gains follow once per loss. ``critic.hidden`` and the output of empty pixels, see
    :mod:`simulacra.nn.sensor_gan`, are off at published size.

Note:
    Memory of a step at published size, one event of 40 images in 256 x 768 pixels: a channel at full size is
    15.7 MB in bfloat16 (``trainer.precision=bf16-mixed``). For its way back the turn of the generator keeps
    12.5 GB, that of the critic 8.0 GB; with ``trainer.recompute=true`` 3.4 and 2.9 GB, and the largest block
    needs 2.7 GB when it is computed again, its gradients about as much: 9 GB with weights and optimizers, for
    more operations (5.0 in place of 4.2 TFLOP, and 3.7 in place of 2.9). Counted by hooks on images of a
    sixteenth of the pixels, ``tests/benchmarks/test_sensor_gan_memory.py``, without attention.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from simulacra.core import Conditions, Field, Latent, Spec, refuse_weights
from simulacra.core.constructors import constructor
from simulacra.core.ranges import Count, NotNegative
from simulacra.dynamics.games import Game
from simulacra.dynamics.sensor_terms import Term, Turn, off_diagonal, stacked
from simulacra.nn.diff_augment import Augment
from simulacra.nn.minibatch import batch_statistics
from simulacra.nn.sensor_blocks import StackNorm
from simulacra.nn.sensor_gan import SensorCritic, SensorGenerator, Stack, StackVerdict
from simulacra.nn.spectral import advance
from simulacra.training.generative import GenerativeModule, Objective, frozen
from simulacra.training.optim import Optim
from simulacra.transforms.sensors import SensorScaling


@constructor
@dataclass(frozen=True)
class Play:
    """What both networks play for.

    Args:
        game: The game.
        terms: Terms beside it by name; None leaves one out.
        changes: What images go through before the critic sees them, by name and in order; None leaves
            one out.
        orthogonal: Weight of the generator's term for orthogonal weights.
        settled: Events, times the number of batches of so many, from which an averaged generator takes its
            statistics.
        batches: That number.
    """

    game: Game
    terms: Mapping[str, Term | None]
    changes: Mapping[str, Augment | None]
    orthogonal: NotNegative
    settled: Count
    batches: Count


class SensorGAN(GenerativeModule):
    """See the module's docstring.

    Args:
        spec: What the data set promises.
        given: Must be empty (None: all conditions, of which there are none).
        transform: Makes the transform.
        net: Makes the generator.
        critic: Makes the critic.
        play: What they play for.
        optim: What moves the generator.
        critic_optim: What moves the critic.
    """

    adversarial = True
    transform: SensorScaling

    def __init__(
        self,
        spec: Spec,
        given: Sequence[str] | None,
        transform: Callable[[Spec, Sequence[Field]], SensorScaling],
        net: Callable[[Stack], SensorGenerator],
        critic: Callable[[Stack], SensorCritic],
        play: Play,
        optim: Optim,
        critic_optim: Optim,
    ) -> None:
        super().__init__(spec, given)
        self.transform = transform(spec, self.given_fields)
        self.net, self.critic = net(self.stack), critic(self.stack)
        self.play, self.optim, self.critic_optim = play, optim, critic_optim
        self.terms = {name: term for name, term in play.terms.items() if term is not None}
        self.changes = [change for change in play.changes.values() if change is not None]

    @classmethod
    def accepts(cls, spec: Spec) -> str | None:
        """Stacks of images without conditions, of whole charges up to a largest one."""
        if spec.kind != "image" or len(spec.shape) != 3 or spec.shape[0] < 2:
            return (
                f"it generates the images of two sensors or more together, and this is a {spec.kind} of "
                f"shape {spec.shape}"
            )
        if spec.conditions:
            names = [field.name for field in spec.conditions]
            return f"it is unconditional, and the data set is conditioned on {names}"
        if not spec.features or spec.features[0].high is None:
            return "its charges need a largest value, and the data set names none"
        return None

    @property
    def stack(self) -> Stack:
        """What the networks are told of the images."""
        transform = self.transform
        return Stack(
            transform.sensors, transform.size, transform.summary_width, transform.sensor_summary
        )

    def objectives(self) -> dict[str, Objective]:
        """Critic, then generator."""
        critic, net = list(self.critic.parameters()), list(self.net.parameters())
        return {
            "critic": Objective(self.critic_loss, critic, self.critic_optim),
            "generator": Objective(self.generator_loss, net, self.optim),
        }

    def used_parameters(self) -> list[nn.Parameter]:
        """Those of the generator."""
        return list(self.net.parameters())

    def generate(self, cond: Conditions, generator: torch.Generator | None = None) -> Latent:
        """One pass of the generator."""
        return Latent({"image": self.net(cond.n, self.transform.prior, generator)})

    def critic_loss(
        self, latent: Latent, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """The critic's part of the game, and terms on the true images."""
        self._begin(latent)
        real = latent.x["image"]
        with torch.no_grad():
            fake = self.net(len(latent), self.transform.prior, generator)
        on_real, on_fake = (self.verdict(self.changed(x, generator)) for x in (real, fake))
        values = {"game": self.play.game.critic(on_real.score, on_fake.score, latent.weight)}
        turn = self._told(real, fake, latent, lambda: on_real, generator)
        return _summed(values | self._terms(lambda term: term.critic(turn)))

    def generator_loss(
        self, latent: Latent, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """The generator's part of the game, terms on its images, and its weights' own."""
        self._begin(latent)
        real = latent.x["image"]
        fake = self.net(len(latent), self.transform.prior, generator)

        @torch.no_grad()
        def known() -> StackVerdict:
            return self.verdict(self.changed(real, generator))

        with frozen(self.critic):
            made = self.verdict(self.changed(fake, generator))
            turn = self._told(real, fake, latent, known, generator)
            values = {"game": self.play.game.generator(made.score, latent.weight)}
            values |= self._terms(lambda term: term.net(made, turn))
        if self.play.orthogonal:
            values["orthogonal"] = self.play.orthogonal * off_diagonal(self.net.regularised())
        return _summed(values)

    def verdict(self, events: Tensor) -> StackVerdict:
        """The critic's verdict on scaled events ``(E, S, H, W)``."""
        found: StackVerdict = self.critic(events, self.transform.prior)
        return found

    def changed(self, events: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Events as the critic sees them, true and generated ones alike."""
        for change in self.changes:
            events = stacked(change, events, generator)
        return events

    @torch.no_grad()
    def settle(self) -> None:
        """Take the generator's statistics anew, from events of the weights as they are, always of the same
        noise.
        """
        norms = [part for part in self.net.modules() if isinstance(part, StackNorm)]
        usual = [norm.momentum for norm in norms]
        prior = self.transform.prior
        generator = torch.Generator(device=prior.device).manual_seed(0)
        mode = self.net.training
        self.net.train()
        for number in range(self.play.batches):
            advance(self.net)
            for norm in norms:
                norm.momentum = 1 / (number + 1)  # the mean of all
            self.net(self.play.settled, prior, generator)
        for norm, momentum in zip(norms, usual, strict=True):
            norm.momentum = momentum
        self.net.train(mode)

    def _begin(self, latent: Latent) -> None:
        across = batch_statistics(self)
        if across:
            refuse_weights(latent.weight, f"{type(self).__name__} with {' and '.join(across)}")
        if self.training:
            advance(self.net)
            advance(self.critic)

    def _told(
        self,
        real: Tensor,
        fake: Tensor,
        latent: Latent,
        known: Callable[[], StackVerdict],
        generator: torch.Generator | None,
    ) -> Turn:
        seen = self.transform.sensor_summary
        return Turn(real, fake, latent.weight, self.verdict, known, seen, generator)

    def _terms(self, value: Callable[[Term], Tensor | None]) -> dict[str, Tensor]:
        found = {name: value(term) for name, term in self.terms.items()}
        return {name: term for name, term in found.items() if term is not None}


def _summed(values: dict[str, Tensor]) -> dict[str, Tensor]:
    return {"loss": torch.stack(list(values.values())).sum(), **values}
