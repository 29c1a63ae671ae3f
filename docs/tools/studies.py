"""The table of the studies, from their configuration, in the place that the page leaves for it."""

from __future__ import annotations

import re
from typing import Any

from simulacra.evaluation import config as tree

MARK = "<!-- table: studies -->"
HEADS = ("`study=`", "what it does")
ARXIV = re.compile(r"arXiv:(\d{4}\.\d{4,5})")


def summary(name: str) -> str:
    """The first line of the comment of a study, without the command that follows it."""
    path = tree.folder("conf") / "study" / f"{name}.yaml"
    first = path.read_text(encoding="utf-8").splitlines()[0]
    return first.removeprefix("#").strip().rstrip(":")


def row(name: str) -> list[str]:
    """Cells of a study."""
    text = ARXIV.sub(r"[arXiv:\1](https://arxiv.org/abs/\1)", summary(name))
    return [f"`{name}`", text]


def table() -> str:
    """All studies of the package."""
    names = sorted(path.stem for path in (tree.folder("conf") / "study").glob("*.yaml"))
    lines = [HEADS, ["---"] * len(HEADS), *map(row, names)]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def on_page_markdown(text: str, **kwargs: Any) -> str:
    """The page with its table."""
    return text.replace(MARK, table()) if MARK in text else text
