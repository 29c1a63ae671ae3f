"""``simulacra sample``: events from a checkpoint, streamed into the public file format of its data set."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig

from simulacra import data
from simulacra.cli import saved
from simulacra.cli.signals import interruptible
from simulacra.core import Batch, Conditions, UserError
from simulacra.data.base import EventDataModule
from simulacra.formats.base import Format
from simulacra.models import checkpoint
from simulacra.models.base import GenerativeModule
from simulacra.tracking.identity import identity


def sample(cfg: DictConfig) -> dict[str, Any]:
    """Generate as configured (``conf/sample.yaml``).

    Returns:
        Number of events and the file.

    Raises:
        UserError: For a number of events or a batch size below 1, a checkpoint or a file of conditions
            that cannot be used, a disk that is full; then no part of the output is left behind.
    """
    config = saved.resolve(cfg)
    if config["output"] is None or config["checkpoint"] is None:
        raise UserError("sampling needs checkpoint=FILE and output=FILE")
    if config["n"] is None and config["conditions"] is None:
        raise UserError("sampling needs n=NUMBER or conditions=FILE")
    if config["n"] is not None and config["n"] < 1:
        raise UserError(f"the number of events must be at least 1, got n={config['n']}")
    module = load(config).to(config["device"])
    datamodule = data_of(module, config)
    size = chunk(config["batch_size"], module)
    generator = torch.Generator(device=config["device"]).manual_seed(config["seed"])
    asked = conditions(config, module, datamodule, size, generator)
    done = 0
    with interruptible(), datamodule.format.writer(config["output"], provenance(config)) as writer:
        for cond in asked:
            for batch in module.stream(cond, batch_size=size, generator=generator):
                writer.append(datamodule.native(batch))
                done += len(batch)
    print(f"wrote {config['output']}: {done:,} events of {datamodule.native_spec.name}")
    return {"events": done, "output": str(config["output"])}


def load(config: dict[str, Any]) -> GenerativeModule:
    """The model of a checkpoint, with another solver where one is asked for."""
    solver = config.get("solver")
    changes = {} if solver is None else {"solver": solver}
    return checkpoint.load(config["checkpoint"], allow=tuple(config["allow"]), changes=changes)


def data_of(module: GenerativeModule, config: dict[str, Any]) -> EventDataModule:
    """The data set that a model was trained on: its format and its view; no file of it is opened."""
    entry = module.record.config.get("data")
    if entry is None:
        raise UserError(f"{config['checkpoint']} does not say on what data it was trained")
    return data.build(entry, trusted=False, allow=tuple(config["allow"]))


def chunk(asked: int | None, module: GenerativeModule) -> int:
    """Events at once."""
    if asked is None:
        return module.spec.sample_batch
    if asked < 1:
        raise UserError(f"batch_size must be at least 1, got {asked}")
    return asked


def conditions(
    config: dict[str, Any],
    module: GenerativeModule,
    datamodule: EventDataModule,
    size: int,
    generator: torch.Generator,
) -> Iterator[Conditions]:
    """What to generate, a chunk at a time: from a file, or from the prior of the data set."""
    n = config["n"]
    if config["conditions"] is None:
        cpu = torch.Generator().manual_seed(config["seed"])
        for start in range(0, n, size):
            yield module.draw_conditions(min(size, n - start), cpu)
        return
    left = n
    for native in read(datamodule.format, config["conditions"], size):
        batch = native if datamodule.view is None else datamodule.view.forward(native)
        wanted = batch if left is None else batch[: min(left, len(batch))]
        if not len(wanted):
            return
        yield wanted.conditions(module.given)
        left = None if left is None else left - len(wanted)
    if left:
        raise UserError(f"{config['conditions']} holds {n - left} events, but n={n} are asked for")


def read(form: Format, path: str, size: int) -> Iterator[Batch]:
    """Events of a file whose conditions are wanted."""
    if not Path(path).exists():
        raise UserError(f"there is no file {path}")
    return form.iterate(path, size)


def provenance(config: dict[str, Any]) -> dict[str, str | int | float]:
    """Where the events come from, for the attributes of the file."""
    sha = hashlib.sha256(Path(config["checkpoint"]).read_bytes()).hexdigest()
    asked = {
        key: config.get(key)
        for key in ("n", "conditions", "batch_size", "seed", "solver", "device")
    }
    found: dict[str, str | int | float] = {
        "simulacra_checkpoint": str(config["checkpoint"]),
        "simulacra_checkpoint_sha256": sha,
    }
    found["simulacra_request"] = json.dumps(asked)
    return found | {
        f"simulacra_{key.replace('-', '_')}": value for key, value in identity().items()
    }
