"""Events from a simulator, in chunks, on several processes, resumable.

A chunk of events is a function of its seed alone: whatever process makes it, and however many there are, it
is the same. Each finished chunk lies as a file of the target's own format in a folder beside the target,
until all of them are put together; a production that was stopped goes on with those that are missing.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from simulacra.core import Batch, Spec, UserError
from simulacra.core.files import write_text
from simulacra.core.units import factor
from simulacra.deploy.children import children
from simulacra.formats.base import TIME, Format

Array = NDArray[np.float64]
Note = str | int | float
PLAN = "production.json"
SEEDS = 1_000_003
"""Chunk ``k`` of a production with seed ``s`` has the seed ``s * SEEDS + k``."""


class Simulator(ABC):
    """What makes events, in a child process; it is sent there before it is opened.

    Args:
        format: Of the file that its events are written to.
    """

    def __init__(self, format: Format) -> None:
        self.format = format

    @property
    @abstractmethod
    def provenance(self) -> Mapping[str, Note]:
        """What the events depend on: settings and versions. Equal ones make equal events from equal seeds."""

    @property
    def acknowledgement(self) -> str:
        """What users of its events are asked to cite, or nothing."""
        return ""

    def finish(self, target: Path) -> Sequence[Path]:
        """Write what belongs beside the finished file, and say what it is."""
        return ()

    @abstractmethod
    def open(self) -> None:
        """Import and initialise, once per process.

        Raises:
            UserError: If what is needed is not installed.
        """

    @abstractmethod
    def run(self, chunk: int, n: int, seed: int) -> Batch:
        """``n`` events of the target's data set, a function of ``n`` and ``seed`` alone."""


@dataclass(frozen=True)
class Plan:
    """What is to be made.

    Args:
        n: Number of events.
        chunk: Events per chunk.
        seed: Of the whole.
        processes: How many at once.
    """

    n: int
    chunk: int
    seed: int
    processes: int = 1

    @property
    def chunks(self) -> int:
        """How many there are."""
        return -(-self.n // self.chunk)

    def size(self, number: int) -> int:
        """Events of one chunk."""
        return min(self.chunk, self.n - number * self.chunk)


def chunk_seed(seed: int, number: int) -> int:
    """Seed of one chunk."""
    return seed * SEEDS + number


Progress = Callable[[int], None]
"""Told how many more events are there."""


def produce(simulator: Simulator, plan: Plan, target: Path, progress: Progress) -> dict[str, Note]:
    """Make all events and write them to ``target``, which appears whole or not at all.

    Args:
        simulator: Makes the events.
        plan: How many.
        target: The file.
        progress: Told of finished events.

    Returns:
        What the file says of where its events come from.

    Raises:
        UserError: If the simulator refuses, its process dies, or the file cannot be written; finished chunks
            stay, and the same production goes on with the others.
    """
    format, folder = simulator.format, target.with_name(f"{target.name}.parts")
    with parts(
        folder, {**simulator.provenance, "seed": plan.seed, "n": plan.n, "chunk": plan.chunk}
    ):
        missing = []
        for number in range(plan.chunks):
            if _note(folder, number).is_file():
                progress(plan.size(number))
            else:
                missing.append(number)
        for number, batch, spent in _made(simulator, plan, missing):
            format.write(_part(folder, number, target), batch)
            told = {"cpu_seconds": spent, "gev": incident(simulator.format.spec, batch)}
            write_text(_note(folder, number), json.dumps(told))
            progress(len(batch))
        chunks = [json.loads(_note(folder, k).read_text()) for k in range(plan.chunks)]
        seconds, energy = (np.array([one[key] for one in chunks]) for key in ("cpu_seconds", "gev"))
        notes: dict[str, Note] = {
            **{f"simulacra_{key}": value for key, value in simulator.provenance.items()},
            "simulacra_seed": plan.seed,
            "simulacra_chunk": plan.chunk,
            "simulacra_cpu_seconds": float(seconds.sum()),
            **times(seconds, energy),
        }
        with format.writer(target, notes) as writer:
            for number in range(plan.chunks):
                writer.append(format.read(_part(folder, number, target)))
    simulator.finish(target)
    shutil.rmtree(folder)
    return notes


def incident(spec: Spec, batch: Batch) -> float:
    """Incident energy of all events together [GeV], 0 where they have none."""
    field = spec.roles.get("energy")
    if field is None or field.name not in batch.cond:
        return 0.0
    return float(batch.cond[field.name].double().sum()) * factor(field.unit, "GeV")


def times(seconds: Array, energy: Array) -> dict[str, Note]:
    """CPU time per incident energy, which an event of a simulation takes in proportion to it.

    Args:
        seconds: CPU time of each chunk [s].
        energy: Incident energy of each chunk [GeV].
    """
    if not energy.sum() or len(energy) < 2:
        return {}
    per = 1e3 * seconds.sum() / energy.sum()
    rest = 1e3 * seconds - per * energy
    error = math.sqrt(len(rest) / (len(rest) - 1) * np.square(rest).sum()) / energy.sum()
    return {TIME: float(per), f"{TIME}_error": float(error)}


@contextmanager
def parts(folder: Path, settings: Mapping[str, Note]) -> Iterator[None]:
    """The folder of finished chunks of one production.

    Raises:
        UserError: If it holds those of another one.
    """
    plan = folder / PLAN
    text = json.dumps(dict(settings), indent=1, sort_keys=True)
    if plan.is_file() and plan.read_text() != text:
        raise UserError(
            f"{folder} holds the unfinished part of a production with other settings: go on with those of "
            f"{plan}, or remove the folder"
        )
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot write {folder}: {os.strerror(error.errno or 0)}") from error
    try:
        write_text(plan, text)
        yield
    except UserError as error:
        if not _started(folder):
            raise
        raise UserError(
            f"{error}; finished chunks are kept in {folder}: the same command goes on with the others"
        ) from error
    finally:
        if not _started(folder):
            shutil.rmtree(folder, ignore_errors=True)


def _started(folder: Path) -> bool:
    """Whether a chunk is finished."""
    return any(path.name != PLAN for path in folder.glob("*.json"))


def _part(folder: Path, number: int, target: Path) -> Path:
    return folder / f"{number:06d}{target.suffix}"


def _note(folder: Path, number: int) -> Path:
    return folder / f"{number:06d}.json"


def _made(
    simulator: Simulator, plan: Plan, numbers: Sequence[int]
) -> Iterator[tuple[int, Batch, float]]:
    """Chunks with their numbers and CPU times [s], as they are finished."""
    if not numbers:
        return
    tasks = [(number, plan.size(number), chunk_seed(plan.seed, number)) for number in numbers]
    with children(min(plan.processes, len(tasks)), _start, simulator) as workers:
        for position, (batch, spent) in workers.finished(_run, tasks):
            yield numbers[position], batch, spent


_simulator: Simulator | None = None
_refused: UserError | None = None


def _start(simulator: Simulator) -> None:
    """Open the simulator in this process."""
    global _simulator, _refused
    try:
        simulator.open()
    except (
        UserError
    ) as error:  # told to whoever asks for events: an exception here would break the pool
        _refused = error
    _simulator = simulator


def _run(number: int, n: int, seed: int) -> tuple[Batch, float]:
    if _refused is not None:
        raise _refused
    assert _simulator is not None
    start = time.process_time()
    batch = _simulator.run(number, n, seed)
    return batch, time.process_time() - start
