"""Files from a server, whole or not at all, going on where an earlier try was cut.

What has arrived lies beside the file as ``.NAME.part``, also when the command is stopped, and the next try
asks for the rest alone. The file gets its name when its checksum is right.
"""

from __future__ import annotations

import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from simulacra.core import UserError
from simulacra.core.signals import check
from simulacra.data.records import EXTRA, Remote, http

BLOCK = 2**15
"""Bytes that are read at once; fewer than that are lost where a transfer is cut."""
BROKEN = (502, 503, 504)
"""Answers of a server that may be another one a little later."""

Progress = Callable[[int], None]
"""Called with the bytes that are there."""


class CutError(Exception):
    """A transfer ended before the end of the file; another try may go on."""


@dataclass(frozen=True)
class Patience:
    """How long to wait for a server.

    Args:
        timeout: Seconds without a byte after which a transfer counts as cut.
        retries: Tries without any new byte after which it is given up.
        pause: Seconds before another try, doubled each time.
    """

    timeout: float = 30.0
    retries: int = 5
    pause: float = 1.0


def fetch(
    remote: Remote, path: Path, patience: Patience, progress: Progress = lambda n: None
) -> str | None:
    """Make sure that a file of a record is there.

    Args:
        remote: The file.
        path: Where it shall be.
        patience: With a server that does not answer.
        progress: Told of what has arrived.

    Returns:
        Its SHA-256 where it was fetched, None where the right file was there already.

    Raises:
        UserError: If another file is there, the server does not give the file, the disk is full, or the
            checksum is wrong.
    """
    pooch = _pooch()
    if path.exists():
        present(remote, path)
        progress(path.stat().st_size)
        return None
    part = path.with_name(f".{path.name}.part")
    try:
        os.makedirs(path.parent, exist_ok=True)
        with _alone(part) as file:
            downloader = Resuming(part, file, remote, patience, progress)
            pooch.retrieve(
                remote.url, remote.checksum, path.name, path.parent, downloader=downloader
            )
            part.unlink(missing_ok=True)
        return str(pooch.file_hash(str(path), alg="sha256"))
    except UserError:
        raise
    except ValueError as error:  # of the checksum
        part.unlink(missing_ok=True)
        raise UserError(
            f"{remote.name} does not have the checksum of its record, {remote.checksum}: it was damaged on "
            "its way and is removed, try again"
        ) from error
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise UserError(f"cannot write {path}: {reason}; what has arrived is kept") from error


def present(remote: Remote, path: Path) -> None:
    """Make sure that a file that is there is that of the record.

    Raises:
        UserError: If its size or its checksum differ.
    """
    size = path.stat().st_size
    if remote.size not in (None, size):
        what = f"it has {size:,} bytes of {remote.size:,}"
    elif remote.checksum is not None and not _matches(path, remote.checksum):
        what = "its checksum differs"
    else:
        return
    raise UserError(
        f"{path} is not the file of the record ({what}): move it away, then it is fetched"
    )


def _matches(path: Path, checksum: str) -> bool:
    kind, _, digest = checksum.partition(":")
    return bool(_pooch().file_hash(str(path), alg=kind) == digest)


