"""Which files make up a data set: one's own, the public ones in a folder, or the embedded sample."""

from __future__ import annotations

import fnmatch
import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from simulacra.core import UserError
from simulacra.core.constructors import constructor
from simulacra.core.files import private_folder, write_text
from simulacra.data.records import REPOSITORIES, parted
from simulacra.formats.opening import guard

PARTS = ("train", "val", "test")
_LARGE = 64 * 2**20  # bytes from which a file's hash is remembered


@constructor
@dataclass(frozen=True)
class Published:
    """The public files of a data set.

    Args:
        train: Names of the training files, as published, empty where there are none; ``*`` stands for
            anything, and a name may begin with the folders that the file lies in, ``train/jets.h5``.
        test: Names of the test files, empty where none are published.
        where: Where they can be had, where that is no record.
        complete: Whether all training files are needed (one per class), or any of them will do.
        embedded: Folder of the sample in the package that stands in for them, or None where there is
            none.
        record: Where ``simulacra download`` finds them, see :mod:`simulacra.data.records`, or None.
        archives: Names in the record of what the files are packed in; empty where they lie there themselves.
        about: What the embedded sample holds, and what to use in its place, to end the line that names it.

    Raises:
        UserError: If the record has no such name.
    """

    train: Sequence[str]
    test: Sequence[str]
    where: str = ""
    complete: bool = False
    embedded: str | None = None
    record: str | None = None
    archives: Sequence[str] = ()
    about: str = ""

    def __post_init__(self) -> None:
        if self.record is not None:
            parted(self.record)

    @property
    def source(self) -> str:
        """Where the files can be had, in words."""
        if self.record is None:
            return self.where
        repository, number = parted(self.record)
        return REPOSITORIES[repository].named(number)

    @property
    def fetched(self) -> list[str]:
        """Names in the record of what is to be fetched; ``*`` stands for anything."""
        return list(self.archives) or [*self.train, *self.test]


@dataclass(frozen=True)
class Found:
    """Files of one data set on this machine.

    Args:
        train: Training files.
        test: Test files, empty where the training files must be split.
        embedded: Whether they are the sample in the package.
        val: Validation files, empty where some of the training events are kept for validation.
    """

    train: tuple[Path, ...]
    test: tuple[Path, ...]
    embedded: bool = False
    val: tuple[Path, ...] = ()

    @property
    def parts(self) -> dict[str, tuple[Path, ...]]:
        """The files by part, for the parts that have any."""
        named = {"train": self.train, "val": self.val, "test": self.test}
        return {part: paths for part, paths in named.items() if paths}


def embedded_folder(name: str) -> Path:
    """Folder of an embedded sample."""
    return Path(str(resources.files("simulacra.data") / "embedded" / name))


def locate(
    name: str,
    published: Published,
    root: Path | str | None,
    files: Mapping[str, Sequence[str] | None] | None,
) -> Found:
    """Find the files of data set ``name``.

    Args:
        name: Name of the data set, for messages.
        published: The public files.
        root: Folder below which public names are looked for, at any depth.
        files: Lists of other files by part, relative to ``root``: ``train``, and with it ``val``,
            ``test`` or both.

    Raises:
        UserError: If nothing is found; it says what to download.
    """
    own = {part: list(names) for part, names in (files or {}).items() if names}
    if own:
        return _own(name, own, None if root is None else Path(root))
    if not published.train:
        raise UserError(
            f"{name} has no public files: name yours with data.files.train=[...] data.files.test=[...]"
        )
    if root is not None:
        return _below(name, published, Path(root))
    if published.embedded is not None:
        found = _search(embedded_folder(published.embedded), published)
        if found is not None:
            return Found(found.train, found.test, embedded=True)
    raise UserError(
        f"{name} brings no events of its own: download {wanted_text(name, published)} and set "
        "data.root or the environment variable SIMULACRA_DATA to their folder"
    )


