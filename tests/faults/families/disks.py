"""Disks that are full, small, read-only or gone, for every command that writes."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

from faults.case import Case, Ended, Job, Place, command, ended_well
from faults.families.checkpoints import same_sample
from faults.stock import JUDGED, train

NOBODY = 65534
SIZES = ("4k", "32k", "64k", "128k", "300k", "600k", "1m", "1500k", "2m", "3m")
LIMITS = (0, 100, 4096, 50_000, 200_000, 1_000_000)
COLUMNS = "trainer.max_epochs=2"


def jobs(place: Place) -> dict[str, Job]:
    """Every command that writes, into the folder it is run in."""
    stock = place.stock
    reference, checkpoint = stock.file("ds1"), stock.checkpoint()
    judged = ("evaluate", f"reference={reference}", *JUDGED, "output=judged")
    return {
        "sample": command("sample", f"checkpoint={checkpoint}", "n=64", "output=g.hdf5"),
        "sample_jets": command("sample", f"checkpoint={stock.checkpoint('epic_fm')}", "n=300",
        "output=j.hdf5"),
        "sample_table": command("sample", f"checkpoint={stock.checkpoint('table_flow')}", "n=900",
        "output=t.h5"),
        "apply": command("apply", f"checkpoint={stock.checkpoint('dctrgan')}", f"input={reference}",
        "output=a.hdf5"),
        "evaluate": command(*judged, f"generated={reference}"),
        "draw": command(*judged, f"generated={reference}", "evaluation.draw=true"),
        "scan": command(*judged, f"checkpoint={checkpoint}", "scan.points=2", "scan.events=10"),
        "train": train("model=caloinn", COLUMNS),
        "cache": replace(
            train("model=caloinn", "data.cache=always"),
            environment={"SIMULACRA_CACHE": str(place.work / "cache")}
        ),
        "resume": command("train", "resume=run", COLUMNS),
        "reproduce": command("reproduce", f"run={stock.run()}", "paths.run=again"),
        "compare": command("compare", f"runs={stock.run()}", "output=table"),
        "benchmark": command("benchmark", f"checkpoint={checkpoint}", "batch_sizes=[1]", "repeats=1",
        "output=timed"),
        "produce": command("produce", "detector=pbwo4", "detector.gun.energy=[0.1,0.2]", "n=2", "chunk=1",
        "output=p.hdf5"),
        "weights": command("export", f"checkpoint={checkpoint}", "format=safetensors", "output=exported"),
        "onnx": command("export", f"checkpoint={checkpoint}", "output=exported"),
        "tensorboard": train("model=caloinn", "logger=tensorboard"),
        "multirun": command("train", "-m", *train("model=caloinn").arguments[1:-2], "seed=0,1"),
    }  # fmt: skip


NAMES = (
    *("sample", "sample_jets", "sample_table", "apply", "evaluate", "draw", "scan", "train"),
    *("cache", "resume", "reproduce", "compare", "benchmark", "multirun", "tensorboard"),
    *("produce", "weights", "onnx"),
)
FEW = {"draw", "multirun", "scan", "cache", "onnx"}
"""Commands that take long, with fewer disks."""


@cache
def mountable() -> bool:
    """Whether this user may mount a small disk."""
    if os.geteuid() != 0:
        return False
    folder = Path("/tmp") / f"mount_{os.getpid()}"
    folder.mkdir()
    try:
        done = subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(folder)], capture_output=True)
        if done.returncode == 0:
            subprocess.run(["umount", str(folder)], check=True)
        return done.returncode == 0
    finally:
        folder.rmdir()


def mounted(place: Place, options: str) -> None:
    """A small disk in the place of the working folder."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place.work)], check=True)
    place.undo.append(lambda: subprocess.run(["umount", "-l", str(place.work)], check=True))


def started(place: Place, name: str) -> Job:
    """The job, with the run directory that it goes on with."""
    job = jobs(place)[name]
    if name == "resume":
        place.stock.copied_run(place.work / "run")
    return job


