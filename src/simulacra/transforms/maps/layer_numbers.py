r"""Energies of layers as numbers that a density describes.

Two ways start from the fractions of CaloFlow (:mod:`~simulacra.transforms.maps.fractions`):
:class:`FilledLogits` fills layers below the floor with noise below it, so that its numbers are continuous and
unbounded; :class:`BoundedLogits` has :math:`u_0 = E_{tot} / (k E_{inc})` and
:math:`u_l = E_l / \sum_{j \ge l} E_j` in [0, 1] as published, whose logits heap up where layers are empty.

A layer's energy is then a product over all layers before it, and so are its errors: at the end of 45 layers
what is generated is off by some tenths of an order of magnitude where each fraction is right to a few
hundredths of its width. :class:`LogRatios` has each layer by itself.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from simulacra.core.constructors import role
from simulacra.core.ranges import Margin, NotNegative, Positive
from simulacra.transforms.maps.dequantise import ZeroFill
from simulacra.transforms.maps.elementwise import Logit
from simulacra.transforms.maps.fractions import EnergyFractions, LogEnergyFractions

PASSES = 2
"""After the first pass, layers above the floor are all found; then their energies are right."""
REACH = 1.2
"""Largest total that can be described, in units of the largest of the training events."""


@role
class LayerNumbers(nn.Module, ABC):
    """Layer energies ``(B, L)`` to as many numbers; the first of them tells the total.

    Energies, incident ones ``(B, 1)`` and the floor are in one unit.
    """

    def see(self, layers: Tensor, incident: Tensor) -> None:
        """Take in energies of training events."""

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

    def dead(self, layers: Tensor, floor: Tensor) -> Tensor:
        """Which numbers stand for layers without energy and for nothing else, bool ``(B, L)``."""
        return torch.zeros_like(layers, dtype=torch.bool)

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


class LogRatios(LayerNumbers):
    r"""``ln(E_tot / E_inc)`` and :math:`\ln(E_l / E_r)` of the other layers, filled up to the floor by noise.

    The layer ``r`` is the one with the largest share of the training events' energies.

    Reference: Aitchison 1982, J. R. Stat. Soc. B 44, 139.

    Args:
        spread: Width of the noise in layers below the floor, in units of the logarithm.
    """

    reference: Tensor

    def __init__(self, spread: NotNegative) -> None:
        super().__init__()
        self.fill = ZeroFill(spread)
        self.register_buffer("reference", torch.tensor(0))
        self._shares: Tensor | float = 0.0

    def see(self, layers: Tensor, incident: Tensor) -> None:
        """See :meth:`LayerNumbers.see`."""
        total = layers.sum(-1, keepdim=True)
        self._shares = self._shares + (layers / torch.where(total > 0, total, 1.0)).double().sum(0)
        self.reference.copy_(self._shares.argmax())

    def forward(
        self,
        layers: Tensor,
        incident: Tensor,
        floor: Tensor,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """See :meth:`LayerNumbers.forward`."""
        logs = self.fill(layers, floor, generator)
        alive = logs.masked_fill(self._without(layers < floor), -math.inf)
        total = torch.logsumexp(alive, -1, keepdim=True) - torch.log(incident / floor)
        others = self._others(logs)
        return torch.cat([total, others - logs.index_select(-1, self.reference[None])], dim=-1)

    def inverse(self, numbers: Tensor, incident: Tensor, floor: Tensor) -> Tensor:
        """See :meth:`LayerNumbers.inverse`."""
        total, others = numbers.double().split([1, numbers.shape[-1] - 1], dim=-1)
        place = torch.arange(numbers.shape[-1], device=numbers.device)
        where = torch.where(place == self.reference, 0, place + (place < self.reference))
        ratios = torch.cat([torch.zeros_like(total), others], dim=-1).index_select(-1, where)
        total = total + torch.log(incident / floor)
        logs = total + torch.log_softmax(ratios, dim=-1)
        for _ in range(PASSES):  # what fills a layer is no part of the total
            alive = ratios.masked_fill(self._without(logs < 0), -math.inf)
            logs = total + ratios - torch.logsumexp(alive, -1, keepdim=True)
        return self.fill.inverse(logs.to(numbers.dtype), floor)

    def _without(self, dead: Tensor) -> Tensor:
        """Layers ``(B, L)`` that are dead, without ``r``."""
        return dead & (torch.arange(dead.shape[-1], device=dead.device) != self.reference)

    def dead(self, layers: Tensor, floor: Tensor) -> Tensor:
        """See :meth:`LayerNumbers.dead`; of all layers but ``r``."""
        others = self._others(layers < floor)
        return torch.cat([torch.zeros_like(others[:, :1]), others], dim=-1)

    def total(self, response: Tensor) -> Tensor:
        """See :meth:`LayerNumbers.total`."""
        return torch.log(response)

    def _others(self, layers: Tensor) -> Tensor:
        """All layers but ``r``: ``(B, L)`` to ``(B, L - 1)``."""
        place = torch.arange(layers.shape[-1] - 1, device=layers.device)
        return layers.index_select(-1, place + (place >= self.reference))


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

    def see(self, layers: Tensor, incident: Tensor) -> None:
        """See :meth:`LayerNumbers.see`."""
        response = layers.sum(-1) / incident[:, 0]
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
