"""Small trained models that come with the package: ``zoo:NAME`` stands for the checkpoint of that name.

Members are light checkpoints (:mod:`simulacra.evaluation.sharing`), each with a model card beside it.
"""

from __future__ import annotations

import difflib
import os
from importlib import resources
from pathlib import Path

from simulacra.core import UserError

PREFIX = "zoo:"


def folder() -> Path:
    """Where the members lie."""
    return Path(str(resources.files("simulacra"))) / "zoo"


def members() -> list[str]:
    """Names of the members, sorted."""
    return sorted(path.stem for path in folder().glob("*.ckpt"))


def named(path: object) -> str | None:
    """The name behind ``zoo:``, or None for a path of the disk."""
    text = os.fspath(path) if isinstance(path, (str, os.PathLike)) else ""
    return text.removeprefix(PREFIX) if isinstance(text, str) and text.startswith(PREFIX) else None


def located(path: str | os.PathLike[str]) -> Path:
    """The file of a member of the zoo, or the path as it is.

    Raises:
        UserError: If the zoo has no such member.
    """
    name = named(path)
    if name is None:
        return Path(path)
    known = members()
    if name not in known:
        close = difflib.get_close_matches(name, known, 1)
        has = f"it has {', '.join(known)}" if known else "it is empty in this installation"
        hint = f"did you mean {PREFIX}{close[0]}?" if close else has
        raise UserError(f"the zoo has no {name!r}: {hint}")
    return folder() / f"{name}.ckpt"
