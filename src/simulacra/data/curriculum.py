r"""A curriculum of energies: training begins with the events of one incident energy and takes in the
others one after the other.

With the energies :math:`E_0 < \dots < E_{n-1}` of the training events the first is the middle one,
:math:`E_{\lfloor n/2 \rfloor}`; then come its neighbours, alternately the next one above and the next one
below, until all are open. What is open in a batch follows from its number in the whole run alone, so that
a resumed run goes on where it was left.

Reference: strategy "Sequential" of AtlFast3, arXiv:2109.02551.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import torch
from torch import Tensor

from simulacra.core.constructors import constructor
from simulacra.core.ranges import Count
from simulacra.data.sampler import EpochSampler, passes

MOST = 100
"""Incident energies of a data set that a curriculum can go through, at most."""


@constructor
@dataclass(frozen=True)
class Curriculum:
    """When energies are taken in.

    Args:
        first: Training batches of the middle energy alone.
        each: Training batches from one further energy to the next.
    """

    first: Count
    each: Count

    def open(self, batch: int) -> int:
        """How many energies are open in a batch of the run, counted from 0."""
        return 1 if batch < self.first else 2 + (batch - self.first) // self.each

    def length(self, energies: int) -> int:
        """Batches until all of some energies are open."""
        return self.first + self.each * (energies - 2) if energies > 1 else 0


def outwards(n: int) -> list[int]:
    """The numbers below ``n`` from the middle one on, alternately up and down; one side goes on alone."""
    middle = n // 2
    return sorted(range(n), key=lambda number: (abs(number - middle), number < middle))


class CurriculumSampler(EpochSampler):
    """Training batches under a curriculum.

    An epoch is as long as all events together. In a stretch of it in which the same energies are open, their
    events come in an order that is shuffled anew on each pass through them; an epoch with all energies
    open is as without a curriculum.

    Args:
        groups: Positions of the events of each energy, from the lowest to the highest, int64.
        curriculum: When they are taken in.
        batch_size: As of the base class, like all that follow.
        seed: See there.
        rank: See there.
        world: See there.
    """

    def __init__(
        self,
        groups: Sequence[Tensor],
        curriculum: Curriculum,
        batch_size: int,
        seed: int,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        super().__init__(sum(map(len, groups)), batch_size, seed, True, rank, world)
        self.groups = [groups[k] for k in outwards(len(groups))]
        self.curriculum = curriculum

    def order(self) -> Tensor:
        """A rank takes every ``world``-th event of each stretch."""
        stretches = list(self._stretches())
        if [opened for opened, _ in stretches] == [len(self.groups)]:
            return super().order()
        generator, size = self.generator(), min(self.batch_size, self.n // self.world)
        found = []
        for opened, batches in stretches:
            pool = torch.cat(self.groups[:opened]).sort().values
            drawn = passes(pool, batches * size * self.world, generator)
            found.append(drawn[self.rank :: self.world])
        return torch.cat(found)

    def _stretches(self) -> Iterator[tuple[int, int]]:
        """How many energies are open, and in how many of the epoch's batches that follow each other."""
        start = self.epoch * len(self)
        opened = (
            min(len(self.groups), self.curriculum.open(start + number))
            for number in range(len(self))
        )
        for count, group in groupby(opened):
            yield count, sum(1 for _ in group)
