"""Full and fast simulation of the same events, each in a process of its own."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from simulacra.core.detector import Detector
from simulacra.deploy.children import children
from simulacra.deploy.geant4.events import Simulated, fast, full
from simulacra.deploy.geant4.simulation import Physics
from simulacra.deploy.geant4.source import Generated, of_file
from simulacra.deploy.primaries import Primaries

BATCHES = (1, 32)
"""Showers that are generated together, whose times are compared."""
REPEATS = 5


@dataclass(frozen=True)
class Request:
    """A fast simulation; it is sent to a process.

    Args:
        detector: What is built.
        physics: What Geant4 simulates.
        primaries: Particles of all events.
        generator: ``checkpoint``, ``solver`` and ``allow`` of the command.
        particles: Geant4's names of those whose showers are generated.
        threshold: Kinetic energy below which all is left to Geant4 [MeV].
        every: Events whose showers are generated together.
        seed: Of everything random.
        threads: Of torch.
    """

    detector: Detector
    physics: Physics
    primaries: Primaries
    generator: Mapping[str, Any]
    particles: tuple[str, ...]
    threshold: float
    every: int
    seed: int
    threads: int = 1


def both(request: Request) -> tuple[Simulated, Simulated, dict[str, float]]:
    """Full and fast simulation, and times of the generator alone ``ms_per_shower/<batch size>``.

    Raises:
        UserError: If Geant4 or a table is missing, or the generator is none of this detector.
    """
    with children(1) as worker:
        made, times = worker.run(_fast, request)
    with children(1) as worker:
        true = worker.run(_full, request)
    return true, made, times


def _full(request: Request) -> Simulated:
    return full(request.detector, request.physics, request.primaries, request.seed)


def _fast(request: Request) -> tuple[Simulated, dict[str, float]]:
    torch.set_num_threads(request.threads)
    source = of_file(request.generator, request.particles, request.threshold, request.threads)
    source.placer(request.detector)  # refuses a generator of another detector before Geant4 starts
    times = timed(source, request.primaries)
    made = fast(
        request.detector, request.physics, request.primaries, source, request.seed, request.every
    )
    return made, times


def timed(source: Generated, primaries: Primaries) -> dict[str, float]:
    """Median CPU time per shower by batch size [ms], sizes in turn."""
    own = np.isin(primaries.particle, tuple(source.taken.particles))
    own &= (primaries.energy >= source.taken.low) & (primaries.energy <= source.taken.high)
    rows = np.flatnonzero(own)
    if not len(rows):
        return {}
    spent: dict[int, list[float]] = {size: [] for size in BATCHES}
    for repeat in range(REPEATS + 1):
        for size in BATCHES:
            chosen = primaries.rows(np.resize(rows, size))
            start = time.process_time()
            source.showers(chosen, repeat)
            if repeat:  # the first one warms up
                spent[size].append(1e3 * (time.process_time() - start) / size)
    return {f"ms_per_shower/{size}": float(np.median(some)) for size, some in spent.items()}
