"""Jets of several classes in one file per class, as the public jet sets are laid out."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import ClassVar

from simulacra.core import Batch, UserError
from simulacra.formats.base import FileInfo, Writer


class ClassWriter(Writer):
    """Streams events into one file per class that occurs: class ``t`` of ``jets.h5`` goes to ``jets_t.h5``.

    All files appear when the block ends; when it ends by an exception, none does.

    Args:
        path: Path whose stem the files' names begin with.
        classes: Names of the classes.
        make: Writer of one class, from its name and path.
    """

    takes_weights: ClassVar[bool] = True

    def __init__(
        self, path: Path | str, classes: Sequence[str], make: Callable[[str, Path], Writer]
    ) -> None:
        super().__init__(path)
        self.classes, self.make = tuple(classes), make
        self.parts: dict[int, Writer] = {}

    def _append(self, batch: Batch) -> None:
        """Write each jet to the file of its class."""
        labels = batch.conditions(["jet_class"]).values["jet_class"][:, 0].long()
        for number in sorted(set(labels.tolist())):
            if not 0 <= number < len(self.classes):
                raise UserError(
                    f"'jet_class' has classes 0 to {len(self.classes) - 1}, got {number}"
                )
            if number not in self.parts:
                self.parts[number] = self._start(self.classes[number])
            self.parts[number].append(batch[labels == number])

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is not None:
            self._discard()
            return
        try:
            self._close()
            for part in self.parts.values():
                os.replace(part.temporary, part.path)
        except OSError as failure:
            self._discard()
            raise self._failure(failure) from failure

    def _start(self, name: str) -> Writer:
        part = self.make(name, self.path.with_name(f"{self.path.stem}_{name}{self.path.suffix}"))
        return part.__enter__()

    def _open(self) -> None:
        """Files are started when their class first occurs."""

    def _close(self) -> None:
        for part in self.parts.values():
            part._close()

    def _discard(self) -> None:
        for part in self.parts.values():
            part._discard()


def join_infos(path: Path, infos: Sequence[FileInfo]) -> FileInfo:
    """What several files hold together."""
    if len(infos) == 1:
        return infos[0]
    n = sum(info.n for info in infos)
    ranges = {
        name: (
            min(info.ranges[name][0] for info in infos),
            max(info.ranges[name][1] for info in infos),
        )
        for name in infos[0].ranges
    }
    shapes = {key: (n, *shape[1:]) for info in infos for key, shape in info.shapes.items()}
    return FileInfo(path, n, shapes, ranges)


def read_span(
    members: Sequence[Path],
    start: int,
    stop: int | None,
    header: Callable[[Path], FileInfo],
    read: Callable[[Path, int, int], Batch],
) -> Batch:
    """Events ``start`` to ``stop`` of several files that follow each other."""
    parts, before = [], 0
    for member in members:
        n = header(member).n
        low, high = max(start - before, 0), n if stop is None else min(stop - before, n)
        if low < high:
            parts.append(read(member, low, high))
        before += n
    if not parts:
        raise UserError(
            f"{members[0]}: there are no events {start} to {stop}, the files hold {before}"
        )
    return Batch.cat(parts)