def content_hash(path: Path, memory: Path) -> str:
    """SHA-256 of a file; that of a large, unchanged file is remembered below the folder ``memory``."""
    with guard(path):
        stat = path.stat()
        place = f"{path.resolve()}|{stat.st_size}|{stat.st_mtime_ns}"
    note = memory / hashlib.sha256(place.encode()).hexdigest()
    if stat.st_size >= _LARGE and note.is_file():
        return note.read_text()
    with guard(path), path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    if stat.st_size >= _LARGE:
        with suppress(OSError, UserError):  # an unwritable cache costs time, nothing else
            private_folder(memory)
            write_text(note, digest)
    return digest


def walk(root: Path) -> Iterator[tuple[Path, list[str], list[str]]]:
    """Folders below ``root`` with their folders and files, sorted; linked folders are gone through, too.

    A folder that can be reached on several ways is entered once, so that links in a circle end. As with
    :func:`os.walk`, folders that are taken out of the list are not entered.
    """
    seen: set[tuple[int, int]] = set()
    for folder, children, names in os.walk(root, followlinks=True):
        state = os.stat(folder)
        if (state.st_dev, state.st_ino) in seen:
            children.clear()
            continue
        seen.add((state.st_dev, state.st_ino))
        children.sort()
        yield Path(folder), children, sorted(names)


def below(root: Path, *patterns: str) -> list[Path]:
    """Files below ``root`` whose names, with as many folders as a pattern has, match one of the patterns,
    sorted; each file once.

    A file of several names (hard links, links) has the first of them.
    """
    found: dict[tuple[int, int], Path] = {}
    for folder, _, names in walk(root):
        for name in names:
            path = folder / name
            if any(_named(path, pattern) for pattern in patterns) and os.path.isfile(path):
                state = path.stat()
                found.setdefault((state.st_dev, state.st_ino), path)
    return sorted(found.values())


def _named(path: Path, pattern: str) -> bool:
    wanted = pattern.split("/")
    found = path.parts[-len(wanted) :]
    return len(found) == len(wanted) and all(map(fnmatch.fnmatchcase, found, wanted))


def _own(name: str, files: Mapping[str, Sequence[str]], root: Path | None) -> Found:
    if not set(files) <= set(PARTS) or "train" not in files:
        listed = f"{PARTS[0]}, with {PARTS[1]} and {PARTS[2]} where there are such files"
        raise UserError(f"data.files of {name} takes the lists {listed}, got {sorted(files)}")
    paths = {
        part: tuple(Path(item) if root is None else root / item for item in files[part])
        for part in files
    }
    missing = [str(path) for part in paths.values() for path in part if not os.path.isfile(path)]
    if missing:
        raise UserError(f"data.files of {name} names files that do not exist: {', '.join(missing)}")
    return Found(paths["train"], paths.get("test", ()), val=paths.get("val", ()))


def _below(name: str, published: Published, root: Path) -> Found:
    if not os.path.isdir(root):
        raise UserError(f"data.root={root} is not a folder")
    found = _search(root, published)
    if found is None:
        raise UserError(
            f"there are no files of {name} below {root}: download {wanted_text(name, published)}, or "
            "name other files with data.files.train=[...]"
        )
    return found


def _search(root: Path, published: Published) -> Found | None:
    train = [_one(root, name) for name in published.train]
    test = [_one(root, name) for name in published.test]
    present = tuple(path for path in train if path is not None)
    if not present or (published.complete and None in train):
        return None
    return Found(present, tuple(path for path in test if path is not None and path not in present))


def wanted_text(name: str, published: Published) -> str:
    """What to download, from where, and by which command where there is one."""
    how = f" with 'simulacra download {name}'" if published.record else ""
    return f"{', '.join(published.train)} ({published.source}){how}"


def _one(root: Path, name: str) -> Path | None:
    paths = below(root, name)
    if len(paths) > 1:
        raise UserError(
            f"{name} is there {len(paths)} times below {root} ({paths[0]}, {paths[1]}): "
            "choose with data.files.train=[...]"
        )
    return paths[0] if paths else None
