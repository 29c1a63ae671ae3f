"""What the machine refuses: disks that are full or cannot be written, paths that cannot be, memory.

Such a failure is no fault of the program, wherever it shows. It is told in one sentence, while every other
error of the same types keeps its traceback.
"""

from __future__ import annotations

import errno
import logging
import os
import re
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from simulacra.core import UserError

REASONS = {
    errno.ENOSPC: "no space is left on the disk",
    errno.EDQUOT: "the quota of the disk is used up",
    errno.EFBIG: "the file is larger than is allowed here",
    errno.EROFS: "the disk can only be read",
    errno.EACCES: "the permission is missing",
    errno.EPERM: "the permission is missing",
    errno.ENAMETOOLONG: "the name is too long",
    errno.EISDIR: "it is a folder, not a file",
    errno.ENOTDIR: "a part of it is a file, not a folder",
    errno.ELOOP: "its links go in a circle",
    errno.ENOENT: "there is no such file or folder",
    errno.EEXIST: "it is there already",
    errno.ENOTEMPTY: "the folder is not empty",
    errno.EXDEV: "it lies on another disk",
    errno.EIO: "the disk has an error",
    errno.ESTALE: "the network disk has lost it",
    errno.EBUSY: "it is in use",
    errno.ETXTBSY: "it is in use",
    errno.EINVAL: "the system does not allow it there",
    errno.ENXIO: "there is no such device",
    errno.ENODEV: "there is no such device",
    errno.EMFILE: "too many files are open",
    errno.ENFILE: "too many files are open",
    errno.EPIPE: "the program that reads it has ended",
    errno.ENOTCONN: "the network disk is not connected",
    errno.ETIMEDOUT: "the network disk does not answer",
}
"""Errors of the system that a user can mend, in words."""
NO_MEMORY = (
    "can't allocate memory",
    "not enough memory",
    "out of memory",
    "bad_alloc",
    "Storage size calculation overflowed",
    "unable to mmap",
    "Cannot allocate memory",
)
"""What torch says where an allocation failed."""

log = logging.getLogger(__name__)

_PART = re.compile(r"\.([^/]+)\.[0-9a-f-]+(?:\.[0-9a-f-]+)*-[0-9a-f]{8}\.part$")
"""The name of a temporary file, see :func:`simulacra.core.files.beside`."""


def told(error: BaseException) -> str | None:
    """The sentence for a failure of the machine; None for any other error."""
    if isinstance(error, MemoryError) or (
        isinstance(error, OSError) and error.errno == errno.ENOMEM
    ):
        return _memory(str(error))
    if isinstance(error, RuntimeError) and any(text in str(error) for text in NO_MEMORY):
        return _memory(str(error))
    if isinstance(error, OSError) and error.errno in REASONS:
        names = [str(name) for name in (error.filename, error.filename2) if name is not None]
        where = f"cannot use {_short(_PART.sub(_target, names[-1]))}" if names else "cannot write"
        return f"{where}: {REASONS[error.errno]}"
    return None


@contextmanager
def as_sentences() -> Iterator[None]:
    """Failures of the machine in a block as errors of users.

    Raises:
        UserError: For each of them.
    """
    try:
        yield
    except (OSError, MemoryError, RuntimeError) as error:
        text = told(error)
        if text is None:
            raise
        raise UserError(text) from error


@contextmanager
def threads_told() -> Iterator[None]:
    """A failure of the machine in a library's thread is a warning and no traceback; the library raises it
    again where it next needs the thread.
    """
    before = threading.excepthook

    def answer(ended: threading.ExceptHookArgs) -> None:
        text = None if ended.exc_value is None else told(ended.exc_value)
        if text is None:
            before(ended)
        else:
            log.warning("a thread has stopped: %s", text)

    threading.excepthook = answer
    try:
        yield
    finally:
        threading.excepthook = before


@contextmanager
def whole_folder(folder: Path) -> Iterator[None]:
    """A folder that a block fills; where the block fails, one that was not there or was empty is removed."""
    fresh = not folder.exists() or (folder.is_dir() and not any(folder.iterdir()))
    missing = [item for item in (folder, *folder.parents) if not item.exists()]
    try:
        yield
    except BaseException:
        if fresh and folder.is_dir() and not folder.is_symlink():
            shutil.rmtree(folder, ignore_errors=True)
        remove_empty(missing)
        raise


def remove_empty(folders: list[Path]) -> None:
    """Remove folders, the innermost first, as far as nothing is in them."""
    for item in folders:
        if not item.exists():
            continue
        if not item.is_dir() or any(item.iterdir()):
            return
        try:
            item.rmdir()
        except OSError:  # it cannot be removed: it stays
            return


def _target(part: re.Match[str]) -> str:
    """The file that a temporary one was to become."""
    return part[1]


def _memory(reason: str) -> str:
    """The sentence for a lack of memory, with what the allocator says."""
    first = " ".join(reason.split())[-120:] or "no more is to be had"
    return (
        "out of memory: fewer events at once need less, as with a smaller batch_size (in training "
        f"data.batch_size and data.eval_batch_size) or evaluation.events ({first})"
    )


def _short(path: str) -> str:
    """A path that fits into a sentence."""
    return (
        path if len(path) <= 120 else f"{path[:60]}...{path[-50:]} ({len(os.fsencode(path))} bytes)"
    )
