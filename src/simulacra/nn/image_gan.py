"""Convolutional generator and critic of single images, from blocks of :mod:`simulacra.nn.resblocks`."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from simulacra.core import UserError, draws
from simulacra.core.constructors import constructor
from simulacra.core.ranges import Count, Whole
from simulacra.nn.latent_vectors import Columns
from simulacra.nn.mlp import MLP
from simulacra.nn.verdicts import Verdict

Block = Callable[[int, int], nn.Module]


@dataclass(frozen=True)
class Images:
    """What images are.

    Args:
        size: Rows and columns.
        summary: Columns of what a critic may be shown of an image as a whole.
        summarised: That of images ``(B, rows, cols)``.
    """

    size: tuple[int, int]
    summary: int
    summarised: Callable[[Tensor], Tensor]


MIDDLE = math.atanh(0.5)
"""Where the rectified output is 0, in the middle of its range; outputs start around it."""


class ImageGenerator(nn.Module):
    """Latent vector to an image in (-1, 1).

    Args:
        images: What images are; rows and columns are multiples of ``2 ** len(channels)``.
        columns: What the conditions are, of which there are none.
        latent: Length of the latent vector.
        start: Channels at the coarsest size.
        channels: Channels after each block.
        block: Makes a block that doubles rows and columns.
        output: Makes the layers from the last channels to one.
        noise: Channels of Gaussian noise at the input of every block and of what follows the last.
        detail: Channels of a further Conv3-BN-ReLU at full size before the output, which then is
            ``2 tanh(relu(h)) - 1``, exactly -1 in empty pixels; 0 for none and ``tanh(h)``.
    """

    def __init__(
        self,
        images: Images,
        columns: Columns,
        latent: Count,
        start: Count,
        channels: Sequence[Count],
        block: Block,
        output: Callable[[int], nn.Module],
        noise: Whole,
        detail: Whole,
    ) -> None:
        super().__init__()
        size = images.size
        _check(size, len(channels))
        self.latent = latent
        self.noise = noise
        self.detail = detail
        self.base = (start, *(n // 2 ** len(channels) for n in size))
        self.first = nn.Linear(latent, math.prod(self.base))
        self.blocks = nn.ModuleList(
            block(a + noise, b) for a, b in zip([start, *channels[:-1]], channels, strict=True)
        )
        width = channels[-1] + noise
        self.last = (
            nn.Sequential(*_detail(width, detail), output(detail)) if detail else output(width)
        )

    def forward(
        self, n: int, cond: Tensor | None, generator: torch.Generator | None = None
    ) -> Tensor:
        """``n`` images ``(n, 1, rows, cols)``."""
        z = draws.normal((n, self.latent), self.first.weight, generator)
        h = self.first(z).unflatten(1, self.base)
        for block in self.blocks:
            h = block(self._noisy(h, generator))
        out = self.last(self._noisy(h, generator))
        if self.detail:
            return 2 * torch.tanh(torch.relu(out + MIDDLE)) - 1
        return torch.tanh(out)

    def _noisy(self, h: Tensor, generator: torch.Generator | None) -> Tensor:
        if not self.noise:
            return h
        shape = (h.shape[0], self.noise, *h.shape[2:])
        return torch.cat([h, draws.normal(shape, h, generator)], dim=1)


class ImageCritic(nn.Module):
    """Image, and a summary of it, to a score.

    Args:
        images: What images are; rows and columns are multiples of ``2 ** len(channels)``.
        columns: What the conditions are, of which there are none.
        channels: Channels after each block.
        block: Makes a block that halves rows and columns.
        hidden: Width of the layers that see the summary, 0 for a critic without.
    """

    def __init__(
        self,
        images: Images,
        columns: Columns,
        channels: Sequence[Count],
        block: Block,
        hidden: Whole,
    ) -> None:
        super().__init__()
        size = images.size
        _check(size, len(channels))
        self.blocks = nn.Sequential(
            *(block(a, b) for a, b in zip([1, *channels[:-1]], channels, strict=True))
        )
        self.last = nn.Linear(channels[-1] * math.prod(n // 2 ** len(channels) for n in size), 1)
        self.summarised = images.summarised
        self.joint = (
            MLP(images.summary, 1, [hidden, hidden], partial(nn.LeakyReLU, 0.2)) if hidden else None
        )

    def forward(self, x: Tensor, cond: Tensor | None) -> Verdict:
        """The verdict on ``(B, 1, rows, cols)``."""
        score = self.last(self.blocks(x).flatten(1))
        if self.joint is not None:
            score = score + self.joint(self.summarised(x[:, 0]))
        return Verdict(score)


def _check(size: tuple[int, int], blocks: int) -> None:
    if any(n % 2**blocks for n in size):
        raise UserError(
            f"{blocks} blocks halve images of {size[0]} x {size[1]} pixels unevenly: pad them to multiples "
            f"of {2**blocks} with model.transform.stride"
        )


def _detail(in_channels: int, channels: int) -> list[nn.Module]:
    conv = nn.Conv2d(in_channels, channels, 3, padding=1)
    return [conv, nn.BatchNorm2d(channels), nn.ReLU()]


@constructor
def plain_output(channels: int) -> nn.Module:
    """Conv 5x5 to one channel."""
    return nn.Conv2d(channels, 1, 5, padding=2)


@constructor
def normed_output(channels: int) -> nn.Module:
    """BN-ReLU-Conv3 to one channel."""
    return nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU(), nn.Conv2d(channels, 1, 3, padding=1))