class Resuming:
    """A downloader of pooch that goes on behind what has arrived.

    Args:
        part: Where it lies.
        file: The same, open for reading and writing.
        remote: What is fetched.
        patience: With the server.
        progress: Told of what has arrived.
    """

    def __init__(
        self, part: Path, file: IO[bytes], remote: Remote, patience: Patience, progress: Progress
    ) -> None:
        self.part, self.file, self.remote = part, file, remote
        self.patience, self.progress = patience, progress
        self.total = remote.size

    def __call__(self, url: str, output_file: str, pooch: object = None) -> None:
        """Fetch all of it, then let ``output_file`` be it."""
        tries, pause = 0, self.patience.pause
        while not self._complete():
            before = self._there
            try:
                self._go_on(url)
            except CutError as cut:
                tries = 0 if self._there > before else tries + 1
                if tries > self.patience.retries:
                    raise UserError(
                        f"{self.remote.name} was cut after {self._there:,} bytes"
                        f"{f' of {self.total:,}' if self.total else ''} ({cut}): what has arrived is kept, "
                        "the same command goes on"
                    ) from cut
                time.sleep(pause * 2 ** min(tries, 6))
        self.file.flush()
        os.fsync(self.file.fileno())
        os.unlink(output_file)
        try:  # the part stays until the checksum is known
            os.link(self.part, output_file)
        except OSError:
            os.replace(self.part, output_file)

    @property
    def _there(self) -> int:
        return os.fstat(self.file.fileno()).st_size

    def _complete(self) -> bool:
        if self.total is not None and self._there > self.total:
            self._restart()
        return self.total is not None and self._there == self.total

    def _restart(self) -> None:
        self.file.truncate(0)

    def _go_on(self, url: str) -> None:
        requests, there = http(), self._there
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={there}-"} if there else {})
        try:
            with requests.get(
                url, headers=headers, stream=True, timeout=self.patience.timeout
            ) as answer:
                if self._begins(answer, there):
                    self._take(answer)
        except requests.RequestException as error:
            raise CutError(type(error).__name__) from error
        if self.total is None:  # a server that tells no length ends when the file does
            self.total = self._there
        elif self._there < self.total:
            raise CutError("the server closed the connection")

    def _begins(self, answer: Any, there: int) -> bool:
        """Whether an answer goes on where the file ends; what it says of the length is kept."""
        if answer.status_code in BROKEN:
            raise CutError(f"the server answers {answer.status_code}")
        if (
            answer.status_code == 416
        ):  # nothing lies behind what is there: it is another file, or all
            if self.total is None and there:
                self.total = there
            else:
                self._restart()
            return False
        if answer.status_code not in (200, 206):
            raise UserError(
                f"the server answers {answer.status_code} when asked for {self.remote.name}"
            )
        begin, total = _told(answer)
        if begin != there:
            self._restart()
            if begin:
                raise CutError(f"the server began at byte {begin}")
        self.total = self.total if total is None else total
        if self.remote.size is not None and self.total != self.remote.size:
            raise UserError(
                f"the server gives {self.total:,} bytes of {self.remote.name}, its record says "
                f"{self.remote.size:,}"
            )
        needed = (self.total or 0) - self._there
        free = shutil.disk_usage(self.part.parent).free
        if needed > free:
            raise UserError(
                f"{self.remote.name} needs {needed / 1e9:,.1f} GB, {self.part.parent} has "
                f"{free / 1e9:,.1f} GB"
            )
        return True

    def _take(self, answer: Any) -> None:
        self.file.seek(0, os.SEEK_END)
        try:
            for block in answer.iter_content(BLOCK):
                check()
                self.file.write(block)
                self.progress(self.file.tell())
        finally:
            self.file.flush()


def _told(answer: Any) -> tuple[int, int | None]:
    """Where an answer begins, and the length of the whole file, if it is told."""
    length = answer.headers.get("Content-Length", "")
    if answer.status_code == 200:
        return 0, int(length) if length.isdigit() else None
    span, _, total = answer.headers.get("Content-Range", "").removeprefix("bytes ").partition("/")
    begin = span.partition("-")[0]
    return int(begin) if begin.isdigit() else -1, int(total) if total.isdigit() else None


@contextmanager
def _alone(part: Path) -> Iterator[IO[bytes]]:
    """The part, open for one process alone.

    Raises:
        UserError: If another process is fetching the same file.
    """
    import fcntl

    with open(part, "a+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(f"{part} is being written by another process") from error
        yield file


def _pooch() -> Any:
    try:
        import pooch
    except ImportError as error:
        raise UserError(EXTRA) from error
    pooch.get_logger().setLevel(logging.ERROR)
    return pooch
