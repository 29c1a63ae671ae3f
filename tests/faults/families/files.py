"""HDF5 files of every format, damaged in bytes, in structure, in values and around them."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import numpy as np

from faults import hurt
from faults.case import Case, Ended, Job, Judge, Place, announced, ended_well
from faults.hurt import Hurt
from faults.stock import KINDS, train

NOBODY = 65534
STRUCTURED = [name for name, kind in KINDS.items() if kind.main]
ALIKE = ("ds2", "ild", "calogan", "showerdata", "lemurs")
"""Formats that share most of their reader with others: of these a third of what is the same for all."""
UNCHECKED = "showerdata"
"""Its layout stores lists without a checksum: of another valid number nobody can tell."""
FLIPS, BLOCKS = 5, 3
"""Random damages of each kind of file."""
SAID = r"zero|never|empty|unit|response|missing|differs|implausib|median|have no energy"
"""What is said of values that are there and can hardly be right."""


def same_events(kind: str) -> Judge:
    """The events are those of the undamaged file."""

    def judged(place: Place, ended: Ended) -> str | None:
        found = (place.folder / "digest").read_text()
        return None if found == place.stock.digest(kind) else "other events than in the whole file"

    return judged


def reading(kind: str, path: Path | str) -> Job:
    """``evaluate`` of one file, and what is read from it."""
    return Job((*KINDS[kind].overrides, str(path)), call="faults.calls.read")


def read_case(kind: str, name: str, injected: str, damage: Hurt) -> Case:
    """A damaged file that is read."""
    case = Case(f"{kind}-{name}", "files", f"{kind}: {injected}", lambda place: Job(()))

    def make(place: Place) -> Job:
        path = place.stock.copy(kind, place.work)
        damage(path, random.Random(case.seed))
        return reading(kind, path.name)

    return Case(case.name, case.family, case.injected, make, announced(SAID, same_events(kind)))


def structure() -> Iterator[Case]:
    """What h5py can do to a file."""
    for kind in STRUCTURED:
        keys = KINDS[kind].main, KINDS[kind].condition
        known = list({**hurt.STRUCTURE, **hurt.VALUES}.items())
        chosen = known[ALIKE.index(kind) % 3 :: 3] if kind in ALIKE else known
        for name, function in chosen:
            damage = hurt.hurt_hdf5(function, *keys)
            yield read_case(kind, name, name.replace("_", " "), damage)


def damage() -> Iterator[Case]:
    """What disks and networks do to a file."""
    for kind in [*(kind for kind in STRUCTURED if kind != UNCHECKED), "root", "parquet"]:
        flips, blocks = (2, 1) if kind in ALIKE else (FLIPS, BLOCKS)
        for number in range(flips):
            yield read_case(kind, f"flipped_{number}", "a flipped bit", hurt.flipped)
        for number in range(blocks):
            yield read_case(kind, f"zeroed_{number}", "512 zeroed bytes", hurt.zeroed)
            yield read_case(kind, f"scribbled_{number}", "64 random bytes", hurt.scribbled)
        yield read_case(kind, "exchanged", "two exchanged blocks", hurt.exchanged)
        yield read_case(kind, "longer", "bytes behind the end", hurt.longer)
        for fraction in hurt.FRACTIONS:
            yield read_case(kind, f"cut_{fraction}", f"cut to {fraction}", hurt.cut(fraction))
    for kind in ("ds1", "jetnet", "pxd", "table", "root", "csv", "parquet"):
        for name, contents in hurt.FOREIGN.items():
            yield read_case(kind, name, f"{name} in its place", hurt.replaced(contents))


def unchecked() -> Iterator[Case]:
    """What can be told of lists without a checksum."""
    for fraction in hurt.FRACTIONS:
        yield read_case(UNCHECKED, f"cut_{fraction}", f"cut to {fraction}", hurt.cut(fraction))
    for name, function in hurt.LISTS.items():
        damage = hurt.hurt_hdf5(function, "showers", "energies")
        yield read_case(UNCHECKED, name, name.replace("_", " "), damage)


def shifted(kind: str, key: str, factor: float) -> Hurt:
    """All values under a key times a factor."""
    changed: Callable[[hurt.Hdf5], None] = lambda h: h.change(key, lambda v: v * np.float32(factor))  # noqa: E731
    return hurt.hurt_hdf5(changed, KINDS[kind].main, KINDS[kind].condition)


def units() -> Iterator[Case]:
    """Units and signs that cannot be."""
    for kind in ("ds1", "ds2", "ild", "calogan", "ild_cloud"):
        main, condition = KINDS[kind].main, KINDS[kind].condition
        for factor in (1e3, 1e-3, 1e6):
            yield read_case(
                kind,
                f"condition_times_{factor:g}",
                "energies in another unit",
                shifted(kind, condition, factor),
            )
        keys = ["layer_0", "layer_1", "layer_2"] if kind == "calogan" else [main]
        for factor in (1e-3, 1e4):
            yield read_case(
                kind,
                f"values_times_{factor:g}",
                "deposits in another unit",
                hurt.hurt_hdf5(_scaled(kind, keys, factor), main, condition),
            )
        yield read_case(
            kind, "negative_condition", "energies below 0", shifted(kind, condition, -1)
        )
        yield read_case(kind, "negative_values", "deposits below 0", shifted(kind, main, -1))
        yield read_case(kind, "no_energy", "energies of 0", shifted(kind, condition, 0))
    for kind in ("jetnet", "jetclass"):
        yield read_case(
            kind, "negative_values", "values below 0", shifted(kind, KINDS[kind].main, -1)
        )
        yield read_case(
            kind, "values_times_1000", "values too large", shifted(kind, KINDS[kind].main, 1e3)
        )


def _scaled(kind: str, keys: list[str], factor: float) -> Callable[[hurt.Hdf5], None]:
    def change(h: hurt.Hdf5) -> None:
        for key in keys:
            h.change(key, lambda v: scale(v, kind, factor))

    return change


def scale(values: np.ndarray, kind: str, factor: float) -> np.ndarray:
    """Deposits times a factor; of clouds only the last feature is a deposit."""
    changed = values.copy()
    if kind == "ild_cloud":
        changed[:, 3] *= np.float32(factor)
    else:
        changed *= np.float32(factor)
    return changed


def around() -> Iterator[Case]:
    """What is wrong is not in the file."""
    for kind in [*STRUCTURED, "root", "csv", "parquet", "png"]:
        for name, (injected, make, judge) in {
            "absent": ("there is no file", _absent, ended_well),
            "a_folder": ("a folder", _folder, ended_well),
            "link_to_it": ("a link to the file", _linked, None),
            "link_to_itself": ("a link to itself", _loop, ended_well),
            "link_to_nothing": ("a link to nothing", _dangling, ended_well),
            "long_name": ("a name of 300 letters", _long, ended_well),
            "no_permission": ("no permission", _forbidden, ended_well),
            "device": ("a device", _device, ended_well),
            "process_memory": ("a file of the kernel", _kernel, ended_well),
            "name_with_signs": ("signs in the path", _signs, None),
        }.items():
            yield Case(
                f"{kind}-{name}",
                "files",
                f"{kind}: {injected}",
                lambda place, make=make, kind=kind: make(place, kind),
                same_events(kind) if judge is None else judge,
                ("right",) if judge is None else ("clear",),
            )
    for kind in ("ds1", "jetnet", "pxd", "table"):
        yield Case(
            f"{kind}-locked",
            "files",
            f"{kind}: held by another process",
            lambda place, kind=kind: _locked(place, kind),
            same_events(kind),
        )


def _absent(place: Place, kind: str) -> Job:
    return reading(kind, f"gone/{KINDS[kind].name}")


def _folder(place: Place, kind: str) -> Job:
    (place.work / KINDS[kind].name).mkdir()
    return reading(kind, KINDS[kind].name)


def _linked(place: Place, kind: str) -> Job:
    path = place.stock.copy(kind, place.work)
    link = place.work / "links" / path.name
    link.parent.mkdir()
    link.symlink_to(path)
    return reading(kind, link)


def _loop(place: Place, kind: str) -> Job:
    link = place.work / KINDS[kind].name
    link.symlink_to(link)
    return reading(kind, link)


def _dangling(place: Place, kind: str) -> Job:
    link = place.work / KINDS[kind].name
    link.symlink_to("nothing")
    return reading(kind, link)


def _long(place: Place, kind: str) -> Job:
    return reading(kind, "x" * 300 + Path(KINDS[kind].name).suffix)


def _forbidden(place: Place, kind: str) -> Job:
    path = place.stock.copy(kind, place.work)
    os.chmod(path, 0)
    job = reading(kind, path.name)
    if os.geteuid() == 0:
        for folder in (place.folder, place.work, place.home):
            os.chown(folder, NOBODY, NOBODY)
        for parent in place.folder.parents:  # pytest's folders are its owner's alone
            if parent.stat().st_mode & 0o711 != parent.stat().st_mode & 0o777 | 0o711:
                parent.chmod(parent.stat().st_mode | 0o711)
        job = Job(job.arguments, job.call, user=NOBODY)
    return job


def _device(place: Place, kind: str) -> Job:
    link = place.work / KINDS[kind].name
    link.symlink_to("/dev/zero")
    return reading(kind, link)


def _kernel(place: Place, kind: str) -> Job:
    link = place.work / KINDS[kind].name
    link.symlink_to("/proc/self/mem")
    return reading(kind, link)


def _signs(place: Place, kind: str) -> Job:
    folder = place.work / "epoch=3 (a) [b], {c} & d's"
    folder.mkdir()
    return reading(kind, place.stock.copy(kind, folder))


def _locked(place: Place, kind: str) -> Job:
    path = place.stock.copy(kind, place.work)
    place.undo.append(h5py.File(path, "r+").close)
    return reading(kind, path.name)


TRAINED = {"ds1": "caloinn", "jetnet": "epic_fm", "table": "table_flow"}
CHOSEN = (
    "missing_values", "wrong_width", "double", "null_dataspace", "soft_link_gone", "virtual_half_gone",
    "raw_storage", "filter_zstd", "half_written", "never_written", "huge", "nan", "nan_weight", "no_events",
)  # fmt: skip


def training() -> Iterator[Case]:
    """Damaged files that are trained on."""
    for kind, model in TRAINED.items():
        keys = KINDS[kind].main, KINDS[kind].condition
        chosen = {
            name: hurt.hurt_hdf5({**hurt.STRUCTURE, **hurt.VALUES}[name], *keys) for name in CHOSEN
        }
        chosen |= {
            "flipped": hurt.flipped,
            "cut": hurt.cut(0.7),
            "html": hurt.replaced(hurt.FOREIGN["html"]),
        }
        for name, damage in chosen.items():
            for part in ("train", "test")[:: 1 if kind == "ds1" else 2]:
                yield trained_case(kind, model, part, name, damage)


def trained_case(kind: str, model: str, part: str, name: str, damage: Hurt) -> Case:
    """A training with one damaged file."""
    case = Case(f"{kind}-{part}-{name}", "training", "", lambda place: Job(()))

    def make(place: Place) -> Job:
        path = place.stock.copy(kind, place.work)
        damage(path, random.Random(case.seed))
        names = {"train": place.stock.file(kind), "test": place.stock.file(kind), part: path}
        files = (f"data.files.{key}=['{value}']" for key, value in names.items())
        place.whole(place.work / "run" / "metrics.json")
        return train(*KINDS[kind].overrides, f"model={model}", *files)

    judge = announced(SAID, _harmless(kind, name))
    return Case(case.name, case.family, f"{kind}: {part} file with {name}", make, judge)


def _harmless(kind: str, name: str) -> Judge:
    """What changes no event: of a table also a column that nobody has named."""
    harmless = ("double", "flipped", *(("nan_weight",) if kind == "table" else ()))

    def judged(place: Place, ended: Ended) -> str | None:
        return None if name in harmless else "trained without a word"

    return judged


def cases() -> list[Case]:
    """All of the family."""
    return [*structure(), *damage(), *unchecked(), *units(), *around(), *training()]
