"""Turns seeds into events of a process: what ``produce simulator=pythia`` runs in its child processes."""

from __future__ import annotations

import importlib.metadata
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.random import Generator, SeedSequence

from simulacra.core import Batch, UserError
from simulacra.core.constructors import constructor
from simulacra.deploy.production import Simulator
from simulacra.deploy.pythia.collisions import SEEDS, Collisions, Veto, collide, silent
from simulacra.formats.base import Format

PACKAGES = ("pythia8mc", "fastjet")
LARGEST, SMALLEST = 64, 8
"""Collisions that are worked on at once."""
PATIENCE = 5000
"""Collisions in a row of which none is taken, after which the selection is said to be empty."""


@dataclass(frozen=True)
class Sample:
    """One kind of event of a process.

    Args:
        name: Its name in messages and provenance.
        share: Its share of all events.
        settings: Lines that Pythia reads.
        veto: Gives up events before they become hadrons, or None.
    """

    name: str
    share: float
    settings: tuple[str, ...]
    veto: Veto | None = None


class Process(ABC):
    """What is produced: samples of collisions, and the rows that are made of them."""

    format: Format
    """Reads and writes the events."""
    samples: tuple[Sample, ...]
    """The kinds of event, whose shares add up to one."""
    per_event: float = 1.0
    """Rows that a collision gives, at most; it only chooses how many are worked on at once."""

    @property
    def parameters(self) -> Mapping[str, str | int | float]:
        """Selections and the like, for the provenance."""
        return {}

    @abstractmethod
    def rows(self, sample: int, events: Collisions, generator: Generator) -> Batch:
        """Events of the data set from some collisions of a sample, in their order, perhaps none."""


@constructor
class PythiaSimulator(Simulator):
    """Events of a process, by Pythia 8 and FastJet.

    Each event is of a sample that is drawn by the samples' shares. A chunk's seed is split
    (:class:`numpy.random.SeedSequence`) into one for these draws, and for each sample one for Pythia and one
    for the detector, so that a chunk depends on its seed alone.

    Args:
        process: What is produced.
        asked: Configuration of the command, in which a particle or a data set has no place.

    Raises:
        UserError: If there is one.
    """

    def __init__(self, process: Process, asked: Mapping[str, Any]) -> None:
        super().__init__(process.format)
        for key in ("particle", "data"):
            if asked.get(key) is not None:
                raise UserError(
                    f"{key}= is nothing that Pythia is asked for: process= says what is simulated and written"
                )
        self.process = process

    @property
    def acknowledgement(self) -> str:
        """Both programs, and their licence."""
        return (
            "simulated with PYTHIA 8 (arXiv:2203.11601) and FastJet (arXiv:1111.6097), which are separate "
            "programs under the GNU GPL, version 2 or later: cite both"
        )

    @property
    def provenance(self) -> Mapping[str, str | int | float]:
        """Versions of the programs, literal settings of each sample, selections."""
        versions = {name: _version(name) for name in PACKAGES}
        settings = {
            f"pythia_settings_{sample.name}": "\n".join(sample.settings)
            for sample in self.process.samples
        }
        return {"simulator": "pythia", **versions, **settings, **self.process.parameters}

    def open(self) -> None:
        """Import both programs; FastJet shows its banner now, where nobody sees it.

        Raises:
            UserError: If one of them is not installed.
        """
        try:
            with silent():
                import fastjet
                import pythia8mc  # noqa: F401

                definition = fastjet.JetDefinition(fastjet.antikt_algorithm, 1.0)
                fastjet.ClusterSequence([fastjet.PseudoJet(1.0, 0.0, 0.0, 1.0)], definition)
        except ImportError as error:
            raise _missing() from error

    def run(self, chunk: int, n: int, seed: int) -> Batch:
        """Exactly ``n`` events, see the base class."""
        first, *others = SeedSequence(seed).spawn(1 + len(self.process.samples))
        shares = np.array([sample.share for sample in self.process.samples])
        chosen = np.random.default_rng(first).choice(len(shares), n, p=shares / shares.sum())
        parts = [
            self._sample(number, int((chosen == number).sum()), own)
            for number, own in enumerate(others)
        ]
        behind = np.argsort(np.argsort(chosen, kind="stable"), kind="stable")
        return Batch.cat([part for part in parts if part is not None])[torch.from_numpy(behind)]

    def _sample(self, number: int, n: int, seed: SeedSequence) -> Batch | None:
        """``n`` events of one sample, None if none are wanted."""
        if n == 0:
            return None
        sample = self.process.samples[number]
        for_pythia, for_us = seed.spawn(2)
        generator = np.random.default_rng(for_us)
        size = int(np.clip(np.ceil(n / self.process.per_event), SMALLEST, LARGEST))
        start = 1 + int(for_pythia.generate_state(1)[0]) % SEEDS
        parts: list[Batch] = []
        missing, idle = n, 0
        for events in collide(sample.settings, start, size, sample.veto):
            batch = self.process.rows(number, events, generator)
            idle = 0 if len(batch) else idle + size
            if idle >= PATIENCE:
                raise UserError(
                    f"none of {idle:,} collisions of {sample.name} passes the selection: widen its ranges"
                )
            parts.append(batch[:missing])
            missing -= len(parts[-1])
            if missing == 0:
                break
        return Batch.cat(parts)


def within(values: np.ndarray, bounds: Sequence[float]) -> np.ndarray:
    """Which values lie between two bounds."""
    return (values > bounds[0]) & (values < bounds[1])


def ordered(name: str, bounds: Sequence[float]) -> tuple[float, float]:
    """Two bounds in order.

    Raises:
        UserError: If they are not two, or the first is not below the second.
    """
    if len(bounds) != 2 or not bounds[0] < bounds[1]:
        raise UserError(f"{name} needs a lower and a higher bound, got {list(bounds)}")
    return bounds[0], bounds[1]


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError as error:
        raise _missing() from error


def _missing() -> UserError:
    return UserError(
        f"Pythia events need the packages {' and '.join(PACKAGES)}: pip install simulacra[jets]"
    )
