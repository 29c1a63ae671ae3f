"""Where pixel events come from: images or lists of hits of the user, or the synthetic generator by
way of the cache.

Everything ends as files of hits (:mod:`simulacra.formats.pxd_hdf5`): images are converted once,
synthetic events are made once. Such files lie below ``$SIMULACRA_CACHE`` under a name that follows
from what they were made of, and are written whole or not at all; the package brings those of the
default settings along.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from simulacra.core import UserError
from simulacra.core.files import private_folder
from simulacra.data.cache import cache_root
from simulacra.data.files import embedded_folder, walk
from simulacra.data.pxd_synthetic import PxdBackground
from simulacra.formats.opening import guard
from simulacra.formats.pxd import SUFFIXES, PxdFormat
from simulacra.formats.pxd_png import event_names, is_event_folder
from simulacra.formats.pxd_sensors import sensor_name

log = logging.getLogger(__name__)

TEST_START = 1_000_000
"""Number of the first synthetic event of the test part; training events are numbered from 0."""
EMBEDDED = "pxd"


@dataclass(frozen=True)
class PxdFiles:
    """Files or folders of each part, and whether they are synthetic; without ``test`` the training
    events are split.
    """

    train: tuple[Path, ...]
    test: tuple[Path, ...] = ()
    synthetic: bool = False


def locate(
    name: str, root: Path | None, files: Mapping[str, Sequence[str] | None] | None
) -> PxdFiles | None:
    """The user's files, or None where none are named.

    Args:
        name: Name of the data set, for messages.
        root: Folder below which folders of images (or files ``pxd*.hdf5``) are looked for.
        files: Lists ``train`` and ``test`` of folders and files, relative to ``root``.

    Raises:
        UserError: If a named file does not exist, or what lies below ``root`` is not clear.
    """
    own = {part: list(names) for part, names in (files or {}).items() if names}
    if own:
        if set(own) - {"train", "test"} or "train" not in own:
            raise UserError(
                f"data.files of {name} takes the lists train and test, got {sorted(own)}"
            )
        paths = {
            part: tuple((root or Path()) / item for item in names) for part, names in own.items()
        }
        missing = [
            str(path) for part in paths.values() for path in part if not os.path.exists(path)
        ]
        if missing:
            raise UserError(f"data.files of {name} names what does not exist: {', '.join(missing)}")
        return PxdFiles(paths["train"], paths.get("test", ()))
    if root is None:
        return None
    if not os.path.isdir(root):
        raise UserError(f"data.root={root} is not a folder")
    return _sort(name, root, search(root))


def search(root: Path) -> list[Path]:
    """Folders of images and files ``pxd*.hdf5`` below ``root``; folders of single sensors are not
    gone through.
    """
    found = []
    for here, children, names in walk(root):
        if is_event_folder(here):
            found.append(here)
            children.clear()
        found += [here / n for n in names if n.startswith("pxd") and Path(n).suffix in SUFFIXES]
    return found


def converted(format: PxdFormat, path: Path) -> Path:
    """A file of hits with the events of ``path``: itself, or the cached conversion of a folder of
    images.
    """
    if path.suffix.lower() in SUFFIXES:
        format.header(path)
        return path
    names = event_names(path, format.sensors)
    listing = [str(path.resolve()), *names]
    for number in format.sensors:
        with guard(path):
            stats = [(path / sensor_name(number) / name).stat() for name in names]
        listing += [f"{number} {stat.st_size} {stat.st_mtime_ns}" for stat in stats]
    target = _folder() / _name(format, "images", "\n".join(listing))
    if not target.is_file():
        log.info("%s: converting %s events of %s, once", format.spec.name, f"{len(names):,}", path)
        with format.sparse_writer(target, {"source": str(path)}) as writer:
            for hits in format.stream(path):
                writer.append_hits(hits)
    return target


def synthetic(format: PxdFormat, background: PxdBackground, part: str, n: int) -> Path:
    """A file of ``n`` synthetic events of a part, from the package or the cache, made if it is in
    neither.

    Raises:
        UserError: If the cache cannot be written.
    """
    if n < 1:
        raise UserError(
            f"{format.spec.name} needs at least one event in each part, got events.{part}={n}"
        )
    start = {"train": 0, "test": TEST_START}[part]
    settings = f"{background.key()} events={start}+{n}"
    name = _name(format, part, settings)
    shipped = embedded_folder(EMBEDDED) / name
    if shipped.is_file():
        return shipped
    target = _folder() / name
    if not target.is_file():
        log.info("%s: making %s synthetic %s events, once", format.spec.name, f"{n:,}", part)
        write_synthetic(format, background, start, n, target)
    return target


def write_synthetic(
    format: PxdFormat, background: PxdBackground, start: int, n: int, path: Path
) -> None:
    """Write synthetic events ``start`` to ``start + n - 1`` as a file of hits."""
    attributes = {
        "source": "synthetic stand-in",
        "settings": f"{background.key()} events={start}+{n}",
    }
    with format.sparse_writer(path, attributes) as writer:
        for index, hits in enumerate(background.events(start, n), start):
            rate = torch.tensor([[background.rate_of(index)]])
            writer.append_hits(format.reduce(hits), {"rate": rate})


def _name(format: PxdFormat, kind: str, content: str) -> str:
    text = f"{format.spec.name} {format.spec.shape} {format.sensors} {content}"
    return f"{format.spec.name}_{kind}_{hashlib.sha256(text.encode()).hexdigest()[:16]}.hdf5"


def _folder() -> Path:
    folder = cache_root() / "pxd"
    try:
        private_folder(folder)
    except OSError as error:
        raise UserError(
            f"cannot write the cache {folder}: {error.strerror}; set SIMULACRA_CACHE"
        ) from error
    return folder


def _sort(name: str, root: Path, found: Sequence[Path]) -> PxdFiles:
    test = tuple(path for path in found if "test" in path.stem)
    train = tuple(path for path in found if "train" in path.stem)
    if len(found) == 1:
        return PxdFiles(tuple(found))
    if len(train) == 1 and len(test) == 1 and len(found) == 2:
        return PxdFiles(train, test)
    if not found:
        raise UserError(
            f"there are no events of {name} below {root}, no folders 1.1.1 to 2.12.2 and no pxd*.hdf5; "
            "they are not public: ask the Belle II collaboration, or set data.root=null for synthetic events"
        )
    listed = ", ".join(str(path.relative_to(root)) for path in found[:4])
    raise UserError(
        f"there are {len(found)} sets of events of {name} below {root} ({listed}): choose with data.files"
    )
