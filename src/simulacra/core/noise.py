"""Numbers that a sampler takes in the place of random ones, of an exported graph or a latent space.

A first run of the sampler records how many numbers of which distribution every event takes, in order; those
are then slices of two inputs, standard normal ``(B, n)`` and uniform ``(B, m)``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from simulacra.core import UserError
from simulacra.core.draws import Kind, Source

KINDS: tuple[Kind, ...] = ("normal", "uniform")


@dataclass(frozen=True)
class Draw:
    """One draw of a sampler.

    Args:
        kind: Distribution.
        width: Numbers per event.
    """

    kind: Kind
    width: int


class Recording(Source):
    """Random numbers, of which is noted how many each event takes.

    Args:
        events: Number of events of the run; a prime one, so that no other axis is taken for that of events.
        generator: Source of the numbers.
    """

    def __init__(self, events: int, generator: torch.Generator) -> None:
        self.events, self.generator = events, generator
        self.draws: list[Draw] = []

    def take(self, kind: Kind, shape: Sequence[int]) -> Tensor:
        """See :meth:`Source.take`.

        Raises:
            UserError: If the numbers are not those of single events.
        """
        if not shape or shape[0] % self.events:
            raise UserError(
                f"the sampler draws {kind} numbers of shape {tuple(shape)} for {self.events} events: an "
                "exported graph takes numbers of single events alone"
            )
        self.draws.append(Draw(kind, math.prod(shape) // self.events))
        return _numbers(kind, tuple(shape), self.generator)


class Slices(Source):
    """Numbers that are columns of tensors, in the order of recorded draws.

    Args:
        draws: What was recorded.
        numbers: By distribution all numbers of the events ``(B, n)``.
    """

    def __init__(self, draws: Sequence[Draw], numbers: Mapping[Kind, Tensor]) -> None:
        self.left: Iterator[Draw] = iter(draws)
        self.numbers = numbers
        self.used = dict.fromkeys(KINDS, 0)

    def take(self, kind: Kind, shape: Sequence[int]) -> Tensor:
        """See :meth:`Source.take`.

        Raises:
            UserError: If the sampler does not draw as it did when it was recorded.
        """
        draw = next(self.left, None)
        if draw is None or draw.kind != kind:
            raise UserError(
                "the sampler does not draw the same numbers each time: it cannot be exported"
            )
        start = self.used[kind]
        self.used[kind] = start + draw.width
        return self.numbers[kind][:, start : start + draw.width].reshape(-1, *shape[1:])


def widths(draws: Sequence[Draw]) -> dict[Kind, int]:
    """Numbers per event of each distribution, 0 where there are none."""
    return {kind: sum(draw.width for draw in draws if draw.kind == kind) for kind in KINDS}


def drawn(kind: Kind, events: int, width: int, generator: torch.Generator) -> Tensor:
    """Numbers ``(events, width)`` of a distribution."""
    return _numbers(kind, (events, width), generator)


def _numbers(kind: Kind, shape: Sequence[int], generator: torch.Generator) -> Tensor:
    make = {"normal": torch.randn, "uniform": torch.rand}[kind]
    return make(*shape, generator=generator)
