"""``simulacra export``: a generator as one file for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from simulacra.core import UserError
from simulacra.deploy.export.formats import FORMATS
from simulacra.deploy.export.origin import origin
from simulacra.deploy.export.write import write, write_weights
from simulacra.evaluation import saved
from simulacra.evaluation.checkpoints import load
from simulacra.evaluation.schema import Export
from simulacra.running.signals import interruptible
from simulacra.training import zoo


def export(cfg: DictConfig) -> dict[str, Any]:
    """Export as configured (``conf/export.yaml``).

    Returns:
        The folder, and the largest relative difference from Python on the pairs.

    Raises:
        UserError: For a generator that cannot be unrolled, a contract that does not fit, a graph that differs
            from Python, a package that is missing, or a folder that is there already or cannot be written;
            then no part of it is left behind.
    """
    config = saved.resolve(cfg, Export)
    if config["checkpoint"] is None:
        raise UserError("exporting needs checkpoint=FILE")
    folder = place(config)
    with interruptible():
        module = load(config).exported()
        told = origin(module, config)
        if config["format"] == "safetensors":
            if config["contract"] != "plain":
                raise UserError(
                    f"format=safetensors is weights alone, contract={config['contract']} needs a graph"
                )
            size = write_weights(module, folder, told, config["overwrite"])
            print(f"wrote {folder}: weights of {type(module).__name__}, {size / 1e6:.1f} MB")
            return {"output": str(folder)}
        form = FORMATS[config["format"]]
        done = write(
            module, config["contract"], form, folder, told, config["seed"], config["overwrite"]
        )
    print(
        f"wrote {folder}: {type(module).__name__} as {config['format']} for {config['contract']}, "
        f"{done.bytes / 1e6:.1f} MB; largest relative difference from Python {done.agreement}"
    )
    return {"output": str(folder), "difference": done.agreement.largest}


def place(config: dict[str, Any]) -> Path:
    """The folder; for a member of the zoo below the current one."""
    if config["output"] is not None:
        return Path(config["output"])
    checkpoint = Path(zoo.named(config["checkpoint"]) or config["checkpoint"])
    return checkpoint.with_name(f"{checkpoint.stem}_{config['contract']}_{config['format']}")
