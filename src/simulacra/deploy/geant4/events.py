"""Whole events in a detector: in full by Geant4, or with a generator in place of the showers it can make.

Both give energies in the cells of the detector, event by event, of the same particles. Deposits of full and
of generated showers add up; noise and thresholds act on the sum.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from simulacra.core.detector import Detector
from simulacra.deploy.geant4.entrance import Entrance, Taken
from simulacra.deploy.geant4.simulation import Physics, Simulation
from simulacra.deploy.placing import Placer
from simulacra.deploy.primaries import Primaries
from simulacra.deploy.readout import Voxels
from simulacra.formats.produced import produced

Array = NDArray[np.float64]


class Source(Protocol):
    """Makes showers in place of Geant4."""

    taken: Taken
    """Particles whose showers it makes."""

    def placer(self, detector: Detector) -> Placer:
        """Lays its showers into a detector."""

    def showers(self, primaries: Primaries, seed: int) -> Array:
        """Energies in its voxels ``(n, V)`` [MeV] of particles at the front of the detector."""


@dataclass(frozen=True)
class Simulated:
    """Events in the cells of a detector.

    Args:
        cells: Energies ``(events, V)`` [MeV], scaled.
        seconds: CPU time of each event ``(events,)`` [s]; that of a batch of showers is shared among the
            events that they belong to.
        generated: Showers that were generated.
    """

    cells: Array
    seconds: Array
    generated: int = 0


def full(detector: Detector, physics: Physics, primaries: Primaries, seed: int) -> Simulated:
    """Events by Geant4 alone; in a child process."""
    spec, readout = produced(detector), Voxels()
    simulation = Simulation(detector, physics, readout.scoring(spec, detector))
    events = simulation.run(primaries, seed)
    found = [(event.first, event.second) for event in events]
    batch = simulation.scoring.events(readout, spec, detector, found)
    cells = batch.x.flatten(1).double().numpy()
    return Simulated(cells, np.array([event.seconds for event in events]))


def fast(
    detector: Detector,
    physics: Physics,
    primaries: Primaries,
    source: Source,
    seed: int,
    every: int = 1,
) -> Simulated:
    """Events with showers of a generator; in a child process.

    Args:
        detector: What is built.
        physics: What is simulated where the generator is not used.
        primaries: Particles of all events.
        source: The generator.
        seed: Of everything random.
        every: Events whose showers are generated together.
    """
    spec, readout = produced(detector), Voxels()
    entrance, placer = Entrance(source.taken), source.placer(detector)
    simulation = Simulation(detector, physics, readout.scoring(spec, detector), entrance)
    numbers = np.random.default_rng(seed)
    cells = np.zeros((primaries.events, spec.n_voxels))
    seconds = np.zeros(primaries.events)
    for first, last in blocks(primaries.events, every):
        events = simulation.run(primaries.of(first, last), seed + first)
        found = [(event.first, event.second) for event in events]
        batch = simulation.scoring.events(readout, spec, detector, found)
        cells[first:last] = batch.x.flatten(1).double().numpy()
        seconds[first:last] = [event.seconds for event in events]
        if len(entrance):
            start = time.process_time()
            queue = entrance.empty(last - first)
            made = source.showers(queue, int(numbers.integers(2**31)))
            placed = placer.place(made, queue.entry, queue.direction, numbers)
            np.add.at(cells, first + queue.event, placed.cells)
            spent = time.process_time() - start
            np.add.at(seconds, first + queue.event, spent / len(queue))
    return Simulated(cells, seconds, entrance.number)


def blocks(events: int, every: int) -> Iterator[tuple[int, int]]:
    """First event, and event behind the last, of blocks of events."""
    for first in range(0, events, every):
        yield first, min(events, first + every)


def digitised(cells: Array, noise: float, threshold: float, rng: np.random.Generator) -> Array:
    """Energies after electronic noise and zero suppression.

    Args:
        cells: Sums of all deposits ``(events, V)`` [MeV].
        noise: Standard deviation of normal noise in each cell [MeV].
        threshold: Cells below it are 0 [MeV].
        rng: Source of the noise.
    """
    noisy = cells + rng.normal(0.0, noise, cells.shape) if noise > 0 else cells
    return np.where(noisy < threshold, 0.0, noisy) if threshold > 0 else noisy
