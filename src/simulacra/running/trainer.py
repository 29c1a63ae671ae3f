"""The Lightning trainer of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import Logger
from pytorch_lightning.plugins.environments import SLURMEnvironment
from pytorch_lightning.profilers import (
    AdvancedProfiler,
    Profiler,
    PyTorchProfiler,
    SimpleProfiler,
)
from pytorch_lightning.strategies import Strategy

from simulacra.callbacks.checkpoint import AtomicCheckpointIO
from simulacra.callbacks.interruption import EpochsFinished, Interruption
from simulacra.core import UserError
from simulacra.running.ranks import Family
from simulacra.running.strategy import CommandSignals, WatchedDDP, WatchedShards
from simulacra.training.module import Module

OWN = (
    "strategy",
    "backend",
    "compile",
    "channels_last",
    "recompute",
    "threads",
    "gradient_clip_val",
    "accumulate_grad_batches",
    "skip_nonfinite",
    "profiler",
)
PROFILERS: dict[str, type[Profiler]] = {
    "simple": SimpleProfiler,
    "advanced": AdvancedProfiler,
    "pytorch": PyTorchProfiler,
}
"""What measures where time goes: by stages of a training, by functions of Python, by operations of torch."""
PROFILE = "profile"
ROWS = 30
"""Lines of a profile that are shown."""
NAME = 56
"""Characters of the names in it."""


def build_trainer(
    config: Mapping[str, Any],
    module: Module,
    callbacks: Sequence[pl.Callback],
    loggers: Sequence[Logger],
    family: Family,
) -> pl.Trainer:
    """Make the trainer and give the module what Lightning does not do for several objectives.

    Args:
        config: The ``trainer`` part of the configuration: Lightning's arguments and our own
            (``strategy`` with its ``backend``, ``compile``, ``channels_last``,
            ``recompute``, ``threads``, ``skip_nonfinite``, ``profiler``).
        module: What is trained.
        callbacks: Callbacks.
        loggers: Trackers; may be empty.
        family: The processes of the training, with its run directory.

    Raises:
        UserError: If training would not end, or an argument is unknown to Lightning or unavailable
            on this machine.
    """
    several = not module.automatic_optimization
    if config["max_epochs"] in (None, -1) and config["max_steps"] in (None, -1):
        raise UserError("training needs an end: set trainer.max_epochs or trainer.max_steps")
    if config["threads"] is not None:
        torch.set_num_threads(config["threads"])
    module.clip = config["gradient_clip_val"]
    module.skips.allowed = config["skip_nonfinite"]
    module.accumulate = config["accumulate_grad_batches"] if several else 1
    if config["channels_last"]:
        module.channels_last()
    if config["recompute"]:
        module.recompute()
    if config["compile"]:
        module.compile_nets()
    options = {key: value for key, value in config.items() if key not in OWN}
    if not several:
        options["accumulate_grad_batches"] = config["accumulate_grad_batches"]
    if not config["enable_progress_bar"]:
        callbacks = [item for item in callbacks if not isinstance(item, pl.callbacks.ProgressBar)]
    plugins: list[Any] = [AtomicCheckpointIO()]
    if SLURMEnvironment.detect():
        plugins.append(SLURMEnvironment(auto_requeue=False))  # the launcher requeues
    strategy = _strategy(config, several, family)
    try:
        trainer = pl.Trainer(
            **options,
            strategy=strategy,
            plugins=plugins,
            profiler=_profiler(config.get("profiler"), family.folder),
            callbacks=[*callbacks, Interruption()],
            logger=list(loggers) or False,
            default_root_dir=family.folder,
            use_distributed_sampler=False,
            enable_checkpointing=any(
                isinstance(item, pl.callbacks.Checkpoint) for item in callbacks
            ),
        )
    except (TypeError, ValueError, pl.utilities.exceptions.MisconfigurationException) as error:
        raise UserError(f"the trainer cannot be made: {' '.join(str(error).split())}") from error
    trainer._signal_connector = CommandSignals(trainer)
    EpochsFinished.install(trainer)
    return trainer


def _profiler(name: str | None, folder: Path) -> Profiler | None:
    return None if name is None else PROFILERS[name](dirpath=folder, filename=PROFILE)


def profile(folder: Path) -> str:
    """What a profiler has found in a training, and where it stands; nothing where there was none."""
    path = folder / f"fit-{PROFILE}.txt"
    if not path.is_file():
        return ""
    lines = path.read_text(encoding="utf-8").rstrip().splitlines()[:ROWS]
    return "\n".join([*map(_narrow, lines), f"all of it: {path}"])


def _narrow(line: str) -> str:
    """A row of Lightning's table, whose names are as long as a callback with all of its settings."""
    cells = [cell.strip() for cell in line.split("|") if cell.strip()]
    if len(cells) < 2:
        return line[:NAME]
    return f"{cells[0][: NAME - 1]:<{NAME}}" + "".join(f"{cell[:14]:>15}" for cell in cells[1:])


def _strategy(config: Mapping[str, Any], several: bool, family: Family) -> str | Strategy:
    if config["strategy"] == "ddp":
        return WatchedDDP(family, config["backend"], find_unused=several)
    if config["strategy"] != "fsdp2":
        return str(config["strategy"])
    if several:
        raise UserError(
            "trainer.strategy=fsdp2 trains one objective, which takes every turn once: set "
            "trainer.strategy=ddp"
        )
    return WatchedShards(family, config["backend"])
