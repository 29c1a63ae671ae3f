"""Reading checkpoints: plain tensors and plain types, never code.

A checkpoint is self-contained: weights, spec, configuration, trained range and provenance. It is
read with ``weights_only=True``, and only classes that check out as simulacra's own are built from
its configuration.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from simulacra.core import IncompatibleError, Spec, UserError
from simulacra.core.archive import read_archive
from simulacra.core.instantiate import TRUSTED, Trust, instantiate
from simulacra.core.strict import read as typed
from simulacra.nn import sharding
from simulacra.training.adaptation import Adaptation, Full, merge
from simulacra.training.module import Module
from simulacra.training.parts import PARTS, Part
from simulacra.training.record import FORMAT_VERSION, Record
from simulacra.training.zoo import located

FACTOR, SLACK = 4, 10**6
"""A module may make weights, while it is built, that it does not keep: so many times as many, and more."""
STATES = ("state_dict", "current_model_state", "averaging_state")
"""Weights in a checkpoint: those that are used, and beside an average those of the training."""

PROGRESS: dict[str, Any] = {
    "epoch": int,
    "global_step": int,
    "loops": dict[str, dict],
    "callbacks": dict[str, dict],
    "optimizer_states": list[dict],
    "lr_schedulers": list[dict],
}
"""Types of what a training that goes on needs beside the weights."""


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
            holds code or values of another type than it should, or weights that are not finite.
    """
    if not isinstance(path, (str, os.PathLike)):
        raise UserError(f"a checkpoint is the path of a file, got {type(path).__name__}")
    file = located(path)
    try:
        there = file.is_file()
    except OSError as error:
        raise UserError(f"there is no checkpoint {file}: {error.strerror}") from error
    if not there:
        raise UserError(f"there is no checkpoint {file}")
    contents = read_archive(file)
    if "simulacra" not in contents or "state_dict" not in contents:
        raise UserError(
            f"{file} is not a simulacra checkpoint: it lacks the entry 'simulacra' or 'state_dict'"
        )
    try:
        _check_entry(contents["simulacra"])
        for name in STATES:
            if name in contents:
                _check_state(contents[name], name)
        for name, kind in PROGRESS.items():
            if name in contents:
                typed(kind, contents[name], f"its {name}")
    except UserError as error:
        raise UserError(f"{file} was not loaded: {error}") from error
    return contents


def _check_entry(entry: object) -> None:
    """The entry that makes a checkpoint self-contained.

    Raises:
        UserError: If a part of it is missing or of another type, or it is of another version.
    """
    if not isinstance(entry, dict):
        raise UserError(f"its entry 'simulacra' is a {type(entry).__name__}, expected a table")
    version = entry.get("format_version")
    if type(version) is not int or version < 1:
        raise UserError(
            f"its format_version is {str(version)[:50]!r}, expected a whole number from 1"
        )
    if version > FORMAT_VERSION:
        raise UserError(
            f"it has checkpoint format {version}, this version reads {FORMAT_VERSION}: update simulacra"
        )
    if version < FORMAT_VERSION:
        raise UserError(
            "it was written before version 0.2, whose models are composed otherwise: train again, or "
            "use the version that wrote it"
        )
    Record.from_dict(entry)
    Spec.from_dict(entry.get("spec"))


def _check_state(state: object, name: str) -> None:
    """Weights and statistics: tensors by name, all of them numbers.

    Raises:
        UserError: If they are not.
    """
    if not isinstance(state, dict):
        raise UserError(
            f"its entry {name!r} is a {type(state).__name__}, expected a table of tensors"
        )
    for key, value in state.items():
        if not isinstance(key, str) or not isinstance(value, torch.Tensor):
            raise UserError(f"its entry {name!r} holds a {type(value).__name__}, expected tensors")
    for key, wrong in diverged(state):
        raise _diverged(key, wrong)


def diverged(state: Mapping[str, torch.Tensor]) -> Iterator[tuple[str, torch.Tensor]]:
    """Entries that are not finite, and where; a transform may mark with infinity what it does not use."""
    for name, value in state.items():
        wrong = value.isnan() if name.startswith("transform.") else ~value.isfinite()
        if bool(wrong.any()):
            yield name, wrong


def _diverged(name: str, wrong: torch.Tensor) -> UserError:
    return UserError(
        f"{int(wrong.sum()):,} of {wrong.numel():,} values of {name} are not finite: the training that wrote "
        "them diverged, take an earlier checkpoint or train with a smaller learning rate"
    )


def load(
    path: str | Path,
    *,
    allow: Sequence[str] = (),
    changes: Mapping[str, Mapping[str, Any]] | None = None,
) -> Module:
    """A trained model, ready to be used, from its checkpoint alone.

    Args:
        path: Checkpoint file, or ``zoo:NAME``.
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
    with _no_more_weights_than(contents["state_dict"]):
        module = build(model, spec, trusted=False, allow=allow)
    adaptation, parts = adapted(entry["config"], Trust(False, allow))
    adaptation.grow(module, parts)
    load_weights(module, contents["state_dict"], str(path))
    merge(module)
    module.record = Record.from_dict(entry)
    return module.eval()


@contextmanager
def _no_more_weights_than(state: Mapping[str, torch.Tensor]) -> Iterator[None]:
    """Refuse to build a module in the block that has many times the weights of a file, before they fill the
    memory.
    """
    most = SLACK + FACTOR * sum(value.numel() for value in state.values())
    found = 0

    def count(module: nn.Module, name: str, value: nn.Parameter | None) -> None:
        nonlocal found
        found += 0 if value is None else value.numel()
        if found > most:
            raise UserError(
                "the configuration describes a model with many times the weights that the checkpoint "
                "holds: it was not built"
            )

    hook = register_module_parameter_registration_hook(count)
    try:
        yield
    finally:
        hook.remove()


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

    A statistic may be infinite where the module itself marks with infinity what is not in use.

    Raises:
        IncompatibleError: If names or shapes differ.
        UserError: If a weight or statistic is not finite.
    """
    mine = module.state_dict()
    wrong = [name for name in mine if name not in state or state[name].shape != mine[name].shape]
    wrong += [name for name in state if name not in mine]
    if wrong:
        raise IncompatibleError(
            f"the weights of {origin} do not fit {type(module).__name__} for {module.spec.name}: "
            f"{len(wrong)} entries differ, the first is {wrong[0]!r}"
        )
    marked = {name for name, value in module.named_buffers() if bool(value.isinf().any())}
    for name, value in state.items():
        if name not in marked and not bool(value.isfinite().all()):
            raise UserError(f"{origin} was not loaded: {_diverged(name, ~value.isfinite())}")
    sharding.load_state(module, state)


def adapted(config: Mapping[str, Any], trust: Trust = TRUSTED) -> tuple[Adaptation, Sequence[Part]]:
    """How the weights of a run's checkpoint are adapted, and which parts come from it.

    Raises:
        UserError: If some shall be, and there is no checkpoint.
    """
    entry, init = config.get("adapt"), config.get("init")
    found: Adaptation = Full() if entry is None else instantiate(entry, Adaptation, trust, "adapt")
    if not isinstance(found, Full) and not (isinstance(init, Mapping) and init.get("checkpoint")):
        raise UserError(
            f"{type(found).__name__} adapts a trained model: give its checkpoint as init=FILE, or adapt=full"
        )
    parts = init.get("parts") if isinstance(init, Mapping) else None
    return found, PARTS if parts is None else parts
