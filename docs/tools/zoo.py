"""The zoo's page gets its table, and each member a page, from the checkpoints themselves."""

from __future__ import annotations

from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from simulacra.evaluation.card import card
from simulacra.evaluation.sharing import shared
from simulacra.tracking.compare import LABELS
from simulacra.tracking.page import with_error
from simulacra.training import checkpoint, zoo

MARK = "<!-- table: members -->"
SHOWN = ("classifier/boosted/auc", "w1_mean")
HEADS = ("model", "data", *(f"{LABELS[key]} (floor)" for key in SHOWN), "MB")


def row(name: str) -> list[str]:
    """A member in the table."""
    path = zoo.located(f"{zoo.PREFIX}{name}")
    contents = checkpoint.read(path)
    told = shared(contents, name)
    if told is None:
        raise ValueError(f"{path} is no light checkpoint")
    figures = [told.figures[key] for key in SHOWN]
    data = contents["simulacra"]["config"]["data"]["name"]
    return [
        f"[{name}](zoo/{name}.md)",
        f"`{data}`",
        *(f"{with_error(item.value, item.error)} ({item.floor:.3g})" for item in figures),
        f"{path.stat().st_size / 1e6:.1f}",
    ]


def table() -> str:
    """All members."""
    lines = [HEADS, ["---"] * len(HEADS), *map(row, zoo.members())]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """The members' cards among the pages of the site."""
    for name in zoo.members():
        address = f"{zoo.PREFIX}{name}"
        text = card(zoo.located(address), address)
        files.append(File.generated(config, f"zoo/{name}.md", content=text))
    return files


def on_page_markdown(text: str, **kwargs: Any) -> str:
    """The page with its table."""
    return text.replace(MARK, table()) if MARK in text else text
