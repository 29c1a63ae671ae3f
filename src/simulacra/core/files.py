"""Files that are there whole or not at all: written beside their place, then moved to it."""

from __future__ import annotations

import csv
import hashlib
import os
import platform
import re
import secrets
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from simulacra.core.errors import UserError

FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
"""Beginnings of a cell that spreadsheets take for a formula, in full width, too."""


def machine() -> str:
    """A short name of this machine, since processes of several may write to one disk."""
    return hashlib.sha256(platform.node().encode()).hexdigest()[:6]


def beside(path: Path) -> Path:
    """A new name in the same folder, for what shall become ``path``; it says which process writes it."""
    owner = f"{machine()}-{os.getpid()}"
    return path.with_name(f".{path.name}.{owner}-{secrets.token_hex(4)}.part")


def cannot_write(path: Path, error: OSError) -> UserError:
    """What is said when ``path`` could not be written."""
    reason = os.strerror(error.errno) if error.errno else " ".join(str(error).split())[:200]
    return UserError(f"cannot write {path}: {reason}; no part of it was left behind")


def put(part: Path, path: Path) -> None:
    """Move what was written beside ``path``, and is on disk, to it, for good.

    What killed processes left of ``path`` goes.

    Raises:
        OSError: If it cannot be moved.
    """
    os.replace(part, path)
    sync(path.parent)
    remove_left(path)


def sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on disk, where the file system can say so."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError:
        if not path.is_dir():  # not all file systems sync folders
            raise
    finally:
        os.close(handle)


def remove_left(path: Path) -> None:
    """Remove what processes that are gone, on this machine, have left of ``path``."""
    name = re.compile(rf"\.{re.escape(path.name)}\.{machine()}-(\d+)-[0-9a-f]{{8}}\.part")
    with suppress(OSError):  # a folder that cannot be listed, or another process was first
        for entry in os.scandir(path.parent):
            found = name.fullmatch(entry.name)
            if found and _is_gone(int(found[1])):
                if entry.is_dir(follow_symlinks=False):
                    shutil.rmtree(entry.path, ignore_errors=True)
                else:
                    os.unlink(entry.path)


def _is_gone(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):  # it is there, but another user's
        return False
    return False


@contextmanager
def whole(path: Path, private: bool = False) -> Iterator[Path]:
    """A file beside ``path`` to write to in the block.

    It takes the place of ``path`` once it is on disk. Where the block fails it is removed, and an earlier
    ``path`` stays.

    Args:
        path: The file.
        private: Whether its owner alone may read it.

    Raises:
        UserError: If the disk is full or the folder cannot be written.
    """
    part = beside(path)
    try:
        if private:
            os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        yield part
        sync(part)
        put(part, path)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """A folder beside ``path`` to put files into in the block.

    It takes the place of ``path`` once they are on disk. Where the block fails it is removed, and an earlier
    ``path`` stays.

    Raises:
        UserError: If the disk is full or the folder above cannot be written.
    """
    part, old = beside(path), beside(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.mkdir()
        yield part
        for file in part.iterdir():
            sync(file)
        if path.exists():
            path.rename(old)
        put(part, path)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
        if old.exists() and not path.exists():
            old.rename(path)
        shutil.rmtree(old, ignore_errors=True)


def private_folder(path: Path) -> None:
    """Make a folder, and those above it that are missing, for its owner alone.

    Raises:
        OSError: If it cannot be made.
    """
    missing = [folder for folder in (path, *path.parents) if not folder.is_dir()]
    for folder in reversed(missing):
        folder.mkdir(mode=0o700, exist_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write all of a text or nothing, in UTF-8.

    Raises:
        UserError: See :func:`whole`.
    """
    with whole(path) as part:
        part.write_text(text, encoding="utf-8")


def write_table(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> None:
    """Write a CSV file with a header, all of it or nothing; a cell that a row lacks is empty.

    A text that a spreadsheet would run as a formula gets an apostrophe before it.

    Raises:
        UserError: See :func:`whole`.
    """
    with whole(path) as part, part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([harmless(name) for name in columns])
        for row in rows:
            writer.writerow([harmless(row.get(name, "")) for name in columns])


def harmless(cell: object) -> object:
    """A cell of a table that no spreadsheet runs; numbers without a plus stay as they are, as texts, too."""
    if not isinstance(cell, str) or not cell.startswith(FORMULA) or _is_number(cell):
        return cell
    return f"'{cell}"


def _is_number(text: str) -> bool:
    return re.fullmatch(r"-?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?", text, re.ASCII) is not None
