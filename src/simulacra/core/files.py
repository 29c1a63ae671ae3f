"""Files that are there whole or not at all: written beside their place, then moved to it."""

from __future__ import annotations

import csv
import os
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from simulacra.core.errors import UserError


def beside(path: Path) -> Path:
    """A new name in the same folder, for what shall become ``path``."""
    return path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.part")


def cannot_write(path: Path, error: OSError) -> UserError:
    """What is said when ``path`` could not be written."""
    reason = os.strerror(error.errno) if error.errno else " ".join(str(error).split())[:200]
    return UserError(f"cannot write {path}: {reason}; no part of it was left behind")


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A file beside ``path`` to write to in the block.

    It takes the place of ``path`` once it is on disk. Where the block fails it is removed, and an earlier
    ``path`` stays.

    Raises:
        UserError: If the disk is full or the folder cannot be written.
    """
    part = beside(path)
    try:
        yield part
        with part.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(part, path)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        part.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write all of a text or nothing, in UTF-8.

    Raises:
        UserError: See :func:`whole`.
    """
    with whole(path) as part:
        part.write_text(text, encoding="utf-8")


def write_table(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> None:
    """Write a CSV file with a header, all of it or nothing; a cell that a row lacks is empty.

    Raises:
        UserError: See :func:`whole`.
    """
    with whole(path) as part, part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(columns))
        writer.writeheader()
        writer.writerows(rows)
