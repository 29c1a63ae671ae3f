"""Jets of several classes in one file per class, as the public jet sets are laid out.

Files that are written together know each other: each holds the name of their set, which follows from all of
its events, and the names of its members. So a file of an earlier set is told from those of this one. Public
files say nothing, and belong to whatever lies beside them.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from simulacra.core import Batch, FormatError, UserError
from simulacra.core.files import put
from simulacra.formats.base import FileInfo, Writer
from simulacra.formats.hdf5 import Hdf5Writer
from simulacra.formats.hdf5_data import attribute, open_hdf5

SET, MEMBERS = "set", "set_members"
"""Attributes with the name of a set of files, and the names of its members."""


def family(path: Path, classes: Sequence[str]) -> dict[str, Path]:
    """The file of each class behind a path: that of ``t`` behind ``jets.h5`` is ``jets_t.h5``."""
    return {name: path.with_name(f"{path.stem}_{name}{path.suffix}") for name in classes}


def members(path: Path, classes: Sequence[str]) -> list[Path]:
    """The files that are there of those behind a path, which must be of one set.

    Raises:
        FormatError: If they are of different sets, or one of the set that is asked for is missing.
    """
    found = {name: file for name, file in family(path, classes).items() if os.path.isfile(file)}
    marks = {name: _mark(file) for name, file in found.items()}
    sets = {mark[0] for mark in marks.values()}
    if len(sets) > 1:
        newest = max(found, key=lambda name: found[name].stat().st_mtime_ns)
        other = next(name for name in found if marks[name][0] != marks[newest][0])
        raise FormatError(
            f"{found[other]}: the file is not of the same set as {found[newest].name}, but of another that "
            f"was written to {path.name}: remove it, or write the whole set again"
        )
    listed = next(iter(marks.values()))[1] if marks else ()
    lost = [name for name in listed if name in classes and name not in found]
    if lost:
        raise FormatError(
            f"{family(path, lost)[lost[0]]}: this file is missing, the others of its set name it: get it, or "
            "leave its class out"
        )
    return list(found.values())


def _mark(path: Path) -> tuple[str, tuple[str, ...]]:
    """Name of a file's set and the classes of its members; both empty where it is of none."""
    with open_hdf5(path) as file:
        name, listed = attribute(file, path, SET), attribute(file, path, MEMBERS)
    return ("", ()) if name is None else (str(name), tuple(str(listed).split(", ")))


class ClassWriter(Writer):
    """Streams events into one file per class that occurs: class ``t`` of ``jets.h5`` goes to ``jets_t.h5``.

    All files appear when the block ends; when it ends by an exception, none does. Files of an earlier set, of
    classes that do not occur any more, are then removed.

    Args:
        path: Path whose stem the files' names begin with.
        classes: Names of the classes.
        make: Writer of one class, from its name and path.
    """

    takes_weights: ClassVar[bool] = True

    def __init__(
        self, path: Path | str, classes: Sequence[str], make: Callable[[str, Path], Hdf5Writer]
    ) -> None:
        super().__init__(path)
        self.classes, self.make = tuple(classes), make
        self.parts: dict[int, Hdf5Writer] = {}
        self.content = {name: hashlib.sha256() for name in ("x", "label")}

    def _append(self, batch: Batch) -> None:
        """Write each jet to the file of its class."""
        labels = batch.conditions(["jet_class"]).values["jet_class"][:, 0].long()
        self.content["x"].update(batch.x.float().cpu().contiguous().numpy().tobytes())
        self.content["label"].update(labels.cpu().numpy().tobytes())
        for number in sorted(set(labels.tolist())):
            if not 0 <= number < len(self.classes):
                raise UserError(
                    f"'jet_class' has classes 0 to {len(self.classes) - 1}, got {number}"
                )
            if number not in self.parts:
                self.parts[number] = self._start(self.classes[number])
            self.parts[number].append(batch[labels == number])

    def note(self, attributes: Mapping[str, str | int | float]) -> None:
        """Add them to the file of every class."""
        for part in self.parts.values():
            part.note(attributes)

    def _finish(self) -> None:
        self._close()
        for part in self.parts.values():
            put(part.temporary, part.path)
        for file in self.stale:
            file.unlink()

    def _start(self, name: str) -> Hdf5Writer:
        return self.make(name, family(self.path, self.classes)[name]).__enter__()

    def _open(self) -> None:
        """Files are started when their class first occurs; look what lies in their place."""
        self.stale: list[Path] = []
        for file in family(self.path, self.classes).values():
            if os.path.isfile(file) and not _mark(file)[0]:
                raise UserError(
                    f"cannot write {self.path}: {file.name} lies beside it, and would count as part of it: "
                    "choose another name, or remove it"
                )

    def _close(self) -> None:
        digest = "".join(part.hexdigest() for part in self.content.values())
        own = [self.classes[number] for number in sorted(self.parts)]
        mark = {SET: hashlib.sha256(digest.encode()).hexdigest()[:16], MEMBERS: ", ".join(own)}
        for part in self.parts.values():
            part.note(mark)
            part._close()
        kept = set(family(self.path, own).values())
        around = (self.path, *family(self.path, self.classes).values())
        self.stale = [file for file in around if file not in kept and os.path.isfile(file)]

    def _discard(self) -> None:
        for part in self.parts.values():
            part._abandon()


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
