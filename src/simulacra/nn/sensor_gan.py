r"""Generator and critic of the images of all sensors of an event, as of IEA-GAN and PE-GAN.

The generator draws four numbers :math:`r_s` and a latent vector :math:`z_s` per sensor, and makes the image
of a sensor from what it is and from what the others are:

.. math:: w = \mathrm{Relations}(L\,[v_s, r_s]), \qquad x_s = G([w_s, z_s]).

The critic scores every image by itself, and embeds it beside the others of its event: with the features
:math:`h_s`, summed over the pixels,

.. math:: D_s = a \cdot h_s, \qquad k_s = \frac{u_s}{\|u_s\|}, \quad
          u = \mathrm{LN}(B\,\mathrm{Relations}(h)),

and each sensor has a proxy :math:`p_s`, a vector of norm 1 too. Convolutions and linear layers have a largest
gain of 1 but for those within the relations.

Two things are ours, for small networks and short trainings. Scores of single images say nothing of what
sensors share, so that it is learned through the embeddings alone; a critic may also see the statistics
:math:`t_s` of each image (shares of pixels above levels of charge) beside those of the event's other images,
and score :math:`D_s = a \cdot h_s + b \cdot \mathrm{Relations}(T\, t)_s`. A generator may end in
:math:`2 \tanh(\mathrm{relu}(h)) - 1`, which leaves pixels exactly empty.

References: IEA-GAN, arXiv:2303.08046; PE-GAN, arXiv:2303.00693; Kang and Park, arXiv:2006.12681, for proxies.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrize

from simulacra.core import UserError, draws
from simulacra.core.ranges import Count, Whole
from simulacra.nn.image_gan import MIDDLE
from simulacra.nn.mlp import MLP
from simulacra.nn.sensor_blocks import DownBlock, SelfAttention, StackNorm, UpBlock
from simulacra.nn.sensor_labels import MakeLabels
from simulacra.nn.spectral import LAYERS, bounded, hold
from simulacra.nn.verdicts import Verdict

EPS = 1e-6
"""Smallest norm in the estimate of a layer's gain."""

MakeRelations = Callable[[int], nn.Module]
"""From the width of an image's vector."""


@dataclass(frozen=True)
class Stack:
    """What the images of an event are.

    Args:
        sensors: How many.
        size: Rows and columns.
        summary: Statistics of an image that a critic may be shown.
        summarised: Those of events ``(E, S, rows, cols)``, ``(E, S, summary)``, of about the width 1.
    """

    sensors: int
    size: tuple[int, int]
    summary: int
    summarised: Callable[[Tensor], Tensor]


@dataclass(frozen=True, kw_only=True)
class StackVerdict(Verdict):
    """Of ``E`` events of ``S`` images; scores are ``(E, S)``.

    Args:
        embedding: Where each image lies beside the others of its event, ``(E, S, K)`` of norm 1.
        proxies: Where images of each sensor should lie, ``(S, K)`` of norm 1.
    """

    embedding: Tensor
    proxies: Tensor


