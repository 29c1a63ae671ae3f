"""The only place that turns configuration into objects.

A configuration that a user wrote may name any class, and Hydra builds it. One that comes out of a
checkpoint or a saved run is data from elsewhere: it is plain (:mod:`simulacra.core.plain`), every name in it
is looked up once, and the object that was found on the closed list (:mod:`simulacra.core.constructors`), or
under a package that the user allows, is the very one that is called. All names are looked up before anything
is called.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import hydra.utils
from hydra._internal.utils import _locate
from omegaconf import DictConfig, OmegaConf

from simulacra.core import constructors, typed
from simulacra.core.errors import UserError
from simulacra.core.plain import check_plain

WRONG = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    MemoryError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""What constructors say to arguments of another kind than they ask for."""


@dataclass(frozen=True)
class Trust:
    """What a configuration may name.

    Args:
        trusted: Whether it comes from the user; then anything.
        allow: Packages outside simulacra whose classes an untrusted configuration may name.
        folders: Folders below which objects of an untrusted configuration may write.
    """

    trusted: bool = True
    allow: Sequence[str] = ()
    folders: Sequence[Path] = ()


TRUSTED = Trust()


def instantiate(
    config: Any, kind: Any = None, trust: Trust = TRUSTED, where: str = "", **arguments: Any
) -> Any:
    """Build the object that ``config['_target_']`` names, nested ones included.

    Args:
        config: Mapping with a ``_target_``; interpolations of the user's own must be resolvable.
        kind: What the object must be, a base class or the type of a callable; None: anything.
        trust: What the configuration may name.
        where: Key under which the configuration stands in that of the command, for messages.
        arguments: Further arguments of the outermost call.

    Raises:
        UserError: If the configuration names what it may not, what does not exist or what cannot be made of
            its arguments, holds a value of another type than its class asks for, or the object is of another
            kind.
    """
    plain: Any = (
        OmegaConf.to_container(config, resolve=True) if isinstance(config, DictConfig) else config
    )
    if not isinstance(plain, Mapping) or not isinstance(plain.get("_target_"), str):
        raise UserError(f"a configuration with a _target_ is wanted, got {str(plain)[:100]!r}")
    if trust.trusted:
        found = _by_hydra(typed.tree(plain, where, _located), arguments)
    else:
        check_plain(plain, "the configuration")
        meant = typed.tree(plain, where, lambda name: constructors.find(name, trust.allow))
        found = _by_list(meant, kind, trust, arguments)
    if kind is not None and not (
        isinstance(found, kind) if inspect.isclass(kind) else callable(found)
    ):
        raise _another(plain["_target_"], kind)
    return found


def _another(target: str, kind: Any) -> UserError:
    wanted = kind.__name__ if inspect.isclass(kind) else "function of this place"
    return UserError(
        f"{target!r} is no {wanted}: it does not derive from it, or makes something else"
    )


def _located(target: str) -> Callable[..., Any] | None:
    """The class or function of a name; None where there is none, of which Hydra tells."""
    try:
        found = _locate(target)
    except (ImportError, ValueError):
        return None
    return found if callable(found) else None


def _by_hydra(plain: Mapping[str, Any], arguments: Mapping[str, Any]) -> Any:
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
    except (TypeError, ValueError) as error:
        known = inspect.signature(
            made.func
        ).parameters  # where a partial does not take its own keywords
        strange = [key for key in made.keywords if key not in known]
        reason = f"it takes no {', '.join(strange)}" if strange else str(error)
        raise UserError(f"{plain['_target_']} cannot be built: {reason}") from error
    return made(**arguments)


@dataclass(frozen=True)
class _Call:
    """A call that has been checked and waits for its arguments."""

    name: str
    made: Callable[..., Any]
    arguments: Mapping[str, Any]
    partial: bool


def _by_list(
    plain: Mapping[str, Any], kind: Any, trust: Trust, arguments: Mapping[str, Any]
) -> Any:
    call = _looked_up(plain, trust)
    if constructors.listed(call.made) and not constructors.fits(call.made, kind):
        raise _another(call.name, kind)
    return _made(call, arguments)


def check(config: Mapping[str, Any], trust: Trust) -> Callable[..., Any]:
    """What an untrusted configuration names as a whole, once all that it names is found on the list.

    Raises:
        UserError: If it is not plain, or names what it may not.
    """
    check_plain(config, "the configuration")
    call = _looked_up(config, trust)
    if not isinstance(call, _Call):
        raise UserError("the configuration has no _target_ that says what it is")
    return call.made


def _looked_up(config: Any, trust: Trust) -> Any:
    """The configuration with a checked call in the place of each mapping that names one."""
    if isinstance(config, (list, tuple)):
        return [_looked_up(item, trust) for item in config]
    if not isinstance(config, Mapping):
        return config
    values = {
        key: _looked_up(value, trust)
        for key, value in config.items()
        if key not in ("_target_", "_partial_")
    }
    if "_target_" not in config:
        return values
    made = constructors.find(config["_target_"], trust.allow)
    for name in constructors.folders(made):
        _check_folder(config["_target_"], name, values.get(name), trust.folders)
    return _Call(config["_target_"], made, values, "_partial_" in config)


def _check_folder(target: str, name: str, value: Any, folders: Sequence[Path]) -> None:
    roots = [folder.resolve() for folder in folders]
    if not isinstance(value, str) or not any(
        Path(value).resolve().is_relative_to(root) for root in roots
    ):
        raise UserError(
            f"the saved configuration lets {target.rpartition('.')[2]} write to {name}={value!r}, which is "
            f"not below {' or '.join(map(str, roots)) or 'a run directory'}: nothing was written"
        )


def _made(config: Any, arguments: Mapping[str, Any] | None = None) -> Any:
    """Build what has been checked, the innermost first."""
    if isinstance(config, list):
        return [_made(item) for item in config]
    if isinstance(config, dict):
        return {key: _made(value) for key, value in config.items()}
    if not isinstance(config, _Call):
        return config
    try:
        made = {key: _made(value) for key, value in config.arguments.items()} | dict(
            arguments or {}
        )
        return partial(config.made, **made) if config.partial else config.made(**made)
    except UserError:
        raise
    except WRONG as error:
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise UserError(
            f"{config.name} cannot be built from its saved arguments: {reason}"
        ) from error
