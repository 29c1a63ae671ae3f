"""Which events make up each batch: a function of (seed, epoch, rank) alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
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
    """

    def __init__(
        self, n: int, batch_size: int, seed: int, train: bool, rank: int = 0, world: int = 1
    ) -> None:
        self.n, self.batch_size, self.seed, self.train = n, batch_size, seed, train
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
            return max(1, mine // self.batch_size) if mine else 0
        return (mine + self.batch_size - 1) // self.batch_size

    def __iter__(self) -> Iterator[list[int]]:
        if self.train:
            generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
            order = torch.randperm(self.n, generator=generator)[: self.n // self.world * self.world]
        else:
            order = torch.arange(self.n)
        mine = order[self.rank :: self.world]
        (epoch, first), self.done = self.done, (0, 0)
        for number in range(first if epoch == self.epoch else 0, len(self)):
            yield mine[number * self.batch_size : (number + 1) * self.batch_size].tolist()


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
