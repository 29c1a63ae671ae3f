"""``tracker.json`` of a run directory: as which run each tracker knows it, so that it goes on there."""

from __future__ import annotations

import json
import re
from pathlib import Path

from simulacra.core import UserError
from simulacra.core.files import write_text

FILE = "tracker.json"
Entries = dict[str, dict[str, str]]

_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,127}", re.ASCII)
"""What an id may be: it becomes part of names of folders, too."""


def job_number(name: str) -> int | None:
    """Number of a job of a sweep, with which the name of its folder begins; None where there is none."""
    found = re.match(r"\d+(?=_|$)", name, re.ASCII)
    return None if found is None else int(found[0])


def remember(run: Path, tracker: str, entry: dict[str, str]) -> None:
    """Write what a tracker says of its run, at least its ``id``, beside what others have said."""
    write_text(run / FILE, json.dumps({**_read(run), tracker: entry}, indent=2) + "\n")


def earlier(run: Path) -> dict[str, str]:
    """Ids of the tracked runs that a run directory belongs to, by tracker.

    Raises:
        UserError: If the file is damaged.
    """
    return {tracker: entry["id"] for tracker, entry in _read(run).items()}


def _read(run: Path) -> Entries:
    path = run / FILE
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise _damaged(path, "it is not JSON") from error
    if not isinstance(found, dict):
        raise _damaged(path, "it holds no entries by tracker")
    for tracker, entry in found.items():
        if not isinstance(entry, dict) or not all(isinstance(v, str) for v in entry.values()):
            raise _damaged(path, f"the entry {tracker!r} is no mapping of texts")
        if not _ID.fullmatch(entry.get("id", "")):
            raise _damaged(path, f"the entry {tracker!r} has no usable id")
    return found


def _damaged(path: Path, reason: str) -> UserError:
    return UserError(
        f"{path} does not name the tracked run ({reason}): move it away, and the run goes on as a new one "
        "of the tracker"
    )
