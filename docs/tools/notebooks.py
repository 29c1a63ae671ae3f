"""Notebooks as pages: their text, code, and the results that are stored in them."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

FOLDER = Path(__file__).parents[1] / "notebooks"
SECTION = "Notebooks"


def names() -> list[str]:
    """Names of the notebooks."""
    return sorted(path.stem for path in FOLDER.glob("*.ipynb"))


def lines(name: str, pictures: dict[str, bytes]) -> Iterator[str]:
    """Parts of the page of a notebook; pictures are collected by their file names."""
    cells: list[dict[str, Any]] = json.loads((FOLDER / f"{name}.ipynb").read_text())["cells"]
    for position, cell in enumerate(cells):
        text = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            yield text
            continue
        yield f"```python\n{text}\n```"
        for output in cell["outputs"]:
            data = output.get("data", {})
            if "image/png" in data:
                pictures[f"{name}_{position}.png"] = base64.b64decode(data["image/png"])
                yield f"![Result of the cell above]({name}_{position}.png)"
            else:
                shown = "".join(output.get("text", data.get("text/plain", ""))).rstrip()
                yield f"```text\n{shown}\n```"
    yield f"[This page as a notebook]({name}.ipynb){{ download={name}.ipynb }}"


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """The section of the notebooks lists all of them."""
    for entry in config.nav or []:
        if isinstance(entry, dict) and SECTION in entry:
            entry[SECTION] = [f"notebooks/{name}.md" for name in names()]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Pages and pictures."""
    for name in names():
        pictures: dict[str, bytes] = {}
        text = "\n\n".join(lines(name, pictures))
        files.append(File.generated(config, f"notebooks/{name}.md", content=text))
        for title, content in pictures.items():
            files.append(File.generated(config, f"notebooks/{title}", content=content))
    return files
