"""What was run, for people: parameters, times, hardware, the checkpoint."""

from __future__ import annotations

import platform
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import nn

from simulacra.callbacks.throughput import Throughput
from simulacra.tracking import page
from simulacra.tracking.identity import command_line
from simulacra.training.module import Module

Facts = dict[str, str | Path]


def of_module(module: Module) -> Facts:
    """The model and its parameters."""
    model = module.record.config.get("model", {})
    named = [str(model.get("name", type(module).__name__)), *filter(None, [model.get("size")])]
    trained = count(item for item in module.parameters() if item.requires_grad)
    used = count(module.used_parameters())
    text = f"{page.count(trained)} ({trained:,}) trained"
    if used != trained:
        text += f", {page.count(used)} ({used:,}) in use afterwards"
    return {"model": ", ".join(map(str, named)), "parameters": text}


def of_training(module: Module, trainer: pl.Trainer, checkpoint: Path) -> Facts:
    """What a training was and took; on its rank 0."""
    facts: Facts = {"command": command_line(), **of_module(module)}
    facts["hardware"] = hardware(module.device, trainer.world_size)
    found = [item for item in trainer.callbacks if isinstance(item, Throughput)]  # type: ignore[attr-defined]
    steps = f"{trainer.global_step:,} steps in {trainer.current_epoch:,} epochs"
    if found and found[0].seconds:
        resumed = ", counted from where it was resumed" if trainer.ckpt_path else ""
        steps = f"{duration(found[0].seconds)} for {steps}, validation included{resumed}"
    facts["training"] = steps
    if checkpoint.is_file():
        facts["checkpoint"] = checkpoint
    return facts


def of_evaluation(config: Mapping[str, Any], module: Module | None) -> Facts:
    """What an evaluation of files, or of a checkpoint, was."""
    facts: Facts = {"command": command_line()}
    if module is not None:
        facts |= of_module(module)
        facts["checkpoint"] = Path(str(config["checkpoint"]))
        facts["hardware"] = hardware(module.device)
    return facts


def count(parameters: Iterable[nn.Parameter]) -> int:
    """Numbers in parameters, each parameter once."""
    unique = {id(item): item for item in parameters}
    return sum(item.numel() for item in unique.values())


def hardware(device: torch.device, processes: int = 1) -> str:
    """Name of a processor or card, and how it was used."""
    each = f", {processes} processes" if processes > 1 else ""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device) + each
    threads = torch.get_num_threads()
    return f"{processor()}, {threads} thread{'s' if threads > 1 else ''}{each}"


def processor() -> str:
    """Name of the CPU."""
    path = Path("/proc/cpuinfo")
    found = (
        re.search(r"^model name\s*:\s*(.+)$", path.read_text(), re.M) if path.is_file() else None
    )
    return found[1].strip() if found else platform.processor() or platform.machine()


def duration(seconds: float) -> str:
    """A time in two units at most: ``2 min 35 s``."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s"
    hours, rest = divmod(whole, 3600)
    minutes, left = divmod(rest, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {left} s"