class SensorGenerator(nn.Module):
    """Noise to the images of events in (-1, 1).

    Args:
        stack: What the images are; rows and columns are multiples of two to the number of stages.
        labels: Makes the vectors of the sensors.
        shared: Length of a sensor's vector, and of what becomes of it.
        freedom: Random numbers per sensor that the other sensors see, too.
        relations: Makes what relates the sensors; None: they know nothing of each other.
        latent: Length of the latent vector of each image.
        channels: Channels at the coarsest size and after each stage, which do not rise.
        attention: Rows of the images at which their pixels look at each other; None: nowhere.
        output: The last map, from all numbers to those in [-1, 1].
        at_once: Images made at a time in evaluation mode, which bounds the memory.

    Raises:
        UserError: For a size that the stages halve unevenly.
    """

    def __init__(
        self,
        stack: Stack,
        labels: MakeLabels,
        shared: Count,
        freedom: Whole,
        relations: MakeRelations | None,
        latent: Count,
        channels: Sequence[Count],
        attention: Count | None,
        output: nn.Module,
        at_once: Count,
    ) -> None:
        super().__init__()
        stages = len(channels) - 1
        self.base = (channels[0], *coarsest(stack, stages))
        self.sensors, self.freedom, self.latent = stack.sensors, freedom, latent
        self.at_once, self.bound = at_once, output
        cond = shared + latent
        self.labels = labels(stack.sensors, shared)
        self.joint = nn.Linear(shared + freedom, shared)
        self.start = nn.Linear(cond, math.prod(self.base))
        self.stages = nn.ModuleList()
        for number, (a, b) in enumerate(pairwise(channels), 1):
            self.stages += [UpBlock(a, a, cond, up=False), UpBlock(a, b, cond, up=True)]
            if self.base[1] * 2**number == attention:
                self.stages.append(_Unconditional(SelfAttention(b)))
        self.norm = StackNorm(channels[-1], affine=True)
        self.output = nn.Conv2d(channels[-1], 1, 3, padding=1)
        orthogonal(self)
        bounded(self, eps=EPS)
        hold(self)
        self.relations = None if relations is None else relations(shared)

    def forward(self, n: int, prior: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Images ``(n, S, rows, cols)`` of ``n`` events; the numbers of an event are drawn at once.

        Args:
            n: Number of events.
            prior: What is known of the sensors, ``(S,)``.
            generator: Source of the noise.
        """
        width = self.freedom + self.latent
        return self.paint(draws.normal((n, self.sensors, width), prior, generator), prior)

    def paint(self, noise: Tensor, prior: Tensor) -> Tensor:
        """Images of the numbers ``(n, S, freedom + latent)`` that were drawn for them.

        In evaluation mode images are made a few at a time, with gains that are divided out once.
        """
        with nullcontext() if self.training else parametrize.cached():
            own, z = noise.split([self.freedom, self.latent], -1)
            label = self.labels(prior).expand(len(noise), -1, -1)
            w = self.joint(torch.cat([label, own], -1))
            if self.relations is not None:
                w = self.relations(w)
            cond = torch.cat([w, z], -1).flatten(0, 1)  # (n S, shared + latent)
            whole = self.training or draws.unrolled()
            parts = [cond] if whole else cond.split(self.at_once)
            images = torch.cat([self._images(part) for part in parts])
        return images.unflatten(0, (-1, self.sensors))

    def regularised(self) -> list[Tensor]:
        """Weights whose rows shall be orthogonal: all but the vectors of the sensors."""
        labels = {id(parameter) for parameter in self.labels.parameters()}
        return [p for p in self.parameters() if p.ndim > 1 and id(p) not in labels]

    def _images(self, cond: Tensor) -> Tensor:
        h = self.start(cond).unflatten(1, self.base)
        if not self.training:  # the layout that convolutions on a processor are fastest in
            h = h.contiguous(memory_format=torch.channels_last)
        for stage in self.stages:
            h = stage(h, cond)
        made: Tensor = self.bound(self.output(functional.relu_(self.norm(h))))
        return made[:, 0]


class Smooth(nn.Module):
    """``tanh(h)``, the published output."""

    def forward(self, h: Tensor) -> Tensor:
        """Map any shape."""
        return torch.tanh(h)


class EmptyAtZero(nn.Module):
    """``2 tanh(relu(h + m)) - 1``: exactly -1 over half of all numbers, and 0 at 0."""

    def forward(self, h: Tensor) -> Tensor:
        """Map any shape."""
        return 2 * torch.tanh(torch.relu(h + MIDDLE)) - 1


class SensorCritic(nn.Module):
    """Images of events to a :class:`StackVerdict`.

    Args:
        stack: What the images are; rows and columns are multiples of two to the number of stages.
        labels: Makes the proxies of the sensors.
        width: Length of embeddings and proxies.
        relations: Makes what relates the images; None: each is embedded by itself.
        channels: Channels at full size and after each stage, which do not fall.
        attention: Rows of the images at which their pixels look at each other; None: nowhere.
        hidden: Width of what becomes of the statistics of an image that it sees; 0: it sees none.

    Raises:
        UserError: For a size that the stages halve unevenly.
    """

    def __init__(
        self,
        stack: Stack,
        labels: MakeLabels,
        width: Count,
        relations: MakeRelations | None,
        channels: Sequence[Count],
        attention: Count | None,
        hidden: Whole,
    ) -> None:
        super().__init__()
        coarsest(stack, len(channels) - 1)
        stages: list[nn.Module] = [nn.Conv2d(1, channels[0], 3, padding=1)]
        for number, (a, b) in enumerate(pairwise(channels), 1):
            stages += [
                DownBlock(a, b, down=True, first=number == 1),
                DownBlock(b, b, down=False, first=False),
            ]
            if stack.size[0] == 2**number * (attention or 0):
                stages.append(SelfAttention(b))
        self.stages = nn.Sequential(*stages)
        self.score = nn.Linear(channels[-1], 1)
        self.embed = nn.Linear(channels[-1], width)
        self.norm = nn.LayerNorm(width)
        self.labels = labels(stack.sensors, width)
        self.seen = _Seen(stack, hidden) if hidden else None
        orthogonal(self)
        bounded(self, (*LAYERS, nn.Embedding), EPS)
        hold(self)
        self.relations = None if relations is None else relations(channels[-1])
        if self.seen is not None and relations is not None:
            self.seen.relations = relations(hidden)

    def forward(self, x: Tensor, prior: Tensor) -> StackVerdict:
        """The verdict on events ``(E, S, rows, cols)`` of sensors of which ``prior``, ``(S,)``, is known."""
        h = functional.relu(self.stages(x.flatten(0, 1)[:, None]))
        h = h.float().sum((2, 3)).unflatten(0, x.shape[:2])  # (E, S, C)
        related = h if self.relations is None else self.relations(h)
        embedding, proxies = self.norm(self.embed(related)), self.labels(prior)
        score = self.score(h)[..., 0]
        return StackVerdict(
            score if self.seen is None else score + self.seen(x),
            embedding=functional.normalize(embedding.float(), dim=-1),
            proxies=functional.normalize(proxies.float(), dim=-1),
        )


class _Seen(nn.Module):
    """Scores ``(E, S)`` of the statistics of events' images, each beside the others of its event."""

    def __init__(self, stack: Stack, hidden: int) -> None:
        super().__init__()
        self.summarised = stack.summarised
        self.labels = nn.Embedding(stack.sensors, hidden)
        self.first = MLP(stack.summary, hidden, [hidden], partial(nn.LeakyReLU, 0.2))
        self.relations: nn.Module | None = None
        self.last = nn.Linear(hidden, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Of events ``(E, S, rows, cols)``."""
        seen = torch.asinh(
            self.summarised(x.float())
        )  # far from the truth it still has a direction
        tokens = self.first(seen) + self.labels.weight
        if self.relations is not None:
            tokens = self.relations(tokens)
        score: Tensor = self.last(tokens)
        return score[..., 0]


class _Unconditional(nn.Module):
    """A part that does not look at the condition."""

    def __init__(self, part: nn.Module) -> None:
        super().__init__()
        self.part = part

    def forward(self, x: Tensor, cond: Tensor) -> Tensor:
        out: Tensor = self.part(x)
        return out


def coarsest(stack: Stack, stages: int) -> tuple[int, int]:
    """Rows and columns after so many halvings.

    Raises:
        UserError: If they are uneven.
    """
    rows, cols = stack.size
    if rows % 2**stages or cols % 2**stages:
        raise UserError(
            f"{stages} stages halve images of {rows} x {cols} pixels unevenly: pad them to multiples of "
            f"{2**stages} with model.transform.stride"
        )
    return rows // 2**stages, cols // 2**stages


def orthogonal(network: nn.Module) -> None:
    """Start all linear layers, convolutions and embeddings with orthogonal weights (Saxe et al.,
    arXiv:1312.6120).
    """
    for layer in network.modules():
        if isinstance(layer, (*LAYERS, nn.Embedding)):
            nn.init.orthogonal_(layer.weight)
