"""The shards of a file, joined in order: the file that one process would have written."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py

from simulacra.core import UserError
from simulacra.evaluation import build
from simulacra.evaluation.outputs import check_output
from simulacra.evaluation.recognition import named, recognise
from simulacra.evaluation.shards import shards
from simulacra.formats.hdf5_data import attribute, open_hdf5
from simulacra.running.sample import REDRAWN, Sampled
from simulacra.running.signals import interruptible

REQUEST, CHECKPOINT = "simulacra_request", "simulacra_checkpoint_sha256"
Attributes = dict[str, str | int | float]


def merge_resolved(config: dict[str, Any]) -> Sampled:
    """Join as a resolved configuration (``conf/merge.yaml``) asks: one file, all of it or nothing.

    Raises:
        UserError: If shards are missing, or are parts of different requests, or the output is there already.
    """
    whole = config["output"]
    parts = shards(whole)
    if not parts:
        raise UserError(
            f"there are no shards of {whole}: sample output={whole} shard=1/2 makes one"
        )
    form = (
        named(build.build_data(config), parts[0]) if config.get("data") else recognise(parts[0])[0]
    ).form
    check_output(whole, form, config["overwrite"])
    done = 0
    with interruptible(), form.writer(whole, joined(parts)) as writer:
        for part in parts:
            for batch in form.iterate(part):
                writer.append(batch)
                done += len(batch)
    if config["remove"]:
        for part in parts:
            part.unlink()
    return Sampled(done, whole, form.spec.name)


def joined(parts: Sequence[Path]) -> Attributes:
    """Where the events of all parts come from, in formats that say so; what differs between them is left out.

    Raises:
        UserError: If they are parts of different requests.
    """
    found = [_attributes(part) for part in parts]
    first, redrawn = found[0], 0
    for part, own in zip(parts, found, strict=True):
        if _wanted(own) != _wanted(first):
            raise UserError(
                f"{part} is part of another request than {parts[0]}: sample it again, with overwrite=true"
            )
        redrawn += int(own.get(REDRAWN, 0))
    shared = {
        key: value
        for key, value in first.items()
        if key not in (REQUEST, REDRAWN) and all(own.get(key) == value for own in found)
    }
    if REQUEST not in first:
        return shared
    return {**shared, REQUEST: json.dumps(_wanted(first)[0] | {"shard": "1/1"}), REDRAWN: redrawn}


def _wanted(attributes: Attributes) -> tuple[dict[str, Any], object]:
    """The request but for the shard, and the weights."""
    request = json.loads(str(attributes.get(REQUEST, "{}")))
    return {key: value for key, value in request.items() if key != "shard"}, attributes.get(
        CHECKPOINT
    )


def _attributes(path: Path) -> Attributes:
    """What a file of HDF5 says of where it comes from; nothing of another."""
    if not path.is_file() or not h5py.is_hdf5(path):
        return {}
    with open_hdf5(path) as file:
        found = {name: attribute(file, path, name) for name in file.attrs}
    return {key: value for key, value in found.items() if isinstance(value, str | int | float)}
