"""What the comments of a configuration file say of its keys.

A comment belongs to the key on whose line it stands; one on lines of its own to the key below that begins in
the same column; one that goes on below a comment, in the same column, to the key of that comment. What stands
above the first key describes the file.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import yaml
from yaml import MappingNode, Node, ScalarNode, SequenceNode

DEFAULTS = "defaults"
"""Key of the list of choices; its entries are keys, too."""


@dataclass(frozen=True)
class Comments:
    """Comments of a file.

    Args:
        about: What the file is, in one line.
        keys: Comment of each key that has one, by its dotted path.
    """

    about: str = ""
    keys: dict[str, str] = field(default_factory=dict)


def read(path: Path) -> Comments:
    """Comments of a file; none where it cannot be read."""
    try:
        return parse(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return Comments()


def parse(text: str) -> Comments:
    """Comments of a text in YAML.

    Raises:
        yaml.YAMLError: If it is none.
    """
    ends: dict[int, int] = {}
    for token in yaml.scan(text):
        ends[token.end_mark.line] = max(ends.get(token.end_mark.line, 0), token.end_mark.column)
    lines = text.splitlines()
    remarks = {  # line -> column and text of its comment
        number: (len(line) - len(rest), rest[1:].strip())
        for number, line in enumerate(lines)
        if (rest := line[ends.get(number, 0) :].lstrip()).startswith("#")
    }
    root = yaml.compose(text)
    found: dict[str, str] = {}
    first = len(lines)
    taken: set[int] = set()
    for path, key in _keys(root, ()):
        line, column = key.start_mark.line, key.start_mark.column
        first = min(first, line)
        if line not in taken and (remark := _of(line, column, remarks, ends)):
            found[".".join(path)] = remark
        taken.add(line)
    head = [remarks[n][1] for n in sorted(remarks) if n < first and not ends.get(n)]
    about = " ".join(text for text in head if not text.startswith("@"))
    return Comments(about, found)


def _keys(node: Node | None, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Node]]:
    """Every key with its path, in order; those in a list of choices without their position."""
    if isinstance(node, MappingNode):
        for key, value in node.value:
            if isinstance(key, ScalarNode):
                below = (*path, str(key.value))
                yield below, key
                yield from _keys(value, below)
    elif isinstance(node, SequenceNode) and path == (DEFAULTS,):
        for item in node.value:
            yield from _keys(item, path)


def _of(line: int, column: int, remarks: dict[int, tuple[int, str]], ends: dict[int, int]) -> str:
    """The comment of a key that begins in a line and column, or an empty text."""
    parts: list[str] = []
    above = line - 1
    while above in remarks and not ends.get(above) and remarks[above][0] == column and above >= 0:
        parts.insert(0, remarks[above][1])
        above -= 1
    if above < 0:  # the head of the file, not of its first key
        parts = []
    if line in remarks:
        begin, text = remarks[line]
        parts.append(text)
        below = line + 1
        while below in remarks and not ends.get(below) and remarks[below][0] == begin > column:
            parts.append(remarks[below][1])
            below += 1
    return " ".join(parts)
