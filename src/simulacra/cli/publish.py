"""``simulacra publish``: a light checkpoint of a finished run, with its model card."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from simulacra.core import UserError
from simulacra.core.files import whole, write_text
from simulacra.evaluation import saved, sharing
from simulacra.evaluation.card import card
from simulacra.evaluation.outputs import free
from simulacra.evaluation.schema import Publish
from simulacra.running.signals import interruptible
from simulacra.training import zoo


def publish(cfg: DictConfig) -> dict[str, Any]:
    """Publish as configured (``conf/publish.yaml``).

    Returns:
        The checkpoint and its card.

    Raises:
        UserError: If the run is not finished or its checkpoint cannot be loaded, or the output is there
            already or cannot be written.
    """
    config = saved.resolve(cfg, Publish)
    if config["run"] is None:
        raise UserError("publishing needs run=DIRECTORY of a finished run")
    folder = Path(config["output"])
    with interruptible():
        contents = sharing.share(
            Path(config["run"]),
            config["name"],
            config["licence"],
            config["allow"],
            config["events"],
        )
        name = contents[sharing.ENTRY]["name"]
        path, page = folder / f"{name}.ckpt", folder / f"{name}.md"
        for file in (path, page):
            free(file, config["overwrite"])
        try:
            os.makedirs(folder, exist_ok=True)
        except OSError as error:
            raise UserError(f"cannot write below {folder}: {error.strerror}") from error
        with whole(path) as part:
            part.write_bytes(sharing.packed(contents))
            # of the file that was written, so that it is known to load
            text = card(part, address(path), config["allow"])
        write_text(page, text)
    print(f"wrote {path}: {path.stat().st_size / 1e6:.1f} MB, and its card {page.name}")
    return {"checkpoint": str(path), "card": str(page)}


def address(path: Path) -> str:
    """What a light checkpoint is loaded by: its name in the zoo, or the name of its file."""
    inside = path.parent.resolve() == zoo.folder().resolve()
    return f"{zoo.PREFIX}{path.stem}" if inside else path.name
