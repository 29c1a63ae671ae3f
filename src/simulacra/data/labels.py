"""How a model is told which calorimeter a shower stands in, where several share one model.

A label is one or more conditions with the same values for all showers of a calorimeter: the calorimeter as a
class of its own, or numbers that physics knows of it, in which a new one lies between known ones.

Reference: CaloDiT-2, arXiv:2509.07700 (classes, one of them spare); cross-geometry transfer,
arXiv:2512.00187 (sampling fraction).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from simulacra.core import Field, Prior, UserError
from simulacra.core.constructors import role
from simulacra.core.detector import Detector
from simulacra.core.ranges import Whole


@role
class Label(ABC):
    """See the module's docstring."""

    @abstractmethod
    def fields(self, members: Sequence[str]) -> tuple[Field, ...]:
        """The conditions, where ``members`` are all calorimeters that there may be."""

    @abstractmethod
    def values(self, member: str, members: Sequence[str]) -> dict[str, Tensor]:
        """The label of one of them, ``(1, dim)`` each."""

    @abstractmethod
    def priors(self, shares: Mapping[str, float], members: Sequence[str]) -> tuple[Prior, ...]:
        """How labels are distributed where calorimeters occur in the proportion of their ``shares``, as far
        as one label does not depend on another.
        """


class DetectorClass(Label):
    """One class per calorimeter; classes that are none's stay free for others.

    A model sees classes one by one. Nothing is learned for a free class, nor for that of a member that is not
    used, until a calorimeter takes it.

    Args:
        name: Name of the condition.
        spare: Number of free classes behind those of the members.
    """

    def __init__(self, name: str = "detector", spare: Whole = 1) -> None:
        self.name, self.spare = name, spare

    def fields(self, members: Sequence[str]) -> tuple[Field, ...]:
        """One, with classes."""
        free = [f"spare_{k + 1}" for k in range(self.spare)]
        return (Field(self.name, classes=(*members, *free), role="class"),)

    def values(self, member: str, members: Sequence[str]) -> dict[str, Tensor]:
        """The member's place among all."""
        return {self.name: torch.tensor([[list(members).index(member)]])}

    def priors(self, shares: Mapping[str, float], members: Sequence[str]) -> tuple[Prior, ...]:
        """The shares of the classes."""
        numbers = tuple(float(list(members).index(name)) for name in shares)
        return (Prior(self.name, "discrete", numbers, tuple(shares.values())),)


class DetectorNumbers(Label):
    """Sampling fraction, radiation length [mm] and Molière radius [mm].

    On a mesh that is measured in the lengths, these say how large its cells are; on one that is measured in
    millimetres, how much of a shower a cell holds. All have the same bounds for all calorimeters, so that
    they mean the same to a model that learns of another one later.

    Args:
        detectors: By name of the member.
    """

    FIELDS = (
        Field("sampling_fraction", low=0.005, high=1.0, log=True),
        Field("radiation_length", "mm", low=2.0, high=200.0, log=True),
        Field("moliere_radius", "mm", low=5.0, high=100.0, log=True),
    )

    def __init__(self, detectors: Mapping[str, Detector]) -> None:
        self.detectors = dict(detectors)

    def fields(self, members: Sequence[str]) -> tuple[Field, ...]:
        """All three.

        Raises:
            UserError: If one of the members is not described.
        """
        missing = [name for name in members if name not in self.detectors]
        if missing:
            raise UserError(
                f"nothing is known of the calorimeter of {missing[0]}: give data.label.detectors.{missing[0]}"
            )
        return self.FIELDS

    def values(self, member: str, members: Sequence[str]) -> dict[str, Tensor]:
        """Those of the member's detector."""
        found = self.detectors[member]
        numbers = (found.sampling_fraction, *found.lengths)
        return {
            field.name: torch.tensor([[value]])
            for field, value in zip(self.FIELDS, numbers, strict=True)
        }

    def priors(self, shares: Mapping[str, float], members: Sequence[str]) -> tuple[Prior, ...]:
        """Those of a single calorimeter; of several, each label depends on the others."""
        if len(shares) > 1:
            return ()
        values = self.values(next(iter(shares)), members)
        return tuple(Prior(name, "constant", (float(value),)) for name, value in values.items())
