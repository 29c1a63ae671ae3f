"""``key=value`` as users write it, as Hydra's grammar reads it.

In Hydra's grammar ``=``, ``(``, ``~`` and others have a meaning, so that a path with one of them is refused
or becomes something else. Values of the keys below are therefore put in quotes before Hydra sees them: one
path, a list of paths, or in a multirun several of either between commas. What is in quotes already stays as
it is, and so do ``null`` and interpolations.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase

from hydra.core.override_parser.types import Quote, QuotedString

from simulacra.core.ranges import expanded

PATHS = (
    "checkpoint",
    "output",
    "input",
    "conditions",
    "file",
    "reference",
    "generated",
    "ensemble",
    "truth",
    "training",
    "resume",
    "init.checkpoint",
    "pretrained",
    "run",
    "runs",
    "paths.*",
    "data.root",
    "data.*.root",
    "data.files.*",
    "data.*.files.*",
    "*.binning",
    "teacher",
    "first",
    "model.teacher",
    "model.*.teacher",
    "study.generated",
    "study.checkpoint",
    "callbacks.*.folder",
    "logger.*.folder",
    "hydra.run.dir",
    "hydra.sweep.dir",
)
"""Keys whose values are paths."""
TEXTS = (
    "overrides",
    "study.training",
    "study.*.training",
    "study.other",
    "conditions.*",
    "hydra.sweeper.storage",
)
"""Keys whose values are texts with a grammar of their own."""
SHORT = {"init": "init.checkpoint"}
"""Keys of groups that stand for the main entry of the group when they are given a value alone."""
GROWING = {"sample": ("conditions.",)}
"""By command, beginnings of keys that a user adds and that no file of the configuration holds."""
FIRST = {"check": "file", "download": "data"}
"""By command, the key of a value that is given without one."""
_OVERRIDE = re.compile(r"(?P<add>\+{0,2})(?P<key>[^=~+\s][^=\s]*)=(?P<value>.*)", re.DOTALL)
_FUNCTION = re.compile(r"(choice|range|interval|glob|sort|shuffle|tag)\(.*\)", re.DOTALL)
_OPENING, _CLOSING = "([{", ")]}"


def taken(arguments: Sequence[str], command: str | None = None) -> list[str]:
    """The arguments of a command line, with values of paths in quotes; options stay as they are.

    Args:
        arguments: What a user typed, in order.
        command: The command, where some of its keys are not in its configuration.
    """
    several = _is_multirun(arguments)
    if command in FIRST:
        arguments = [_keyed(item, FIRST[command]) for item in arguments]
    return [_taken(item, several, GROWING.get(command or "", ())) for item in arguments]


def value_of(arguments: Sequence[str], key: str) -> str | None:
    """The last value that arguments give to a path, without quotes; None where it is not given or null."""
    found = None
    for item in arguments:
        match = _OVERRIDE.fullmatch(item)
        if match and match["key"] == key:
            found = match["value"]
    if found in (None, "", "null"):
        return None
    return expanded(_unquoted(found) if _is_quoted(found) else found)


def is_path(key: str) -> bool:
    """Whether the value of a key is a path, or several."""
    return any(fnmatchcase(key, pattern) for pattern in PATHS)


def quoted(text: str) -> str:
    """A text as Hydra's grammar reads it unchanged; interpolations stay what they are."""
    return str(QuotedString(text=text, quote=Quote.single).with_quotes())


def _is_multirun(arguments: Sequence[str]) -> bool:
    options = ("-m", "--multirun", "hydra.mode=MULTIRUN")
    return any(
        item in options or (item.startswith("sweeps=") and item not in ("sweeps=", "sweeps=null"))
        for item in arguments
    )


def _keyed(item: str, key: str) -> str:
    """A word that is no option and begins with no key, as the value of ``key``."""
    plain = item and not item.startswith(("-", "~", "+"))
    return f"{key}={item}" if plain and not re.match(r"[\w./@]+=", item) else item


def _taken(item: str, several: bool, growing: Sequence[str]) -> str:
    match = _OVERRIDE.fullmatch(item)
    if match is None:
        return item
    name, value = match["key"], match["value"]
    if not value.startswith("{"):
        name = SHORT.get(name, name)
    key = name.partition("@")[0]
    path = is_path(key)
    if not path and not any(fnmatchcase(key, pattern) for pattern in TEXTS):
        return item
    add = match["add"] or ("++" if key.startswith(tuple(growing)) and growing else "")
    return f"{add}{name}={_value(value, several, path)}"


def _value(value: str, several: bool, path: bool) -> str:
    if value == "" or (several and _FUNCTION.fullmatch(value)):
        return value
    if several:
        return ",".join(_one_or_list(part, path) for part in _split(value))
    return _one_or_list(value, path)


def _one_or_list(value: str, path: bool) -> str:
    if value.startswith("[") and value.endswith("]"):
        items = (part.strip() for part in _split(value[1:-1]))
        return f"[{','.join(_one(item, path) for item in items if item)}]"
    return _one(value, path)


def _one(value: str, path: bool) -> str:
    if value == "null":
        return value
    if _is_quoted(value):
        return quoted(expanded(_unquoted(value))) if path and value[1] == "~" else value
    return quoted(expanded(value) if path else value)


def _is_quoted(value: str) -> bool:
    """Whether a value is one text in quotes."""
    return value[:1] in ("'", '"') and _end(value, 0) == len(value)


def _unquoted(value: str) -> str:
    return re.sub(rf"\\+(?={value[0]}|$)", lambda m: "\\" * (len(m[0]) // 2), value[1:-1])


def _end(value: str, start: int) -> int:
    """Where the quotes that open at ``start`` are closed, or 0 if they are not."""
    position = start + 1
    while position < len(value):
        if value[position] == "\\":
            position += 1
        elif value[position] == value[start]:
            return position + 1
        position += 1
    return 0


def _split(value: str) -> Iterator[str]:
    """Parts between the commas that stand in no quotes and no brackets."""
    depth, begin, position = 0, 0, 0
    while position < len(value):
        letter = value[position]
        fresh = not value[begin:position].strip()  # quotes count where a part begins
        if fresh and letter in "'\"" and (end := _end(value, position)):
            position = end
            continue
        if letter in _OPENING:
            depth += 1
        elif letter in _CLOSING and depth:
            depth -= 1
        elif letter == "," and not depth:
            yield value[begin:position]
            begin = position + 1
        position += 1
    yield value[begin:]
