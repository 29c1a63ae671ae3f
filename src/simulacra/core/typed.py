"""Plain values in the types that annotations ask for: one coercion for commands and constructors.

A value of a configuration is what YAML or a command line makes of a text: ``1e3`` is a float, a single
file is no list. :func:`coerce` takes it where it means what the annotation says, in any notation, and refuses
it in one sentence that names the key, what is wanted and what was found. Ranges stand in the annotation, too,
as in ``blocks: Count``. What is not plain, such as an object that is built already, is left alone.
"""

from __future__ import annotations

import builtins
import inspect
import math
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path, PurePath
from typing import (
    Annotated,
    Any,
    ForwardRef,
    Literal,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

from simulacra.core.errors import UserError
from simulacra.core.ranges import MisfitError, Rule

LARGEST = 2**63 - 1
"""The largest whole number, that of int64."""
PLAIN = (bool, int, float, str)


def coerce(value: Any, wanted: Any, key: str) -> Any:
    """A value in the type of an annotation.

    Args:
        value: What a configuration holds.
        wanted: The annotation.
        key: Name of the value, for the message.

    Raises:
        UserError: If the value means nothing of that type.
    """
    if is_typeddict(wanted):
        return _entries(value, wanted, key)
    try:
        return _fit(value, wanted)
    except MisfitError as misfit:
        reason = f": {misfit}" if str(misfit) else ""
        raise UserError(f"{key} must be {describe(wanted)}, got {shown(value)}{reason}") from misfit


def arguments(function: Callable[..., Any], values: Mapping[str, Any], key: str) -> dict[str, Any]:
    """Keyword arguments of a class or function in the types of its annotations.

    Args:
        function: What is called with them.
        values: Arguments by name; those that it does not have, or does not annotate, are left alone.
        key: Name of the whole, for messages; empty at the top.

    Raises:
        UserError: See :func:`coerce`.
    """
    wanted = hints(function)
    return {
        name: coerce(value, wanted[name], f"{key}.{name}" if key else name)
        if name in wanted
        else value
        for name, value in values.items()
    }


def tree(config: Any, key: str, find: Callable[[str], Callable[..., Any] | None]) -> Any:
    """A configuration whose every ``_target_`` has its arguments in the types of its annotations.

    Args:
        config: Plain values; it is not changed.
        key: Its name, for messages.
        find: The class or function of a name, or None where there is none: its arguments are left alone.

    Raises:
        UserError: See :func:`coerce`.
    """
    if isinstance(config, (list, tuple)):
        return [tree(item, f"{key}[{number}]", find) for number, item in enumerate(config)]
    if not isinstance(config, Mapping):
        return config
    entries = {
        name: tree(item, f"{key}.{name}" if key else str(name), find)
        for name, item in config.items()
    }
    target = entries.get("_target_")
    function = find(target) if isinstance(target, str) else None
    if function is None:
        return entries
    given = {name: item for name, item in entries.items() if not str(name).startswith("_")}
    return {**entries, **arguments(function, given, key)}


def hints(function: Callable[..., Any]) -> dict[str, Any]:
    """Annotations of the arguments of a class or function; ``Any`` for what type checkers alone import."""
    target = function.__init__ if inspect.isclass(function) else function  # type: ignore[misc]  # read only
    target = inspect.unwrap(getattr(target, "__func__", target))
    scope = _Scope(getattr(target, "__globals__", {}))
    return get_type_hints(target, scope, scope, include_extras=True)


class _Scope(dict[str, Any]):
    """Names of a module; what it does not know may be anything."""

    def __missing__(self, name: str) -> Any:
        return getattr(builtins, name, Any)


def describe(wanted: Any) -> str:
    """What an annotation asks for, in words."""
    return " or ".join(dict.fromkeys(_nouns(wanted, plural=False)))


def shown(value: Any) -> str:
    """A value as a user writes it, short."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:97]}..."


def _entries(value: Any, wanted: Any, key: str) -> dict[str, Any]:
    """A mapping some of whose entries have a type; the others are left alone."""
    if not isinstance(value, Mapping):
        raise UserError(f"{key} must be a group of keys, got {shown(value)}")
    types_of = get_type_hints(wanted, include_extras=True)
    return {
        name: coerce(item, types_of[name], f"{key}.{name}" if key else str(name))
        if name in types_of
        else item
        for name, item in value.items()
    }


def _fit(value: Any, wanted: Any) -> Any:
    """The value in the type, or a MisfitError."""
    origin = get_origin(wanted)
    if origin is Annotated:
        return _annotated(value, wanted)
    if origin in (Union, types.UnionType):
        return _one_of(value, get_args(wanted))
    if wanted is None or wanted is type(None):
        if value is not None:
            raise MisfitError
        return None
    if origin is Literal:
        return _literal(value, get_args(wanted))
    if isinstance(value, Mapping) and "_target_" in value:
        return value  # becomes an object of whatever type
    if wanted in _SCALARS:
        return _SCALARS[wanted](value)
    if (origin or wanted) in _LISTS:
        return _items(value, get_args(wanted), fixed=origin is tuple)
    if (origin or wanted) in _MAPPINGS:
        return _mapping(value, get_args(wanted))
    if value is None and wanted not in (Any, object):
        raise MisfitError
    if isinstance(value, PLAIN) and _takes_objects(origin or wanted):
        raise MisfitError
    return value


def _annotated(value: Any, wanted: Any) -> Any:
    kind, *extras = get_args(wanted)
    found = _fit(value, kind)
    if isinstance(found, Mapping) and "_target_" in found:
        return found
    for rule in extras:
        if isinstance(rule, Rule):
            found = rule(found)
    return found


def _one_of(value: Any, kinds: Sequence[Any]) -> Any:
    """In the first type that it is of already, else in the first that it can be brought to."""
    reasons = []
    for exact in (True, False):
        for kind in kinds:
            if exact and not _is(value, kind):
                continue
            try:
                return _fit(value, kind)
            except MisfitError as misfit:
                reasons.append(str(misfit))
    raise MisfitError(next(filter(None, reasons), ""))


def _is(value: Any, kind: Any) -> bool:
    """Whether a value is of the plain type that stands at the bottom of an annotation."""
    bottom = get_args(kind)[0] if get_origin(kind) is Annotated else kind
    if get_origin(bottom) is Literal:
        return any(value == item and type(value) is type(item) for item in get_args(bottom))
    return type(value) is bottom


def _literal(value: Any, choices: Sequence[Any]) -> Any:
    for item in choices:
        if value == item and isinstance(value, bool) == isinstance(item, bool):
            return item
    raise MisfitError


def _int(value: Any) -> int:
    number = _number(value)
    if not float(number).is_integer() or abs(number) > LARGEST:
        raise MisfitError
    return int(number)


def _float(value: Any) -> float:
    number = _number(value)
    if not math.isfinite(number):
        raise MisfitError
    return number


def _number(value: Any) -> int | float:
    if isinstance(value, str):
        try:
            value = float(value) if set(value.lower()) & set(".en") else int(value)
        except ValueError as error:
            raise MisfitError from error
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise MisfitError
    try:
        float(value)
    except OverflowError as error:
        raise MisfitError from error
    return value


def _bool(value: Any) -> bool:
    if not isinstance(value, bool):
        raise MisfitError
    return value


def _str(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, (str, int, float, PurePath)):
        raise MisfitError
    return str(value)


def _items(value: Any, kinds: tuple[Any, ...], fixed: bool) -> list[Any]:
    """A list; a single value stands for a list of one."""
    if isinstance(value, (*PLAIN, PurePath)):
        value = [value]
    if not isinstance(value, (list, tuple)):
        raise MisfitError
    if fixed and kinds and Ellipsis not in kinds:
        if len(value) != len(kinds):
            raise MisfitError
        return [_fit(item, kind) for item, kind in zip(value, kinds, strict=True)]
    return [_fit(item, kinds[0]) if kinds else item for item in value]


def _mapping(value: Any, kinds: tuple[Any, ...]) -> dict[Any, Any]:
    if not isinstance(value, Mapping):
        raise MisfitError
    if len(kinds) != 2:
        return dict(value)
    return {_fit(key, kinds[0]): _fit(item, kinds[1]) for key, item in value.items()}


def _takes_objects(kind: Any) -> bool:
    """Whether nothing plain can be of this type: a function, or a class of ours or of torch's networks."""
    if kind in (Callable, types.FunctionType):
        return True
    module = getattr(kind, "__module__", "")
    return inspect.isclass(kind) and module.partition(".")[0] in ("simulacra", "torch")


_SCALARS: Mapping[Any, Callable[[Any], Any]] = {
    int: _int,
    float: _float,
    bool: _bool,
    str: _str,
    Path: _str,
}
_LISTS = (list, tuple, Sequence, Iterable)
_MAPPINGS = (dict, Mapping)
_NOUNS = {
    int: ("a whole number", "whole numbers"),
    float: ("a number", "numbers"),
    bool: ("true or false", "true or false"),
    str: ("a text", "texts"),
    Path: ("a path", "paths"),
}


def _nouns(wanted: Any, plural: bool) -> list[str]:
    """Alternatives of an annotation, in words."""
    origin, parts = get_origin(wanted), get_args(wanted)
    if origin is Annotated:
        nouns = _nouns(parts[0], plural)
        for rule in parts[1:]:
            if isinstance(rule, Rule):
                nouns = [rule.text(noun, plural) for noun in nouns]
        return nouns
    if origin in (Union, types.UnionType):
        some = [noun for part in parts if part is not type(None) for noun in _nouns(part, plural)]
        return [*some, "null"] if type(None) in parts else some
    if origin is Literal:
        names = [str(item).lower() if isinstance(item, bool) else str(item) for item in parts]
        return [f"one of {', '.join(names)}" if len(names) > 1 else names[0]]
    if wanted in _NOUNS:
        return [_NOUNS[wanted][plural]]
    if (origin or wanted) in _LISTS:
        inner = [part for part in parts if part is not Ellipsis]
        noun = "lists" if plural else "a list"
        if origin is tuple and len(inner) == len(parts) > 0:
            noun = f"{noun} of {len(parts)}"
            return [f"{noun} {' or '.join(dict.fromkeys(_nouns(inner[0], plural=True)))}"]
        return [f"{noun} of {' or '.join(_nouns(inner[0], plural=True))}"] if inner else [noun]
    if (origin or wanted) in _MAPPINGS:
        return ["groups of keys" if plural else "a group of keys"]
    if isinstance(wanted, ForwardRef):
        return [wanted.__forward_arg__]
    return ["what a _target_ makes"]
