"""What can be wrong with a path before a library reads it, and what the system says while one does.

Every reader first looks at its file with :func:`look`, and lets its library work inside :func:`guard`, so
that each cause has one sentence, the same for every kind of file.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType

from simulacra.core import FormatError, UserError

_KINDS: tuple[tuple[Callable[[int], bool], str], ...] = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)
_STARTS: tuple[tuple[bytes, str], ...] = (
    (b"\x1f\x8b", "it is packed by gzip: unpack it (gunzip)"),
    (b"BZh", "it is packed by bzip2: unpack it (bunzip2)"),
    (b"\xfd7zXZ\x00", "it is packed by xz: unpack it (unxz)"),
    (b"\x28\xb5\x2f\xfd", "it is packed by zstd: unpack it (unzstd)"),
    (b"7z\xbc\xaf\x27\x1c", "it is a 7z archive: unpack it"),
    (b"PK\x03\x04", "it is a zip archive: unpack it"),
    (b"version https://git-lfs", "it is a pointer of git-lfs: fetch the file with 'git lfs pull'"),
    (b"<!DOCTYPE html", "it is a web page: get the file itself"),
    (b"<!doctype html", "it is a web page: get the file itself"),
    (b"<html", "it is a web page: get the file itself"),
)
_SHOWN = 8  # bytes of a wrong file that are named
_DISK = (errno.EIO, errno.ESTALE, errno.ENXIO, errno.ENODEV, errno.ETIMEDOUT, errno.EREMOTEIO)
_MEMORY = ("can't allocate memory", "cannot allocate memory", "not enough memory", "out of memory")


def look(path: Path | str, kind: str, empty: bool = False) -> bytes:
    """First bytes of a file that is there and may be read.

    Args:
        path: The file.
        kind: What is expected, for messages: ``"HDF5"``.
        empty: Whether it may be empty.

    Raises:
        FormatError: In one sentence that names the path and what it is instead.
    """
    path = Path(path)
    with guard(path):
        mode = path.stat().st_mode
        other = next((name for matches, name in _KINDS if matches(mode)), None)
        if other is not None:
            raise FormatError(f"{path}: this is {other}, expected a file ({kind})")
        with path.open("rb") as stream:
            start = stream.read(32)
    if not start and not empty:
        raise FormatError(f"{path}: the file is empty, expected {kind}")
    return start


def is_packed(start: bytes) -> bool:
    """Whether a file is packed, or something else that :func:`other_kind` knows to name."""
    return any(start.startswith(magic) for magic, _ in _STARTS)


def other_kind(path: Path | str, kind: str, start: bytes) -> FormatError:
    """What is said of a file that starts like none of its kind."""
    hint = next((text for magic, text in _STARTS if start.startswith(magic)), None)
    article = "an" if kind[0] in "AEIOH" else "a"
    what = hint or f"it starts with {start[:_SHOWN]!r}"
    return FormatError(f"{path}: not {article} {kind} file, {what}")


def describe(error: Exception) -> str:
    """What an error of no known cause means for a file."""
    return f"it cannot be read ({first_line(error)})"


@contextlib.contextmanager
def guard(
    path: Path | str,
    kinds: tuple[type[Exception], ...] = (),
    say: Callable[[Exception], str] = describe,
    *libraries: str,
) -> Iterator[None]:
    """Turn what a library raises while it reads a file into one sentence.

    What the system says (no permission, no memory, a disk that fails) has the same sentence for all
    libraries. Errors of the common kinds count only where they were raised inside the library, so that a
    mistake of our own code keeps its traceback.

    Args:
        path: The file.
        kinds: What the library raises besides OSError and MemoryError.
        say: What the error means for the file, as the end of a sentence that begins with its path.
        libraries: First names of the library's modules, as ``"h5py"``; none where ``kinds`` are all its own.

    Raises:
        FormatError: In one sentence that begins with the path.
    """
    caught: tuple[type[Exception], ...] = (*kinds, OSError, MemoryError, ValueError)
    try:
        yield
    except UserError:
        raise
    except caught as error:
        cause = system_cause(path, error)
        known = isinstance(error, OSError) or (
            isinstance(error, kinds) and (not libraries or inside(error.__traceback__, libraries))
        )
        if cause is None and not known:
            raise
        raise FormatError(f"{path}: {cause or say(error)}") from error


@contextlib.contextmanager
def memory_for(path: Path | str) -> Iterator[None]:
    """Say in one sentence that the events of a file do not fit into memory.

    Raises:
        FormatError: If memory that was asked for in the block is not there.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError) and "allocate memory" not in str(error):
            raise
        raise FormatError(f"{path}: {system_cause(path, error)}") from error


def system_cause(path: Path | str, error: BaseException) -> str | None:
    """What the system reported, or None where the file itself is to blame."""
    number = error.errno if isinstance(error, OSError) else None
    text = str(error).lower()
    if isinstance(error, MemoryError) or number == errno.ENOMEM or any(m in text for m in _MEMORY):
        return (
            "there is not enough memory to read it: free some, use a machine with more, or read fewer "
            "events (data.limit) or smaller batches"
        )
    if "embedded null byte" in text or number == errno.ENAMETOOLONG:
        return "no file can have such a name: choose another"
    if number in (errno.ENOENT, errno.ENOTDIR):
        if os.path.islink(path):
            return f"it is a link to {os.readlink(path)}, which is not there"
        return "there is no such file"
    if number == errno.ELOOP:
        return "it is a link that leads back to itself"
    if number in (errno.EACCES, errno.EPERM):
        return "it may not be read: ask its owner for permission (chmod +r), also for its folder"
    if number in (errno.EMFILE, errno.ENFILE):
        return "too many files are open: raise the limit (ulimit -n)"
    if number in _DISK:
        return (
            f"its disk failed while it was read ({os.strerror(number)}): try again, or copy it to "
            "another disk"
        )
    return None


def inside(traceback: TracebackType | None, libraries: Sequence[str]) -> bool:
    """Whether an error passed through a module of one of the libraries."""
    while traceback is not None:
        name = str(traceback.tb_frame.f_globals.get("__name__", ""))
        if name.split(".")[0] in libraries:
            return True
        traceback = traceback.tb_next
    return False


def first_line(error: BaseException) -> str:
    """The first line of a message, of bounded length, or the kind of an error that has none."""
    lines = str(error).strip().splitlines()
    return lines[0].strip()[:200] if lines else type(error).__name__
