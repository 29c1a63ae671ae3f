"""The table of the data sets, from their configuration, in the place that the page leaves for it."""

from __future__ import annotations

import logging
import re
from typing import Any

from simulacra import data
from simulacra.core import Spec
from simulacra.data.base import EventDataModule
from simulacra.data.files import embedded_folder
from simulacra.evaluation import config as tree

MARK = "<!-- table: data sets -->"
HEADS = ("`data=`", "events", "shape", "given", "full data", "embedded")


WORDS = {
    "layers": "cells in layers",
    "grid": "cells on a grid",
    "cloud": "points",
    "image": "images",
    "table": "quantities",
}
PLACE = re.compile(r"Zenodo record \d+")


def row(name: str, config: dict[str, Any]) -> list[str]:
    """Cells of a data set."""
    module = data.build({**config, "root": None} if "root" in config else config)
    spec = module.spec
    shape = " x ".join(f"{size:,}" for size in spec.shape)
    sizes = embedded(name, config, module)
    counts = ", ".join(f"{n:,} {part}" for part, n in sizes.items() if n)
    if spec.kind == "image":
        counts = "a stand-in, see below"
    return [f"`{name}`", WORDS[spec.kind], shape, given(spec), where(name, config), counts]


def given(spec: Spec) -> str:
    """Conditions with their units."""
    return ", ".join(
        f"{item.name} [{item.unit}]" if item.unit else item.name for item in spec.conditions
    )


def where(name: str, config: dict[str, Any]) -> str:
    """Where the full data are, as the configuration or its comment says."""
    text = (tree.folder("conf") / "data" / f"{name}.yaml").read_text()
    head = " ".join(line for line in text.splitlines() if line.startswith("#"))
    found = PLACE.search(head)
    return (config.get("published") or {}).get("where") or (found[0] if found else "")


def embedded(name: str, config: dict[str, Any], module: EventDataModule) -> dict[str, int]:
    """Numbers of events of the parts of a sample that comes with the package."""
    sample = (config.get("published") or {}).get("embedded") or name
    return module.sizes() if embedded_folder(sample).is_dir() else {}


def table() -> str:
    """All data sets that stand for themselves."""
    logging.getLogger("simulacra").setLevel(logging.ERROR)  # which sample is used is what is asked
    configs = tree.load_choices("data", tree.choices("data"), tree.place())
    rows = [row(name, config) for name, config in configs.items() if not config.get("sets")]
    lines = [HEADS, ["---"] * len(HEADS), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def on_page_markdown(text: str, **kwargs: Any) -> str:
    """The page with its table."""
    return text.replace(MARK, table()) if MARK in text else text
