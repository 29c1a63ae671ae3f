"""Values of declared types from plain data of unknown origin.

A dataclass says which types its fields have, so that one reader can make any of them from dictionaries,
lists, texts and numbers, and name the first value that is of another type.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from simulacra.core.errors import UserError


def read(kind: Any, value: object, what: str) -> Any:
    """A value of a declared type.

    Args:
        kind: ``int``, ``float`` (finite), ``bool``, ``str``, ``None``, a ``Literal``, a union, ``list``,
            ``tuple`` or ``dict`` of such types, or a dataclass whose fields have such types.
        value: Plain data: numbers, texts, lists and mappings.
        what: What it is, for the message.

    Raises:
        UserError: If the value is of another type, or the dataclass refuses it.
    """
    if is_dataclass(kind) and isinstance(kind, type):
        return _dataclass(kind, value, what)
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return _union(inner, value, what)
    if origin is Literal:
        if not any(type(item) is type(value) and item == value for item in inner):
            raise _wrong(value, what, f"one of {', '.join(map(str, inner))}")
        return value
    if origin in _CONTAINERS:
        return _CONTAINERS[origin](inner, value, what)
    if not (isinstance(value, kind) if kind in (dict, list) else _plain(kind, value)):
        raise _wrong(value, what, _NAMES[kind])
    return value


_NAMES = {
    int: "a whole number",
    float: "a finite number",
    bool: "true or false",
    str: "a text",
    NoneType: "nothing",
    dict: "a table",
    list: "a list",
}


def _plain(kind: Any, value: object) -> bool:
    if kind is float:
        return type(value) in (int, float) and math.isfinite(value)  # type: ignore[arg-type]  # a number
    return type(value) is kind


def _union(kinds: tuple[Any, ...], value: object, what: str) -> Any:
    wanted = [kind for kind in kinds if kind is not NoneType]
    if value is None and len(wanted) < len(kinds):
        return None
    for kind in wanted[:-1]:
        try:
            return read(kind, value, what)
        except UserError:
            continue
    return read(wanted[-1], value, what)


def _tuple(kinds: tuple[Any, ...], value: object, what: str) -> tuple[Any, ...]:
    many = kinds[-1] is Ellipsis
    if not isinstance(value, (list, tuple)) or not (many or len(value) == len(kinds)):
        raise _wrong(value, what, "a list" if many else f"a list of {len(kinds)}")
    inner = [kinds[0]] * len(value) if many else kinds
    return tuple(
        read(kind, item, f"{what}[{number}]")
        for number, (kind, item) in enumerate(zip(inner, value, strict=True))
    )


def _list(kinds: tuple[Any, ...], value: object, what: str) -> list[Any]:
    return list(_tuple((*kinds, Ellipsis), value, what))


def _dict(kinds: tuple[Any, ...], value: object, what: str) -> dict[Any, Any]:
    if not isinstance(value, Mapping):
        raise _wrong(value, what, "a mapping")
    return {
        read(kinds[0], key, f"a key of {what}"): read(kinds[1], item, f"{what}.{key}")
        for key, item in value.items()
    }


_CONTAINERS: dict[Any, Callable[[tuple[Any, ...], object, str], Any]] = {
    tuple: _tuple,
    list: _list,
    dict: _dict,
}


def _dataclass(kind: Any, value: object, what: str) -> Any:
    if not isinstance(value, Mapping):
        raise _wrong(value, what, "a mapping")
    known = {field.name: field for field in fields(kind)}
    unknown = [str(key)[:50] for key in value if key not in known]
    missing = [
        name
        for name, field in known.items()
        if name not in value and field.default is MISSING and field.default_factory is MISSING
    ]
    if unknown or missing:
        reason = f"has the unknown entry {unknown[0]!r}" if unknown else f"lacks {missing[0]!r}"
        raise UserError(f"{what} {reason}: this version of simulacra cannot read it")
    hints = get_type_hints(kind)
    values = {name: read(hints[name], item, f"{what}.{name}") for name, item in value.items()}
    try:
        return kind(**values)
    except ValueError as error:
        raise UserError(f"{what} cannot be: {error}") from error


def _wrong(value: object, what: str, wanted: str) -> UserError:
    shown = " ".join(repr(value).split()) if _short(value) else f"a {type(value).__name__}"
    return UserError(f"{what} is {shown[:80]}, expected {wanted}")


def _short(value: object) -> bool:
    """Whether a value can be shown as it is."""
    return isinstance(value, (str, int, float, NoneType))
