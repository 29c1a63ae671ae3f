"""Trained generators as sources of showers for a simulation: of a checkpoint, or exported as a graph."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from simulacra.core import Conditions, Spec, UserError
from simulacra.core.detector import Detector
from simulacra.core.units import factor
from simulacra.deploy.export import sidecar
from simulacra.deploy.export.runner import Runner
from simulacra.deploy.geant4.entrance import Taken
from simulacra.deploy.placing import Placer
from simulacra.deploy.primaries import Primaries
from simulacra.deploy.readout import conditions
from simulacra.evaluation.checkpoints import load
from simulacra.training.generative import GenerativeModule

Array = NDArray[np.float64]
SLACK = 1e-6
"""Of energies in float32."""


class Generated(ABC):
    """A generator of showers on voxels.

    Args:
        spec: What its data set promises.
        energies: Smallest and largest incident energy of its training [the spec's unit].
        particles: Geant4's names of those whose showers it makes.
        threshold: Particles below this kinetic energy are left to Geant4 [MeV]; others as well that it was
            not trained for.

    Raises:
        UserError: If it makes no showers on voxels, or it is not known for which energies it was trained.
    """

    def __init__(
        self,
        spec: Spec,
        energies: tuple[float | None, float | None],
        particles: Collection[str],
        threshold: float,
    ) -> None:
        if spec.geometry is None or spec.kind not in ("grid", "layers"):
            raise UserError(f"a generator of {spec.name} makes no showers on voxels")
        entered = [field.name for field in spec.conditions if field.name.startswith("entry_")]
        if entered:
            raise UserError(
                f"a generator that is given {' and '.join(entered)} makes showers at their points of entry, "
                "and a simulation lays them there itself: train one without"
            )
        low, high = energies
        if low is None or high is None:
            raise UserError("it is not known for which energies the generator was trained")
        unit = factor(spec.by_role("energy").unit, "MeV")
        lowest = max(threshold, low * unit * (1 - SLACK))
        self.spec, self.taken = spec, Taken(tuple(particles), lowest, high * unit * (1 + SLACK))

    def placer(self, detector: Detector) -> Placer:
        """Lays its showers into the cells of a detector."""
        assert self.spec.geometry is not None
        return Placer(self.spec.geometry, detector.geometry, detector.layer_depths)

    def showers(self, primaries: Primaries, seed: int) -> Array:
        """Energies in its voxels ``(n, V)`` [MeV]."""
        made = self._made(conditions(self.spec, primaries), seed)
        return made.reshape(len(primaries), -1) * factor(self.spec.unit, "MeV")

    @abstractmethod
    def _made(self, known: Mapping[str, torch.Tensor], seed: int) -> Array:
        """Showers ``(n, *shape)`` of the conditions, or some of them, each ``(n, dim)``."""


class OfModule(Generated):
    """A module with its weights.

    Args:
        module: The generator.
        particles, threshold: As of the base class.
    """

    def __init__(
        self, module: GenerativeModule, particles: Collection[str], threshold: float
    ) -> None:
        field = module.spec.by_role("energy")
        known = module.record.trained_range.get(field.name, (field.low, field.high))
        super().__init__(module.spec, known, particles, threshold)
        self.module = module.eval()

    def _made(self, known: Mapping[str, torch.Tensor], seed: int) -> Array:
        n = len(next(iter(known.values())))
        cond = Conditions(n, {name: known[name] for name in self.module.given})
        generator = torch.Generator().manual_seed(seed)
        return self.module.sample(cond, batch_size=n, generator=generator).x.double().numpy()


class OfGraph(Generated):
    """An exported graph, run by onnxruntime.

    Args:
        folder: The folder that ``export`` has written.
        particles, threshold: As of the base class.
        threads: Of onnxruntime.
    """

    def __init__(
        self, folder: Path, particles: Collection[str], threshold: float, threads: int = 1
    ) -> None:
        self.runner, spec = Runner.load(folder, threads=threads), sidecar.spec(folder)
        energy = spec.by_role("energy").name
        ports = {port.name: (port.low, port.high) for port in self.runner.conditions}
        super().__init__(spec, ports.get(energy, (None, None)), particles, threshold)

    def _made(self, known: Mapping[str, torch.Tensor], seed: int) -> Array:
        wanted = {port.name: known[port.name].numpy() for port in self.runner.conditions}
        found = self.runner.sample(wanted, np.random.default_rng(seed))
        return found["events"].astype(np.float64)


def of_file(
    asked: Mapping[str, Any], particles: Collection[str], threshold: float, threads: int
) -> Generated:
    """The generator of a checkpoint, or of a folder that ``export`` has written.

    Args:
        asked: ``checkpoint``, ``solver``, ``allow`` of the command.
        particles: See :class:`Generated`.
        threshold: See :class:`Generated`.
        threads: Of onnxruntime.
    """
    path = Path(asked["checkpoint"])
    if path.is_dir():
        return OfGraph(path, particles, threshold, threads)
    return OfModule(load(dict(asked)), particles, threshold)
