"""Reading checkpoints: plain tensors and plain types, never code.

A checkpoint is self-contained: weights, spec, configuration, trained range and provenance. It is
read with ``weights_only=True``, and only classes that check out as simulacra's own are built from
its configuration.
"""

from __future__ import annotations

import copy
import pickle
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from simulacra.core import IncompatibleError, Spec, UserError
from simulacra.core.instantiate import Trust, instantiate
from simulacra.training.module import Module
from simulacra.training.record import FORMAT_VERSION, Record


def build(
    config: Mapping[str, Any], spec: Spec, *, trusted: bool = True, allow: Sequence[str] = ()
) -> Module:
    """Make a model from its resolved configuration (a file of ``conf/model``) and a spec.

    Raises:
        UserError: If the configuration names no model, or one that does not fit the spec.
    """
    arguments = {key: value for key, value in config.items() if key not in ("name", "size")}
    found: Module = instantiate(arguments, Module, Trust(trusted, allow), where="model", spec=spec)
    return found


def read(path: str | Path) -> dict[str, Any]:
    """The contents of a checkpoint file, on the CPU.

    Raises:
        UserError: If the file is missing, damaged, not a simulacra checkpoint, of another format,
            or holds code.
    """
    file = Path(path)
    if not file.is_file():
        raise UserError(f"there is no checkpoint {file}")
    try:
        contents = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UserError(
            f"{file} was not loaded: it holds objects other than tensors and plain values"
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise UserError(
            f"{file} is not a readable checkpoint: {' '.join(str(error).split())[:200]}"
        ) from error
    if (
        not isinstance(contents, dict)
        or "simulacra" not in contents
        or "state_dict" not in contents
    ):
        raise UserError(
            f"{file} is not a simulacra checkpoint: it lacks the entry 'simulacra' or 'state_dict'"
        )
    version = contents["simulacra"].get("format_version")
    if not isinstance(version, int) or version > FORMAT_VERSION:
        raise UserError(
            f"{file} has checkpoint format {version}, this version reads {FORMAT_VERSION}: update it"
        )
    if version < FORMAT_VERSION:
        raise UserError(
            f"{file} was written before version 0.2, whose models are composed otherwise: train again, or "
            "use the version that wrote it"
        )
    return contents


def load(
    path: str | Path,
    *,
    allow: Sequence[str] = (),
    changes: Mapping[str, Mapping[str, Any]] | None = None,
) -> Module:
    """A trained model, ready to be used, from its checkpoint alone.

    Args:
        path: Checkpoint file.
        allow: Prefixes of names outside simulacra that the checkpoint's configuration may build,
            for plug-in models.
        changes: Parts of the model's configuration that take the place of the saved ones, e.g.
            another ``solver`` of the model or, where it has none, of its parts; one without a ``_target_``
            changes fields of the saved one.

    Raises:
        UserError: See :func:`read`; also if the configuration names foreign code, the weights do
            not fit, or the model has no such part.
    """
    contents = read(path)
    entry = contents["simulacra"]
    spec = Spec.from_dict(entry["spec"])
    model = _changed(model_config(contents, path), changes or {})
    module = build(model, spec, trusted=False, allow=allow)
    load_weights(module, contents["state_dict"], str(path))
    module.record = Record.from_dict(entry)
    return module.eval()


def model_config(contents: Mapping[str, Any], path: str | Path) -> dict[str, Any]:
    """How the model of a checkpoint is built.

    Raises:
        UserError: If it does not say so.
    """
    model = contents["simulacra"]["config"].get("model")
    if not isinstance(model, dict) or "_target_" not in model:
        raise UserError(
            f"{path} does not say how its model is built: it was not saved by 'simulacra train'"
        )
    return model


def _changed(model: Mapping[str, Any], changes: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    changed = copy.deepcopy(dict(model))
    for name, part in changes.items():
        holders = list(_holders(changed, name))
        if not holders:
            raise UserError(f"{model.get('name')} has no {name} that could be changed")
        for holder in holders:
            holder[name] = dict(part) if "_target_" in part else {**holder[name], **part}
    return changed


def _holders(part: dict[str, Any], name: str) -> Iterator[dict[str, Any]]:
    """The model if it has a part of that name, else those of its parts that have one."""
    if isinstance(part.get(name), dict):
        yield part
        return
    for value in part.values():
        if isinstance(value, dict):
            yield from _holders(value, name)


def load_weights(module: Module, state: Mapping[str, torch.Tensor], origin: str) -> None:
    """Load weights strictly.

    Raises:
        IncompatibleError: If names or shapes differ.
    """
    mine = module.state_dict()
    wrong = [name for name in mine if name not in state or state[name].shape != mine[name].shape]
    wrong += [name for name in state if name not in mine]
    if wrong:
        raise IncompatibleError(
            f"the weights of {origin} do not fit {type(module).__name__} for {module.spec.name}: "
            f"{len(wrong)} entries differ, the first is {wrong[0]!r}"
        )
    module.load_state_dict(dict(state))


def fine_tune(module: Module, path: str | Path) -> None:
    """Start from the weights of a checkpoint of the same kind of data; the transform keeps its new
    statistics.

    Raises:
        IncompatibleError: If the kinds or the shapes of the weights differ.
    """
    contents = read(path)
    theirs = Spec.from_dict(contents["simulacra"]["spec"])
    if theirs.kind != module.spec.kind:
        raise IncompatibleError(
            f"{path} was trained on {theirs.kind} data, {module.spec.name} is {module.spec.kind} data"
        )
    own = {
        name: value for name, value in module.state_dict().items() if name.startswith("transform.")
    }
    taken = {
        name: value
        for name, value in contents["state_dict"].items()
        if not name.startswith("transform.")
    }
    load_weights(module, {**taken, **own}, str(path))
