"""Events from a checkpoint, streamed into the public file format of its data set."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from simulacra.core import Conditions
from simulacra.data.base import EventDataModule
from simulacra.evaluation.checkpoints import (
    check_output,
    chunk,
    data_of,
    draw_paths,
    load,
    provenance,
)
from simulacra.evaluation.condition_files import of_file
from simulacra.evaluation.conditions import PRIOR, drawn, in_chunks
from simulacra.running.signals import interruptible
from simulacra.training.generative import GenerativeModule, Redraws

log = logging.getLogger(__name__)


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


def sample_resolved(config: dict[str, Any]) -> Iterator[Sampled]:
    """Generate as a resolved configuration (``conf/sample.yaml``) asks: one file, or with ``posterior_draws``
    one per network, each when it is written.

    Raises:
        UserError: See :func:`simulacra.cli.sample.sample`.
    """
    draws = config["posterior_draws"]
    paths = [config["output"]] if draws is None else draw_paths(config["output"], draws)
    module = load(config).to(config["device"])
    datamodule = data_of(module, config)
    for path in paths:
        check_output(path, datamodule.format, config["overwrite"])
    generator = torch.Generator(device=config["device"]).manual_seed(config["seed"])
    if draws is None:
        yield write(config, module, datamodule, generator, paths[0])
        return
    for number, path in enumerate(paths):
        with module.one_network(generator):
            done = write({**config, "posterior_draw": number}, module, datamodule, generator, path)
        yield done


def write(
    config: dict[str, Any],
    module: GenerativeModule,
    datamodule: EventDataModule,
    generator: torch.Generator,
    path: str,
) -> Sampled:
    """One file, all of it or nothing."""
    size = chunk(config["batch_size"], module)
    asked = conditions(config, module, datamodule, size)
    done, redraws = 0, Redraws(config["redraw"])
    with interruptible(), datamodule.format.writer(path, provenance(config)) as writer:
        for cond, weight in asked:
            for batch in module.stream(cond, batch_size=size, generator=generator, redraws=redraws):
                writer.append(datamodule.native(replace(batch, weight=weight)))
                done += len(batch)
        writer.note({"simulacra_redrawn_events": redraws.events})
    if redraws.events:
        log.warning("%d of %d events were not finite and were drawn again", redraws.events, done)
    return Sampled(done, path, datamodule.native_spec.name)


def conditions(
    config: dict[str, Any],
    module: GenerativeModule,
    datamodule: EventDataModule,
    size: int,
) -> Iterator[tuple[Conditions, Tensor | None]]:
    """What to generate, ``size`` events at a time at most: conditions and weights of a file, or what is said
    of some conditions, while the others are drawn as in training.
    """
    said = config["conditions"]
    if isinstance(said, str) and said != PRIOR:
        return of_file(module, datamodule, said, config["n"], size)
    if said is None and module.given and module.record.conditions is None:
        log.warning(
            "%s does not remember the conditions of its training: they are drawn from the public prior",
            config["checkpoint"],
        )
    blocks = drawn(module, said, config["n"], config["seed"])
    return ((cond, None) for cond in in_chunks(blocks, size))
