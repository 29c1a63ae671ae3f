"""The table of the studies, from their configuration, in the place that the page leaves for it.

Each begins with three lines of comment: what it does, with its papers; a command; ``Figure of merit: … .
Reference: … .``
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from simulacra.evaluation import config as tree

MARK = "<!-- table: studies -->"
HEADS = ("what it does", "figure of merit", "reference")
ARXIV = re.compile(r"arXiv:(\d{4}\.\d{4,5})")
HEAD = re.compile(
    r"# (?P<summary>.+?):\n"
    r"# (?P<command>simulacra study study=.+)\n"
    r"# Figure of merit: (?P<merit>.+?)\. Reference: (?P<reference>.+)\.\n"
)


class Row(NamedTuple):
    """What the table says of a study."""

    summary: str
    command: str
    merit: str
    reference: str


def names() -> list[str]:
    """All studies of the package."""
    return sorted(path.stem for path in (tree.folder("conf") / "study").glob("*.yaml"))


def row(name: str) -> Row:
    """What the comment of a study says.

    Raises:
        ValueError: If it does not begin with the three lines.
    """
    text = (tree.folder("conf") / "study" / f"{name}.yaml").read_text(encoding="utf-8")
    found = HEAD.match(text)
    if found is None:
        raise ValueError(f"conf/study/{name}.yaml does not begin with the three lines of a study")
    return Row(**found.groupdict())


def cells(name: str) -> list[str]:
    """Cells of a study."""
    found = row(name)
    text = ARXIV.sub(r"[arXiv:\1](https://arxiv.org/abs/\1)", found.summary)
    return [f"{text}<br>`{found.command}`", found.merit, found.reference]


def table() -> str:
    """All studies, one in each row."""
    lines = [HEADS, ["---"] * len(HEADS), *map(cells, names())]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def on_page_markdown(text: str, **kwargs: Any) -> str:
    """The page with its table."""
    return text.replace(MARK, table()) if MARK in text else text
