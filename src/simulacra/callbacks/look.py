"""Truth and what a module makes of it side by side: fixed noise, each event once over all ranks."""

from __future__ import annotations

import time
import weakref
from dataclasses import dataclass, replace

import pytorch_lightning as pl
import torch
from torch import distributed

from simulacra.core import Batch
from simulacra.data.base import EventDataModule
from simulacra.training.generative import NonFiniteEventsError
from simulacra.training.module import Module


@dataclass(frozen=True)
class Pair:
    """Events in the form in which they are judged.

    Args:
        truth: Events of the data set.
        generated: What the module is judged by, of a generator events with the same conditions and
            weights, position by position.
        asked: Number of events of the data set that both come from.
        seconds: Time that generating took, summed over the ranks.
        networks: The same of networks drawn from the module's posterior, where they were asked for.
    """

    truth: Batch
    generated: Batch
    asked: int
    seconds: float
    networks: tuple[Batch, ...] = ()


def pair(
    module: Module,
    datamodule: EventDataModule,
    part: str,
    events: int | None,
    seed: int,
    batch_size: int | None = None,
) -> Pair | None:
    """What a module makes of a part's first ``events`` events (None: all); call it on every rank.

    Returns:
        All events on rank 0, None on the others, in an order that does not depend on the number of ranks.

    Raises:
        NonFiniteEventsError: On every rank, if events of one are not finite.
    """
    rank, world = (
        (distributed.get_rank(), distributed.get_world_size())
        if distributed.is_initialized()
        else (0, 1)
    )
    chosen = datamodule.part(part)
    n = len(chosen) if events is None else min(events, len(chosen))
    mine = range(n * rank // world, n * (rank + 1) // world)
    share: Pair | NonFiniteEventsError | None = None
    if len(mine):
        found = chosen[mine]
        generator = torch.Generator(device=module.device).manual_seed(1_000_003 * seed + rank)
        start = time.perf_counter()
        try:
            made = module.judged(found, batch_size=batch_size, generator=generator)
        except NonFiniteEventsError as error:  # the other ranks wait for this one
            share = error
        else:
            seconds = time.perf_counter() - start
            truth = datamodule.native(module.truth(found))
            share = Pair(truth, datamodule.native(made), len(found), seconds)
    return _gather(share, rank, world)


def _gather(share: Pair | NonFiniteEventsError | None, rank: int, world: int) -> Pair | None:
    shares = [share]
    if world > 1:
        shares = [None] * world
        distributed.all_gather_object(shares, share)
    failed = [item for item in shares if isinstance(item, NonFiniteEventsError)]
    found = [item for item in shares if isinstance(item, Pair)]
    if failed:
        made = sum(item.made for item in failed) + sum(len(item.generated) for item in found)
        raise NonFiniteEventsError(sum(item.failed for item in failed), made)
    if rank or not found:
        return None
    if len(found) == 1:
        return found[0]
    return Pair(
        Batch.cat([item.truth for item in found]),
        Batch.cat([item.generated for item in found]),
        sum(item.asked for item in found),
        sum(item.seconds for item in found),
    )


_LAST: weakref.WeakKeyDictionary[pl.Trainer, tuple[tuple[int, int, int], Pair | None]] = (
    weakref.WeakKeyDictionary()
)


def validation_pair(trainer: pl.Trainer, module: Module, events: int, seed: int) -> Pair | None:
    """A pair of the validation part, shared by callbacks that ask for the same; call it on every rank.

    Returns:
        The pair on rank 0, None on the others.
    """
    key = (trainer.global_step, events, seed)
    if trainer not in _LAST or _LAST[trainer][0] != key:
        _LAST[trainer] = (key, pair(module, data_of(trainer), "val", events, seed))
    return _LAST[trainer][1]


def with_networks(
    found: Pair | None,
    trainer: pl.Trainer,
    module: Module,
    events: int,
    seed: int,
    draws: int,
) -> Pair | None:
    """Add validation events of networks drawn from the posterior; call it on every rank.

    Every rank draws the same networks, and every network has noise of its own.
    """
    made = []
    for number in range(draws):
        source = torch.Generator(device=module.device).manual_seed(1_000_003 * seed + number)
        with module.one_network(source):
            made.append(pair(module, data_of(trainer), "val", events, seed + 1 + number))
    several = tuple(item.generated for item in made if item is not None)
    return None if found is None else replace(found, networks=several)


def data_of(trainer: pl.Trainer) -> EventDataModule:
    """The trainer's data module."""
    datamodule = trainer.datamodule  # type: ignore[attr-defined]  # set by Trainer.fit, not declared
    assert isinstance(datamodule, EventDataModule)
    return datamodule


def due(trainer: pl.Trainer, number: int, every: int) -> bool:
    """Whether validation ``number`` (from 1) is looked at: the first, every ``every``-th, no sanity check."""
    return not trainer.sanity_checking and (number - 1) % every == 0