def _full(size: str) -> Callable[[Place, str], Job]:
    def make(place: Place, name: str) -> Job:
        if not mountable():
            return _limited(_bytes(size))(place, name)
        mounted(place, "size=64m" if name == "resume" else f"size={size}")
        job = started(place, name)
        if name == "resume":  # the run fits, and little more does
            used = sum(path.stat().st_size for path in place.work.rglob("*") if path.is_file())
            room = used + _bytes(size) + 100_000
            subprocess.run(["mount", "-o", f"remount,size={room}", str(place.work)], check=True)
        return job

    return make


def _bytes(size: str) -> int:
    return int(size[:-1]) * {"k": 1024, "m": 1024**2}[size[-1]]


def _limited(limit: int) -> Callable[[Place, str], Job]:
    def make(place: Place, name: str) -> Job:
        return replace(started(place, name), file_size=limit)

    return make


def _no_inodes(place: Place, name: str) -> Job:
    if mountable():
        mounted(place, "size=64m,nr_inodes=3")
    return jobs(place)[name] if name != "resume" else jobs(place)["train"]


def _read_only(place: Place, name: str) -> Job:
    job = started(place, name)
    if mountable():
        subprocess.run(["mount", "--bind", str(place.work), str(place.work)], check=True)
        subprocess.run(["mount", "-o", "remount,bind,ro", str(place.work)], check=True)
        place.undo.append(lambda: subprocess.run(["umount", "-l", str(place.work)], check=True))
    else:
        place.work.chmod(0o555)
        place.undo.append(lambda: place.work.chmod(0o755))
    return job


def _gone(place: Place, name: str) -> Job:
    folder = place.work / "gone"
    folder.mkdir()
    job = started(place, name)
    return replace(job, call="faults.calls.vanished", work=folder)


def _taken(place: Place, name: str) -> Job:
    """Files lie where folders, and folders where files should be made."""
    for folder in ("g.hdf5", "j.hdf5", "t.h5", "a.hdf5", "p.hdf5"):
        (place.work / folder).mkdir()
    for file in ("judged", "run", "again", "table", "timed", "outputs", "exported"):
        (place.work / file).write_text("in the way")
        place.keep(place.work / file)
    return jobs(place)[name]


def _whole(name: str) -> Callable[[Place, Ended], str | None]:
    return same_sample if name == "sample" else ended_well


def cases() -> list[Case]:
    """All of the family."""
    return list(_cases())


def _cases() -> Iterator[Case]:
    for number, name in enumerate(NAMES):
        sizes = SIZES[number % 2 :: 4] if name in FEW else SIZES[number % 2 :: 2]
        kinds: dict[str, Callable[[Place, str], Job]] = {
            f"full_{size}": _full(size) for size in sizes
        }
        limits = LIMITS[:: 3 if name in FEW else 2]
        kinds |= {f"file_of_{limit}": _limited(limit) for limit in limits}
        kinds |= {"inodes": _no_inodes, "read_only": _read_only, "gone": _gone, "taken": _taken}
        for kind, make in kinds.items():
            yield Case(
                f"{name}-{kind}",
                "disks",
                f"{name}: {kind.replace('_', ' ')}",
                lambda place, make=make, name=name: make(place, name),
                _whole(name),
            )
    for name in ("sample", "evaluate", "train"):
        yield Case(
            f"{name}-temporary",
            "disks",
            f"{name}: no room for temporary files",
            lambda place, name=name: replace(jobs(place)[name], environment={"TMPDIR": "/proc"}),
            _whole(name),
        )
        yield Case(
            f"{name}-home",
            "disks",
            f"{name}: no home",
            lambda place, name=name: replace(jobs(place)[name], environment={"HOME": "/proc/none"}),
            _whole(name),
        )
        yield Case(
            f"{name}-cache",
            "disks",
            f"{name}: no cache",
            lambda place, name=name: replace(
                jobs(place)[name], environment={"SIMULACRA_CACHE": "/proc/none"}
            ),
            _whole(name),
        )
