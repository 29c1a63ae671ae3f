"""Data sets: one Lightning data module each, with embedded samples and caches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from simulacra.core import IncompatibleError, UserError, typed
from simulacra.core.instantiate import Trust, instantiate

if TYPE_CHECKING:
    from simulacra.data.base import EventDataModule

NOT_ARGUMENTS = ("name", "views", "scores", "sets", "readout", "variants")
"""Entries of a configuration that are no arguments of its class; ``sets`` names those that are data sets,
or hold some, ``readout`` says how simulated events become events of the data set, ``variants`` lists values
of settings that other files of it need.
"""


def build(
    config: Mapping[str, Any], *, trusted: bool = True, allow: Sequence[str] = ()
) -> EventDataModule:
    """Make a data module from its resolved configuration (a file of ``conf/data``); opens no file.

    The keys that are fields of :class:`~simulacra.data.base.Loading` reach the class as its argument
    ``loading``.

    Raises:
        IncompatibleError: If the data set has no such view.
        UserError: If the configuration makes something else.
    """
    from simulacra.data.base import EventDataModule

    arguments = _arguments(config, "data")
    found: EventDataModule = instantiate(
        arguments, EventDataModule, Trust(trusted, allow), where="data"
    )
    if isinstance(config.get("name"), str):
        found.named(config["name"])
    return found


def _arguments(config: Mapping[str, Any], where: str) -> dict[str, Any]:
    from simulacra.data.base import Loading

    if not isinstance(config, Mapping):
        raise UserError(f"{where} is the configuration of a data set, got {type(config).__name__}")
    arguments = {key: value for key, value in config.items() if key not in NOT_ARGUMENTS}
    for key in config.get("sets") or ():
        if not isinstance(config.get(key), Mapping):
            raise UserError(f"{config.get('name')} has no data set {key!r}, which its 'sets' names")
        arguments[key] = _set(config[key], f"{where}.{key}")
        arguments.pop("root", None)  # that of its data sets
    view = arguments.get("view")
    if view is not None:
        views = config.get("views") or {}
        if not isinstance(views, Mapping) or not isinstance(view, str) or view not in views:
            known = ", ".join(views) or "none"
            raise IncompatibleError(f"{config.get('name')} has no view {view!r}: it has {known}")
        arguments["view"] = views[view]
    given = {f.name: arguments.pop(f.name) for f in fields(Loading) if f.name in arguments}
    loading = typed.arguments(Loading, given, where)
    target = f"{Loading.__module__}.{Loading.__qualname__}"
    return arguments | {"loading": {"_target_": target, **loading}}


def _set(config: Mapping[str, Any], where: str) -> dict[str, Any]:
    """A data set among the entries of another one, or several of them by name."""
    if config.get("curriculum") is not None:
        raise UserError(
            f"{where}.curriculum is of no use: events of several data sets are not taken in by their energies"
        )
    if "_target_" in config:
        return _arguments(config, where)
    return {name: _arguments(item, f"{where}.{name}") for name, item in config.items()}
