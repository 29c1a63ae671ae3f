r"""Energies of layers as numbers that a density describes.

Both ways start from the fractions of CaloFlow (:mod:`~simulacra.transforms.maps.fractions`):
:class:`FilledLogits` fills layers below the floor with noise below it, so that its numbers are continuous and
unbounded; :class:`BoundedLogits` has :math:`u_0 = E_{tot} / (k E_{inc})` and
:math:`u_l = E_l / \sum_{j \ge l} E_j` in [0, 1] as published, whose logits heap up where layers are empty.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from simulacra.core.constructors import role
from simulacra.core.ranges import Margin, NotNegative, Positive
from simulacra.transforms.maps.dequantise import ZeroFill
from simulacra.transforms.maps.elementwise import Logit
from simulacra.transforms.maps.fractions import EnergyFractions, LogEnergyFractions

REACH = 1.2
"""Largest total that can be described, in units of the largest of the training events."""


@role
class LayerNumbers(nn.Module, ABC):
    """Layer energies ``(B, L)`` to as many numbers; the first of them tells the total.

    Energies, incident ones ``(B, 1)`` and the floor are in one unit.
    """

    def see(self, response: Tensor) -> None:
        """Take in ``E_tot / E_inc`` of training events ``(B,)``."""

    @abstractmethod
    def forward(
        self,
        layers: Tensor,
        incident: Tensor,
        floor: Tensor,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Numbers ``(B, L)``; noise where training mode or a generator asks for it."""

    @abstractmethod
    def inverse(self, numbers: Tensor, incident: Tensor, floor: Tensor) -> Tensor:
        """Energies ``(B, L)``, 0 or at least the floor."""

    @abstractmethod
    def total(self, response: Tensor) -> Tensor:
        """The first number of events whose ``E_tot / E_inc`` is ``response``."""


class FilledLogits(LayerNumbers):
    """``ln(E_tot / E_inc)`` and the logits of the fractions, of layers that noise fills up to the floor.

    Args:
        spread: Width of the noise in layers below the floor, in units of the logarithm.
    """

    def __init__(self, spread: NotNegative) -> None:
        super().__init__()
        self.fill, self.fractions = ZeroFill(spread), LogEnergyFractions()

    def forward(
        self,
        layers: Tensor,
        incident: Tensor,
        floor: Tensor,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """See :meth:`LayerNumbers.forward`."""
        filled = self.fill(layers, floor, generator)
        return self.fractions(filled - torch.log(incident / floor))

    def inverse(self, numbers: Tensor, incident: Tensor, floor: Tensor) -> Tensor:
        """See :meth:`LayerNumbers.inverse`."""
        logs = self.fractions.inverse(numbers) + torch.log(incident / floor)
        return self.fill.inverse(logs, floor)

    def total(self, response: Tensor) -> Tensor:
        """See :meth:`LayerNumbers.total`."""
        return torch.log(response)


class BoundedLogits(LayerNumbers):
    r"""Logits of ``u``, :math:`\mathrm{logit}(\alpha + (1 - 2 \alpha) u)`, which are exact on [0, 1].

    Totals beyond :math:`k E_{inc}` stand for :math:`k E_{inc}`. A fraction within ``cut`` of 0 or 1 is 0 or
    1, without which the scatter of a generated zero would be a faint layer.

    Args:
        largest: ``k`` (None: 1.2 times the largest of the training events).
        alpha: Distance of the logit from its ends.
        cut: Smallest fraction that is not 0.
    """

    largest: Tensor

    def __init__(self, largest: Positive | None, alpha: Margin, cut: NotNegative) -> None:
        super().__init__()
        self.fractions, self.logit, self.cut = EnergyFractions(), Logit(alpha), cut
        self.fixed = largest is not None
        self.register_buffer("largest", torch.tensor(largest or 0.0))

    def see(self, response: Tensor) -> None:
        """See :meth:`LayerNumbers.see`."""
        if not self.fixed:
            self.largest.copy_(torch.maximum(self.largest, REACH * response.max().to(self.largest)))

    def forward(
        self,
        layers: Tensor,
        incident: Tensor,
        floor: Tensor,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """See :meth:`LayerNumbers.forward`."""
        u = self.fractions(layers.double() / incident.double())
        first = (u[:, :1] / self.largest).clamp(max=1)
        return self.logit(torch.cat([first, u[:, 1:]], dim=-1)).to(layers.dtype)

    def inverse(self, numbers: Tensor, incident: Tensor, floor: Tensor) -> Tensor:
        """See :meth:`LayerNumbers.inverse`."""
        u = self.logit.inverse(numbers.double())
        fractions = torch.where(u < self.cut, 0.0, torch.where(u > 1 - self.cut, 1.0, u))
        whole = torch.cat([u[:, :1] * self.largest, fractions[:, 1:]], dim=-1)
        layers = (self.fractions.inverse(whole) * incident.double()).to(numbers.dtype)
        return torch.where(layers < floor, 0.0, layers)

    def total(self, response: Tensor) -> Tensor:
        """See :meth:`LayerNumbers.total`."""
        return self.logit((response / self.largest).clamp(max=1))


def gap(layers: Tensor, floor: Tensor) -> Tensor:
    """Layer energies as a context: ``ln(E / floor)``, one less than the floor's where a layer is empty."""
    logs = torch.log(layers.clamp(min=1e-30) / floor)
    return torch.where(layers < floor, -1.0, logs)
