"""``simulacra COMMAND --help [TOPIC ...]``: what a command takes, in the words of its configuration files.

A topic is a group or a part of the configuration: ``simulacra train --help model`` lists the models, each in
a line, and what can be set of the chosen one. Overrides count: ``simulacra train model=calodream --help``.
"""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml

from simulacra.cli.described import CODE, Choice, Described
from simulacra.cli.suggest import closest
from simulacra.core import UserError

COLUMN = 38
"""Where comments begin."""
NARROW, WIDE = 80, 130


def text(
    command: str, overrides: Sequence[str], topics: Sequence[str] = (), folders: Sequence[str] = ()
) -> str:
    """The help of a command.

    Args:
        command: Name of the command.
        overrides: What stands on the command line.
        topics: Groups or parts of the configuration to which it is limited; none: all.
        folders: Further folders of configurations.

    Raises:
        UserError: If a topic is none.
    """
    found = Described(command, overrides, folders)
    width = max(NARROW, min(WIDE, shutil.get_terminal_size().columns))
    if topics:
        return "\n".join(line for topic in topics for line in _topic(found, topic, width))
    return "\n".join(_all(found, width))


def _all(found: Described, width: int) -> Iterator[str]:
    yield found.about
    yield ""
    yield f"simulacra {found.command} [KEY=VALUE ...] [GROUP=CHOICE ...]"
    yield "-m with several values between commas: a job for each; --cfg job: the configuration"
    if found.choices:
        yield ""
        yield f"GROUPS   (simulacra {found.command} --help GROUP says more)"
        for choice in found.choices:
            yield from _choice(choice, width)
    yield ""
    yield "KEYS   (KEY.KEY=VALUE for inner ones)"
    parts = {choice.part: choice for choice in found.choices}
    for key, value in found.values.items():
        yield from _lines({key: value}, found.texts, "", 1, width, parts)


def _topic(found: Described, topic: str, width: int) -> Iterator[str]:
    named = [item for item in found.choices if topic in (item.key, item.group)]
    values = found.select(topic)
    if not named and values is None:
        raise UserError(
            f"simulacra {found.command} has no group or key {topic!r}{closest(topic, _topics(found))}"
        )
    for choice in named:
        head = f"{choice.key}={choice.value or 'null'}"
        yield f"{head}   # {choice.text}" if choice.text else head
        for name in choice.options:
            about = found.option_text(choice.group, name).partition(". ")[0]
            yield from _beside(f"  {name}", about, 32, width)
    if values is not None:
        if named:
            yield ""
        *above, last = topic.split(".")
        yield from _lines({last: values}, found.texts, ".".join(above), 0, width, {})


def _topics(found: Described) -> list[str]:
    return [*(item.key for item in found.choices), *found.values]


def _choice(choice: Choice, width: int) -> Iterator[str]:
    head = f"  {choice.key}={choice.value or 'null'}"
    yield from _beside(head, choice.text, COLUMN, width)
    names = ", ".join(choice.options)
    yield from textwrap.wrap(
        names, width, initial_indent=" " * 6, subsequent_indent=" " * 6, break_on_hyphens=False
    )


def _lines(
    values: Mapping[str, Any],
    texts: Mapping[str, str],
    path: str,
    depth: int,
    width: int,
    parts: Mapping[str, Choice],
) -> Iterator[str]:
    """Keys as in YAML, each with what is said of it."""
    for key, value in values.items():
        if key in CODE:
            continue
        below = f"{path}.{key}" if path else str(key)
        said = texts.get(below, "")
        if below in parts:
            said = said or f"what {parts[below].key}={parts[below].value} sets"
        inner = isinstance(value, dict) and any(name not in CODE for name in value)
        head = f"{'  ' * depth}{key}:" + ("" if inner else f" {_flow(value)}")
        yield from _beside(head, said, COLUMN, width)
        if inner:
            yield from _lines(value, texts, below, depth + 1, width, parts)


def _flow(value: Any) -> str:
    """A value in one line; an object without settings by its name."""
    if isinstance(value, dict) and "_target_" in value:
        return str(value["_target_"])
    if isinstance(value, str) and value == "???":
        return "???"
    text = yaml.safe_dump(value, default_flow_style=True, width=10**6, sort_keys=False)
    return text.removesuffix("\n").removesuffix("\n...")


def _beside(head: str, said: str, column: int, width: int) -> Iterator[str]:
    """A line with a comment that goes on below itself."""
    if not said:
        yield head
        return
    if len(head) + 2 > column:
        rows = textwrap.wrap(said, width - column - 2)
        if len(head) + 4 + len(said) <= width:
            yield f"{head}  # {said}"
            return
        yield head
    else:
        first, *rows = textwrap.wrap(said, width - column - 2)
        yield f"{head:<{column}}# {first}"
    for row in rows:
        yield f"{'':<{column}}# {row}"
