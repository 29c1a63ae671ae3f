"""Signals at random moments of every command: the exit code that shells expect, files whole or absent."""

from __future__ import annotations

import csv
import json
import random
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace

import h5py
import torch

from faults.case import Case, Ended, Job, Place, command
from faults.stock import JUDGED, train

SIGNALS = {"interrupt": signal.SIGINT, "terminate": signal.SIGTERM, "kill": signal.SIGKILL}
MOMENTS = 6
EVENTS = {
    "g.hdf5": ("showers", 1500),
    "j.hdf5": ("particle_features", 1500),
    "a.hdf5": ("showers", 64),
}
"""Outputs, a key of theirs and how many events it has in a whole file."""


def jobs(place: Place) -> dict[str, Job]:
    """Commands of a few seconds."""
    stock = place.stock
    reference, checkpoint = stock.file("ds1"), stock.checkpoint()
    judged = ("evaluate", f"reference={reference}", *JUDGED, "output=judged")
    return {
        "sample": command("sample", f"checkpoint={checkpoint}", "n=1500", "batch_size=50", "output=g.hdf5"),
        "sample_jets": command(
            "sample", f"checkpoint={stock.checkpoint('epic_fm')}", "n=1500", "batch_size=100", "output=j.hdf5"
        ),
        "apply": command(
            "apply", f"checkpoint={stock.checkpoint('dctrgan')}", f"input={reference}", "batch_size=2",
            "output=a.hdf5"
        ),
        "evaluate": command(*judged, f"generated={reference}"),
        "draw": command(*judged, f"generated={reference}", "evaluation.draw=true"),
        "scan": command(*judged, f"checkpoint={checkpoint}", "scan.points=3", "scan.events=30"),
        "train": train("model=caloinn", "trainer.max_epochs=3"),
        "compare": command("compare", f"runs={stock.run()}", "output=table"),
        "benchmark": command("benchmark", f"checkpoint={checkpoint}", "batch_sizes=[1,10]", "repeats=5",
        "output=timed"),
        "multirun": command("train", "-m", *train("model=caloinn").arguments[1:-2], "seed=0,1"),
    }  # fmt: skip


NAMES = (
    *("sample", "sample_jets", "apply", "evaluate", "draw", "scan", "train"),
    *("compare", "benchmark", "multirun"),
)


def whole_or_absent(place: Place, ended: Ended) -> str | None:
    """Whatever is there can be read to its end."""
    for name, (key, n) in EVENTS.items():
        path = place.work / name
        if path.exists():
            with h5py.File(path) as file:
                if len(file[key]) != n:
                    return f"{name} holds {len(file[key])} of {n} events"
    for path in place.work.rglob("*.json"):
        json.loads(path.read_text())
    for path in place.work.rglob("*.ckpt"):
        torch.load(path, weights_only=True)
    for path in place.work.rglob("metrics.csv"):
        with path.open(newline="") as file:
            rows = list(csv.reader(file))
        if len({len(row) for row in rows}) > 1:
            return f"{path.name} is ragged"
    return None


def _stopped(name: str, kind: str, number: int) -> Callable[[Place], Job]:
    share = (number + random.Random(f"{name} {kind} {number}").random()) / MOMENTS

    def make(place: Place) -> Job:
        times = place.stock.times
        if (name,) not in times:
            ended = place.stock.do(jobs(place)[name], f"whole_{name}")
            assert ended.code == 0, ended.stderr[-2000:]
            times[(name,)] = ended.seconds
        return replace(jobs(place)[name], stop=(SIGNALS[kind], share * times[(name,)]))

    return make


def cases() -> list[Case]:
    """All of the family."""
    return list(_cases())


def _cases() -> Iterator[Case]:
    for name in NAMES:
        for kind in SIGNALS:
            for number in range(0, MOMENTS, 2 if kind == "kill" else 1):
                yield Case(
                    f"{name}-{kind}-{number}", "stops", f"{name}: {kind} in part {number} of {MOMENTS}",
                    _stopped(name, kind, number), whole_or_absent,
                )  # fmt: skip
