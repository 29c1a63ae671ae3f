"""Which events make up each batch: a function of (seed, epoch, rank) alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Sampler

from simulacra.core import Batch


class EpochSampler(Sampler[list[int]]):
    """Lists of positions, one list per batch.

    Training shuffles with a generator of its own and gives every rank equally many batches;
    evaluation goes through every event exactly once over all ranks.

    Args:
        n: Number of events.
        batch_size: Events per batch and rank.
        seed: Seed of the shuffling.
        train: Shuffle, and drop the events that fill no batch (unless that would leave none).
        rank: Number of this process.
        world: Number of processes.
        passes: Shuffled passes through the events that make up an epoch of training.
    """

    def __init__(
        self,
        n: int,
        batch_size: int,
        seed: int,
        train: bool,
        rank: int = 0,
        world: int = 1,
        passes: int = 1,
    ) -> None:
        self.n, self.batch_size, self.seed, self.train = n, batch_size, seed, train
        self.passes = passes
        self.rank, self.world, self.epoch = rank, world, 0
        self.done = (0, 0)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch's order; the trainer calls this."""
        self.epoch = epoch

    def skip(self, epoch: int, batches: int) -> None:
        """Leave out the first batches of the next pass if it is one of this epoch."""
        self.done = (epoch, batches)

    def __len__(self) -> int:
        mine = (
            self.n // self.world
            if self.train
            else (self.n - self.rank + self.world - 1) // self.world
        )
        if self.train:
            return self.passes * max(1, mine // self.batch_size) if mine else 0
        return (mine + self.batch_size - 1) // self.batch_size

    def order(self) -> Tensor:
        """Positions that this rank goes through in the present epoch, int64 ``(m,)``."""
        if not self.train:
            return torch.arange(self.n)[self.rank :: self.world]
        generator, whole = self.generator(), self.n // self.world * self.world
        found = [
            torch.randperm(self.n, generator=generator)[:whole][self.rank :: self.world]
            for _ in range(self.passes)
        ]
        return torch.cat([own[: len(self) // self.passes * self.batch_size] for own in found])

    def generator(self) -> torch.Generator:
        """Source of the present epoch's order, the same on every rank."""
        return torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)

    def __iter__(self) -> Iterator[list[int]]:
        mine = self.order()
        size = min(self.batch_size, max(1, self.n // self.world)) if self.train else self.batch_size
        (epoch, first), self.done = self.done, (0, 0)
        for number in range(first if epoch == self.epoch else 0, len(self)):
            yield mine[number * size : (number + 1) * size].tolist()


class ShareSampler(EpochSampler):
    r"""Training batches in which groups of events have fixed shares.

    An epoch is as long as all events together. Group :math:`k` of share :math:`s_k` fills
    :math:`c_k \approx s_k n` places of it, spread evenly, so that in every stretch of an epoch, and so in
    every batch, its share is right to within one event. Its events come in an order that is shuffled anew on
    each pass through them: those of a small group return within the epoch, a large one is not gone through.

    Args:
        groups: Positions of the events of each group, int64.
        shares: Of the groups, any positive numbers.
        batch_size, seed, rank, world: As of the base class.
    """

    def __init__(
        self,
        groups: Sequence[Tensor],
        shares: Sequence[float],
        batch_size: int,
        seed: int,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        super().__init__(sum(map(len, groups)), batch_size, seed, True, rank, world)
        self.groups = groups
        wanted = self.n * torch.tensor(shares, dtype=torch.float64) / sum(shares)
        counts = wanted.floor().long()
        left = self.n - int(counts.sum())
        counts[(wanted - counts).argsort(descending=True, stable=True)[:left]] += 1
        self.counts: list[int] = counts.tolist()

    def order(self) -> Tensor:
        """A rank takes every ``world``-th batch, so that each of its batches is one stretch of the epoch."""
        generator = self.generator()
        drawn = [
            passes(group, count, generator)
            for group, count in zip(self.groups, self.counts, strict=True)
        ]
        places = [(torch.arange(c).double() + 0.5) / max(1, c) for c in self.counts]
        order = torch.cat(drawn)[torch.cat(places).argsort(stable=True)]
        size = min(self.batch_size, self.n // self.world)
        whole = order[: len(self) * self.world * size].view(-1, self.world, size)
        return whole[:, self.rank].flatten()


def passes(group: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """``count`` positions of a group, one shuffled pass through it after the other."""
    number = range(-(-count // max(1, len(group))))
    found = [group[torch.randperm(len(group), generator=generator)] for _ in number]
    return torch.cat([group[:0], *found])[:count]


class EpochLoader(DataLoader[Batch]):
    """Batches of one epoch after the other, which can go on within an epoch.

    Loading begins when the first batch is asked for: by then the trainer has said which epoch it is and how
    much of it is done. (Worker processes would else load ahead in another epoch's order.)
    """

    sampler: EpochSampler
    _given: int = 0

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]  # Lightning needs no more
        epoch, done = self.sampler.done
        self._given = done if epoch == self.sampler.epoch else 0
        for batch in super().__iter__():
            self._given += 1
            yield batch

    def state_dict(self) -> dict[str, Any]:
        """How many batches of the present epoch have been handed out."""
        return {"epoch": self.sampler.epoch, "batches": self._given}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Begin that epoch behind those batches."""
        self.sampler.skip(state_dict["epoch"], state_dict["batches"])
