"""Events from a checkpoint, streamed into the public file format of its data set."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from simulacra.core import Conditions
from simulacra.data.base import EventDataModule
from simulacra.evaluation.checkpoints import (
    chunk,
    data_of,
    draw_paths,
    load,
    provenance,
    quickened,
)
from simulacra.evaluation.condition_files import of_file
from simulacra.evaluation.conditions import PRIOR, drawn, in_chunks
from simulacra.evaluation.outputs import check_output
from simulacra.evaluation.shards import NETWORK, NOISE, Shard, stream
from simulacra.running.signals import interruptible
from simulacra.training.generative import GenerativeModule, Redraws

log = logging.getLogger(__name__)

REDRAWN = "simulacra_redrawn_events"
"""Attribute of a file: how many of its events were drawn again since they were not finite."""


@dataclass(frozen=True)
class Sampled:
    """A file of generated events.

    Args:
        events: Their number.
        output: The file.
        data: Name of their data set.
    """

    events: int
    output: str
    data: str


Request = tuple[Conditions, Tensor | None, torch.Generator]
"""Conditions of a batch at most, the weights of its events, the source of its noise."""


def sample_resolved(config: dict[str, Any]) -> Iterator[Sampled]:
    """Generate as a resolved configuration (``conf/sample.yaml``) asks: one file, or with ``posterior_draws``
    one per network, each when it is written; with ``shard`` that part of each.

    Raises:
        UserError: See :func:`simulacra.cli.sample.sample`.
    """
    draws, part = config["posterior_draws"], config["shard"]
    shard = None if part is None else Shard.read(part)
    paths = [config["output"]] if draws is None else draw_paths(config["output"], draws)
    if shard is not None:
        paths = [shard.path(path) for path in paths]
    module = quickened(load(config).to(config["device"]), config)
    datamodule = data_of(module, config)
    for path in paths:
        check_output(path, datamodule.format, config["overwrite"])
    generator = torch.Generator(device=config["device"]).manual_seed(config["seed"])
    for number, path in enumerate(paths):
        requests = partial(_requests, config, module, datamodule, shard, generator, number)
        if draws is None:
            yield write(config, module, datamodule, requests, path)
            return
        weights = (
            generator
            if shard is None
            else stream(config["seed"], NETWORK, number, device=config["device"])
        )
        with module.one_network(weights):
            done = write({**config, "posterior_draw": number}, module, datamodule, requests, path)
        yield done


def _requests(
    config: dict[str, Any],
    module: GenerativeModule,
    datamodule: EventDataModule,
    shard: Shard | None,
    generator: torch.Generator,
    network: int,
) -> Iterator[Request]:
    """All batches with one source of noise, or those of a shard with one for each."""
    size = chunk(config["batch_size"], module)
    if shard is None:
        rows = conditions(config, module, datamodule, size)
        return ((cond, weight, generator) for cond, weight in rows)
    batches = shard.batches(config["n"], size)
    part = range(batches.start * size, min(config["n"], batches.stop * size))
    rows = conditions(config, module, datamodule, size, part)
    return (
        (cond, weight, stream(config["seed"], NOISE, network, batch, device=generator.device))
        for batch, (cond, weight) in zip(batches, rows, strict=True)
    )


def write(
    config: dict[str, Any],
    module: GenerativeModule,
    datamodule: EventDataModule,
    requests: Callable[[], Iterator[Request]],
    path: str,
) -> Sampled:
    """One file, all of it or nothing."""
    size = chunk(config["batch_size"], module)
    asked = requests()
    done, redraws = 0, Redraws(config["redraw"])
    with interruptible(), datamodule.format.writer(path, provenance(config)) as writer:
        for cond, weight, generator in asked:
            for batch in module.stream(cond, batch_size=size, generator=generator, redraws=redraws):
                writer.append(datamodule.native(replace(batch, weight=weight)))
                done += len(batch)
        writer.note({REDRAWN: redraws.events})
    if redraws.events:
        log.warning("%d of %d events were not finite and were drawn again", redraws.events, done)
    return Sampled(done, path, datamodule.native_spec.name)


def conditions(
    config: dict[str, Any],
    module: GenerativeModule,
    datamodule: EventDataModule,
    size: int,
    part: range | None = None,
) -> Iterator[tuple[Conditions, Tensor | None]]:
    """What to generate, ``size`` events at a time at most: conditions and weights of a file, or what is said
    of some conditions, while the others are drawn as in training; of all events, or of a part.
    """
    said = config["conditions"]
    if isinstance(said, str) and said != PRIOR:
        n, first = (config["n"], 0) if part is None else (part.stop, part.start)
        return of_file(module, datamodule, said, n, size, first)
    if said is None and module.given and module.record.conditions is None:
        log.warning(
            "%s does not remember the conditions of its training: they are drawn from the public prior",
            config["checkpoint"],
        )
    blocks = drawn(module, said, config["n"], config["seed"], part)
    return ((cond, None) for cond in in_chunks(blocks, size))
