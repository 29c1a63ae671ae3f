"""``simulacra apply``: what a module that weighs or changes events makes of a file, streamed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig

from simulacra.cli import saved
from simulacra.cli.sample import chunk, data_of, provenance
from simulacra.cli.signals import interruptible
from simulacra.core import UserError
from simulacra.models import checkpoint

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
    config = saved.resolve(cfg)
    missing = [key for key in ("checkpoint", "input", "output") if config[key] is None]
    if missing:
        raise UserError(
            f"applying needs checkpoint=FILE input=FILE output=FILE, not given: {missing}"
        )
    given, target = Path(config["input"]), Path(config["output"])
    if target.resolve() == given.resolve():
        raise UserError(f"the output is the input, {given}: name another file")
    module = checkpoint.load(config["checkpoint"], allow=tuple(config["allow"]))
    datamodule = data_of(module.to(config["device"]), config)
    size = chunk(config["batch_size"], module)
    generator = torch.Generator(device=config["device"]).manual_seed(config["seed"])
    done, first, second = 0, 0.0, 0.0
    with (
        interruptible(),
        datamodule.format.writer(target, provenance(config, ASKED)) as writer,
    ):
        for batch in datamodule.format.iterate(given, size):
            changed = module.applied(datamodule.shown(batch), generator)
            writer.append(datamodule.native(changed))
            weight = changed.weight_or_one().double()
            done, first, second = (
                done + len(changed),
                first + float(weight.sum()),
                second + float(weight.square().sum()),
            )
    figures = {"weight/mean": first / done, "weight/effective": first**2 / (done * second)}
    print(
        f"wrote {target}: {done:,} events of {datamodule.format.spec.name}, mean weight "
        f"{figures['weight/mean']:.3f}, effective share {figures['weight/effective']:.3f}"
    )
    return {"events": done, "output": str(target), **figures}
