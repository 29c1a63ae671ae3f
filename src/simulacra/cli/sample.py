"""``simulacra sample``: events from a checkpoint, streamed into the public file format of its data set."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig
from torch import Tensor

from simulacra.cli.signals import interruptible
from simulacra.core import Batch, Conditions, UserError
from simulacra.data.base import EventDataModule
from simulacra.evaluation import saved
from simulacra.evaluation.checkpoints import chunk, data_of, draw_paths, load, provenance
from simulacra.evaluation.schema import Sample
from simulacra.formats.base import Format
from simulacra.training.generative import GenerativeModule, Redraws

log = logging.getLogger(__name__)


def sample(cfg: DictConfig) -> dict[str, Any]:
    """Generate as configured (``conf/sample.yaml``).

    Returns:
        Number of events of each file and the file, or with ``posterior_draws`` the files, one per network.

    Raises:
        UserError: For a number of events or a batch size below 1, a checkpoint or a file of conditions
            that cannot be used, a disk that is full; then no part of the output is left behind.
    """
    config = saved.resolve(cfg, Sample)
    if config["output"] is None or config["checkpoint"] is None:
        raise UserError("sampling needs checkpoint=FILE and output=FILE")
    if config["n"] is None and config["conditions"] is None:
        raise UserError("sampling needs n=NUMBER or conditions=FILE")
    draws = config["posterior_draws"]
    module = load(config).to(config["device"])
    generator = torch.Generator(device=config["device"]).manual_seed(config["seed"])
    if draws is None:
        done = write(config, module, generator, str(config["output"]))
        return {"events": done, "output": str(config["output"])}
    paths = draw_paths(config["output"], draws)
    for number, path in enumerate(paths):
        with module.one_network(generator):
            done = write({**config, "posterior_draw": number}, module, generator, path)
    return {"events": done, "output": paths}


def write(
    config: dict[str, Any], module: GenerativeModule, generator: torch.Generator, path: str
) -> int:
    """One file, all of it or nothing; returns the number of its events."""
    datamodule = data_of(module, config)
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
    print(f"wrote {path}: {done:,} events of {datamodule.native_spec.name}")
    return done


def conditions(
    config: dict[str, Any],
    module: GenerativeModule,
    datamodule: EventDataModule,
    size: int,
) -> Iterator[tuple[Conditions, Tensor | None]]:
    """What to generate, ``size`` events at a time at most: conditions and weights of the events of a file, or
    conditions from the prior of the data set.
    """
    n = config["n"]
    if config["conditions"] is None:
        cpu = torch.Generator().manual_seed(config["seed"])
        for start in range(0, n, size):
            yield module.draw_conditions(min(size, n - start), cpu), None
        return
    left = n
    for native in read(datamodule.format, config["conditions"], size):
        batch = datamodule.shown(native)
        wanted = batch if left is None else batch[: min(left, len(batch))]
        if not len(wanted):
            return
        yield wanted.conditions(module.given), wanted.weight
        left = None if left is None else left - len(wanted)
    if left:
        raise UserError(f"{config['conditions']} holds {n - left} events, but n={n} are asked for")


def read(form: Format, path: str, size: int) -> Iterator[Batch]:
    """Events of a file whose conditions are wanted."""
    if not Path(path).exists():
        raise UserError(f"there is no file {path}")
    return form.iterate(path, size)
