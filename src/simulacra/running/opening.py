"""The first lines of a training: what is trained, where, on what, and where the run is seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import Logger

from simulacra.data.base import EventDataModule
from simulacra.tracking.base import trackers
from simulacra.tracking.stages import say
from simulacra.training.module import Module


def opening(
    config: Mapping[str, Any],
    module: Module,
    datamodule: EventDataModule,
    trainer: pl.Trainer,
    run: Path,
    loggers: Sequence[Logger],
) -> None:
    """Say it, once for all processes."""
    say("model", f"{model(config['model'], module)}, on {device(trainer)}")
    say("data", data(datamodule))
    say("run", str(run))
    for tracker in trackers(loggers):
        say(str(tracker.label), tracker.where())


def model(config: Mapping[str, Any], module: Module) -> str:
    """Name, size, class and number of parameters."""
    family = type(module).__name__
    size = f" ({config['size']})" if config.get("size") else ""
    number = sum(item.numel() for item in module.parameters())
    moved = sum(item.numel() for item in module.parameters() if item.requires_grad)
    rest = "" if moved == number else f", of which {moved:,} are trained"
    return f"{config['name']}{size}, {family}: {number:,} parameters{rest}"


def data(datamodule: EventDataModule) -> str:
    """The data set and the numbers of its events."""
    names = {"train": "training", "val": "validation", "test": "test"}
    sizes = [f"{number:,} {names[part]}" for part, number in datamodule.sizes().items()]
    return f"{datamodule.native_spec.name}: {', '.join(sizes[:-1])} and {sizes[-1]} events"


def device(trainer: pl.Trainer) -> str:
    """Where it runs: ``cpu with 2 threads``, ``cuda (NVIDIA H200)``, ``4 processes on cpu``."""
    root = trainer.strategy.root_device
    name = root.type
    if root.type == "cuda":
        name += f" ({torch.cuda.get_device_name(root)})"
    if root.type == "cpu":
        threads = torch.get_num_threads()
        name += " with 1 thread" if threads == 1 else f" with {threads} threads"
    return name if trainer.world_size == 1 else f"{trainer.world_size} processes on {name}"
