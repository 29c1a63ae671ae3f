"""A trained generator as a source of showers for a simulation."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import torch
from numpy.typing import NDArray

from simulacra.core import Conditions, Spec, UserError
from simulacra.core.detector import Detector
from simulacra.core.units import factor
from simulacra.deploy.geant4.entrance import Taken
from simulacra.deploy.placing import Placer
from simulacra.deploy.primaries import Primaries
from simulacra.deploy.readout import conditions
from simulacra.training.generative import GenerativeModule

Array = NDArray[np.float64]


def trained(module: GenerativeModule, particles: Collection[str], threshold: float) -> Taken:
    """Particles that a generator was trained for: no others, since it is not asked beyond its training.

    Args:
        module: The generator.
        particles: Geant4's names.
        threshold: Particles below this kinetic energy are left to Geant4 [MeV].

    Raises:
        UserError: If it is not known for which energies it was trained.
    """
    field = module.spec.by_role("energy")
    unit = factor(field.unit, "MeV")
    known = module.record.trained_range.get(field.name)
    low, high = known if known is not None else (field.low, field.high)
    if low is None or high is None:
        raise UserError("the checkpoint does not say for which energies its generator was trained")
    slack = 1e-6  # of float32
    return Taken(
        tuple(particles), max(threshold, low * unit * (1 - slack)), high * unit * (1 + slack)
    )


class ModuleSource:
    """A generator of a checkpoint.

    Args:
        module: The generator.
        taken: Particles whose showers it makes.

    Raises:
        UserError: If it makes no showers on voxels.
    """

    def __init__(self, module: GenerativeModule, taken: Taken) -> None:
        if module.spec.geometry is None or module.spec.kind not in ("grid", "layers"):
            raise UserError(f"a generator of {module.spec.name} makes no showers on voxels")
        self.module, self.taken = module.eval(), taken

    @property
    def spec(self) -> Spec:
        """Of the generator."""
        return self.module.spec

    def placer(self, detector: Detector) -> Placer:
        """Lays its showers into the cells of a detector."""
        assert self.spec.geometry is not None
        return Placer(self.spec.geometry, detector.geometry, detector.layer_depths)

    def showers(self, primaries: Primaries, seed: int) -> Array:
        """Energies in its voxels ``(n, V)`` [MeV]."""
        known = conditions(self.spec, primaries)
        cond = Conditions(len(primaries), {name: known[name] for name in self.module.given})
        generator = torch.Generator().manual_seed(seed)
        made = self.module.sample(cond, batch_size=len(primaries), generator=generator)
        return made.x.flatten(1).double().numpy() * factor(self.spec.unit, "MeV")
