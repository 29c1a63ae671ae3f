"""``simulacra apply``: what a module that weighs or changes events makes of a file, streamed."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig

from simulacra.cli.signals import interruptible
from simulacra.core import UserError
from simulacra.evaluation import saved
from simulacra.evaluation.checkpoints import check_output, chunk, data_of, provenance
from simulacra.evaluation.schema import Apply
from simulacra.tasks import folds
from simulacra.training.module import Module

log = logging.getLogger(__name__)

ASKED = ("input", "batch_size", "seed", "device")


def apply(cfg: DictConfig) -> dict[str, Any]:
    """Apply as configured (``conf/apply.yaml``).

    Returns:
        Number of events and the file; of weighted events the mean weight and the effective share
        ``(sum w)^2 / (n sum w^2)``.

    Raises:
        UserError: For a checkpoint that changes no events, or a file that cannot be read or written; then no
            part of the output is left behind.
    """
    config = saved.resolve(cfg, Apply)
    missing = [key for key in ("checkpoint", "input", "output") if config[key] is None]
    if missing:
        raise UserError(
            f"applying needs checkpoint=FILE input=FILE output=FILE, not given: {missing}"
        )
    given, target = Path(config["input"]), Path(config["output"])
    if target.resolve() == given.resolve():
        raise UserError(f"the output is the input, {given}: name another file")
    module = folds.load(config["checkpoint"], allow=tuple(config["allow"]))
    datamodule = data_of(module.to(config["device"]), config)
    check_output(config["output"], datamodule.format, config["overwrite"])
    size = chunk(config["batch_size"], module)
    generator = torch.Generator(device=config["device"]).manual_seed(config["seed"])
    sums = torch.zeros(3, dtype=torch.float64)  # of 1, w and w^2
    origin = {**provenance(config, ASKED), **input_hash(given, module)}
    with interruptible(), datamodule.format.writer(target, origin) as writer:
        for batch in datamodule.format.iterate(given, size):
            changed = module.applied(datamodule.shown(batch), generator)
            writer.append(datamodule.native(changed))
            weight = changed.weight_or_one().double()
            sums += torch.stack([weight**power for power in range(3)]).sum(1)
    n, first, second = sums.tolist()
    figures = {"weight/mean": first / n, "weight/effective": first**2 / (n * second or 1.0)}
    print(
        f"wrote {target}: {int(n):,} events of {datamodule.format.spec.name}, mean weight "
        f"{figures['weight/mean']:.3f}, effective share {figures['weight/effective']:.3f}"
    )
    return {"events": int(n), "output": str(target), **figures}


def input_hash(path: Path, module: Module) -> dict[str, str]:
    """SHA-256 of the input if it is one file, for the attributes of the output; a warning if the module was
    trained on it and does not know its events again.
    """
    if not path.is_file():
        return {}
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if not module.record.learnt and any(
        "train" in key.split("/")[:-1] and found == value
        for key, value in module.record.provenance.items()
    ):
        log.warning(
            "%s is a file that %s was trained on: its weights follow the fluctuations of its events",
            path,
            type(module).__name__,
        )
    return {"simulacra_input_sha256": found}
