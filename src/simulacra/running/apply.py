"""What a module that weighs or changes events makes of a file, streamed."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from simulacra.core import UserError
from simulacra.evaluation.checkpoints import chunk, data_of, provenance
from simulacra.evaluation.outputs import check_output
from simulacra.running.signals import interruptible
from simulacra.tasks import folds
from simulacra.training.module import Module

log = logging.getLogger(__name__)

ASKED = ("input", "batch_size", "seed", "device")


@dataclass(frozen=True)
class Applied:
    """The events of a file, weighed or changed.

    Args:
        events: Their number.
        output: The file that holds them.
        data: Name of their data set.
        mean: Mean weight.
        effective: Effective share of the events, ``(sum w)^2 / (n sum w^2)``.
    """

    events: int
    output: Path
    data: str
    mean: float
    effective: float

    @property
    def figures(self) -> dict[str, float]:
        """What the weights are like, by key."""
        return {"weight/mean": self.mean, "weight/effective": self.effective}


def apply_resolved(config: dict[str, Any]) -> Applied:
    """Apply as a resolved configuration (``conf/apply.yaml``) asks.

    Raises:
        UserError: For a checkpoint that changes no events, or a file that cannot be read or written; then no
            part of the output is left behind.
    """
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
    name = datamodule.format.spec.name
    return Applied(int(n), target, name, first / n, first**2 / (n * second or 1.0))


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
