"""Students of models that are composed of densities: what draws by diffusion learns to do so in few steps.

Each :class:`~simulacra.dynamics.distilled_density.TaughtDensity` of the student learns from the teacher's
density of the same name; all others are the teacher's own and are not trained again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import cast

from torch import nn

from simulacra.dynamics.density import Density
from simulacra.dynamics.diffusion_density import DiffusionDensity
from simulacra.dynamics.distilled_density import TaughtDensity
from simulacra.training.generative import GenerativeModule, Objective
from simulacra.training.teacher import Student, Teacher, copy_weights


class DensityStudent(Student):
    """Mixin that stands before the family; see the module's docstring."""

    def learn_from(self, teacher: str | None) -> None:
        """Called last in the constructor.

        Args:
            teacher: Checkpoint of the trained teacher, read when training begins (None: it can be sampled,
                but not trained).
        """
        self.teacher = None if teacher is None else Teacher(teacher)
        for name, density in self.densities().items():
            if isinstance(density, TaughtDensity):
                density.learn_from(partial(self._taught, name))
            else:
                density.requires_grad_(False)

    def densities(self) -> Mapping[str, Density]:
        """The densities by name."""
        found = self.named_children()
        return {name: child for name, child in found if isinstance(child, Density)}

    def adopt(self, teacher: GenerativeModule) -> None:
        """See :class:`~simulacra.training.teacher.Student`."""
        for name, density in self.densities().items():
            theirs = teacher.get_submodule(name)
            if isinstance(density, TaughtDensity):
                assert isinstance(theirs, DiffusionDensity)
                density.adopt(theirs)
            else:
                copy_weights(density, theirs, name)

    def _taught(self, name: str) -> DiffusionDensity:
        return cast(DiffusionDensity, self.taught_by().get_submodule(name))

    def taught(self) -> Iterator[TaughtDensity]:
        """Those densities that learn."""
        for density in self.densities().values():
            if isinstance(density, TaughtDensity):
                yield density

    def student(self, own: Mapping[str, Objective]) -> dict[str, Objective]:
        """The one objective of the family for the densities that learn, whose averages follow each step."""
        (objective,) = own.values()
        trained = [p for p in objective.parameters if p.requires_grad]
        return {"student": replace(objective, parameters=trained, after=self.follow)}

    def used_parameters(self) -> list[nn.Parameter]:
        """Those of the networks that sample, and of the densities that are the teacher's."""
        found: list[nn.Parameter] = []
        for density in self.densities().values():
            if isinstance(density, TaughtDensity):
                found += density.used_parameters()
            else:
                found += density.parameters()
        return found

    def follow(self) -> None:
        """Move the averages."""
        for density in self.taught():
            density.follow()
