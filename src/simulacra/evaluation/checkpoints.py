"""Checkpoints that a command is given: the module, its data set, and what is written of its origin."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from simulacra import data
from simulacra.core import UserError
from simulacra.data.base import EventDataModule
from simulacra.tasks import folds
from simulacra.tracking.identity import identity
from simulacra.training import generator_set, served, zoo
from simulacra.training.generative import GenerativeModule
from simulacra.training.module import Module

ASKED = (
    *("n", "conditions", "batch_size", "seed", "solver", "device", "compile", "graph"),
    *("posterior_draw", "shard"),
)


def draw_paths(output: str, draws: int) -> list[str]:
    """One file per network: ``showers.hdf5`` becomes ``showers_draw0.hdf5``, ``showers_draw1.hdf5`` ..."""
    whole = Path(output)
    return [str(whole.with_stem(f"{whole.stem}_draw{number}")) for number in range(draws)]


def load(config: dict[str, Any]) -> GenerativeModule:
    """The generator of a checkpoint, or of a file that joins some, with another solver where one is asked
    for.

    Raises:
        UserError: If the checkpoint holds a module of another task.
    """
    solver = config.get("solver")
    changes = {} if solver is None else {"solver": solver}
    found = generator_set.load(config["checkpoint"], allow=tuple(config["allow"]), changes=changes)
    return generator_of(found, str(config["checkpoint"]))


def quickened(module: GenerativeModule, config: dict[str, Any]) -> GenerativeModule:
    """A generator on its device, with compiled networks or a recorded sampler where that is asked for.

    Raises:
        UserError: If no sampler can be recorded there.
    """
    if config["compile"]:
        module.compile_nets()
    if config["graph"]:
        module.use_graphs()
    return module


def generator_of(module: Module, origin: str) -> GenerativeModule:
    """The module, if it generates events.

    Raises:
        UserError: If it does something else with them.
    """
    if not isinstance(module, GenerativeModule):
        raise UserError(
            f"{origin} is a {type(module).__name__}, which generates no events: give a generator, "
            "or use simulacra apply"
        )
    return module


def data_of(module: Module, config: dict[str, Any]) -> EventDataModule:
    """The data set that a model was trained on: its format and its view; no file of it is opened."""
    entry = module.record.config.get("data")
    if entry is None:
        raise UserError(f"{config['checkpoint']} does not say on what data it was trained")
    return data.build(entry, trusted=False, allow=tuple(config["allow"]))


def chunk(asked: int | None, module: Module) -> int:
    """Events at once."""
    return module.spec.sample_batch if asked is None else asked


def provenance(config: dict[str, Any], keys: Sequence[str] = ASKED) -> dict[str, str | int | float]:
    """Where the events come from, for the attributes of the file: the checkpoint, entries of the request, the
    code.
    """
    asked = {key: config.get(key) for key in keys}
    found: dict[str, str | int | float] = {
        "simulacra_checkpoint": str(config["checkpoint"]),
        "simulacra_checkpoint_sha256": _sha(zoo.located(config["checkpoint"])),
    }
    if served.is_list(config["checkpoint"]):
        groups = folds.members(config["checkpoint"])
        paths = (
            [item.path for item in served.read(config["checkpoint"])]
            if groups is None
            else [path for group in groups for path in group]
        )
        found["simulacra_members"] = json.dumps({str(path): _sha(path) for path in paths})
    found["simulacra_request"] = json.dumps(asked)
    return found | {
        f"simulacra_{key.replace('-', '_')}": value for key, value in identity().items()
    }


def _sha(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
