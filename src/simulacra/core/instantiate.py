"""The only place that turns configuration into objects.

A configuration that a user wrote may name any class. One that comes out of a checkpoint or a saved
run is data from
elsewhere: there only classes and functions that are *defined* under ``simulacra.`` (or an optimizer
of ``torch.optim``, or under a prefix that the user allows) are called, and everything is checked
before anything is.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import hydra.utils
from omegaconf import DictConfig, OmegaConf

from simulacra.core.errors import UserError

SAFE = ("simulacra.", "torch.optim.")
"""Where objects named by a foreign configuration may be defined."""


def instantiate(
    config: Any, *, trusted: bool = True, allow: Sequence[str] = (), **arguments: Any
) -> Any:
    """Build the object that ``config['_target_']`` names, nested ones included.

    Args:
        config: Mapping with a ``_target_``; interpolations must be resolvable.
        trusted: False for a configuration from a checkpoint or a saved run.
        allow: Further prefixes of names that an untrusted configuration may use.
        arguments: Further arguments of the outermost call.

    Raises:
        UserError: If the configuration is untrusted and names anything else, or names what does not
            exist.
    """
    plain: Any = (
        OmegaConf.to_container(config, resolve=True) if isinstance(config, DictConfig) else config
    )
    if not trusted:
        for target in targets(plain):
            check_target(target, allow)
    try:
        if not arguments:
            return hydra.utils.instantiate(plain, _convert_="all")
        # Hydra would turn a dataclass among the arguments into a configuration: they are given afterwards
        made = hydra.utils.instantiate({**plain, "_partial_": True}, _convert_="all")
    except hydra.errors.InstantiationException as error:
        cause = error.__cause__
        if isinstance(cause, UserError):
            raise cause from None
        reason = f"{error}: {cause}" if cause else str(error)
        raise UserError(" ".join(reason.replace("full_key:", "in").split())) from error
    try:
        inspect.signature(made).bind(**arguments)
    except TypeError as error:
        raise UserError(f"{plain['_target_']} cannot be built: {error}") from error
    return made(**arguments)


def targets(config: Any) -> Iterator[str]:
    """Every ``_target_`` in a nested configuration."""
    if isinstance(config, Mapping):
        if "_target_" in config:
            yield str(config["_target_"])
        for value in config.values():
            yield from targets(value)
    elif isinstance(config, (list, tuple)):
        for value in config:
            yield from targets(value)


def check_target(target: str, allow: Sequence[str] = ()) -> None:
    """Refuse a name that an untrusted configuration may not call.

    Raises:
        UserError: If the object is not a class or function defined under an allowed prefix; nothing
            is imported then but modules under such a prefix.
    """
    prefixes = (*SAFE, *(name if name.endswith(".") else f"{name}." for name in allow))
    refused = UserError(
        f"the configuration names {target!r}, which is not simulacra's own: it was not run"
    )
    if not target.startswith(prefixes):
        raise refused
    module_name, _, name = target.rpartition(".")
    holder: Any = None
    while module_name and holder is None:
        try:
            holder = importlib.import_module(module_name)
        except ImportError:
            module_name, _, outer = module_name.rpartition(".")
            name = f"{outer}.{name}"
    for part in name.split("."):
        holder = inspect.getattr_static(holder, part, None)
        if inspect.ismodule(holder):
            raise refused
    holder = holder.__func__ if isinstance(holder, (classmethod, staticmethod)) else holder
    if not (inspect.isclass(holder) or inspect.isfunction(holder)):
        raise refused
    if not f"{holder.__module__}.".startswith(prefixes) or holder.__module__ == __name__:
        raise refused
