r"""Showers as layers of images for convolutional flows: the same map for every cell of a layer.

As in :mod:`simulacra.transforms.showers` a cell is :math:`y = \ln(v / f)` above the floor ``f``, and an empty
cell is noise below it, here log-normal around :math:`10^{-g} f`. With the largest cell :math:`M_l` of layer
``l`` in the training events a cell becomes

.. math:: z = \mathrm{logit}(\alpha + (1 - 2 \alpha)\, u), \qquad u = 1 + \tfrac{1}{d} \log_{10}(v / M_l),

which is exact on ``d`` decades below :math:`M_l` and clamped to them. The same for all cells of a layer, it
leaves translations and rotations what they are. Layers are padded to multiples of a block of cells; the cells
added count as empty ones and are dropped on the way back.

Reference: convolutional L2LFlows, arXiv:2405.20407, section 3.3; code FLC-QU-hep/ConvL2LFlow.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from simulacra.core import Batch, Conditions, Field, Geometry, Latent, Layout, Spec, draws
from simulacra.core.ranges import Count, Margin, NotNegative, Positive
from simulacra.transforms.maps.dequantise import ZeroFill
from simulacra.transforms.maps.elementwise import Logit, Moments, Streamed
from simulacra.transforms.showers import ShowerTransform

DECADE = math.log(10.0)


class LogNormalFill(ZeroFill):
    r"""Empty values as :math:`f\,10^{-g + \sigma n}`, ``n`` standard normal, clamped below the floor ``f``.

    Args:
        gap: ``g``, decades between the floor and the centre of the noise.
        width: ``sigma``, in decades.
    """

    def __init__(self, gap: Positive, width: Positive) -> None:
        super().__init__()
        self.gap, self.width = gap, width

    def forward(
        self, x: Tensor, floor: Tensor | float, generator: torch.Generator | None = None
    ) -> Tensor:
        """Logarithm ``ln(x / floor)`` where ``x >= floor``, else negative noise; same shape as ``x``."""
        fill: Tensor | float = 0.0
        if self.training or generator is not None:
            fill = draws.normal(x.shape, x, generator)
        noise = (DECADE * (self.width * fill - self.gap)) + torch.zeros_like(x)
        real = x >= floor
        log = torch.log(torch.where(real, x / floor, 1.0))
        return torch.where(real, log, noise.clamp(max=-1e-6))


class LayerLogit(Streamed):
    """``z`` of ``y = ln(v / f)`` ``(..., V)``, see the module's docstring.

    Args:
        geometry: Where the layers are.
        decades: ``d``.
        alpha: Distance from the ends of the logit.
    """

    top: Tensor

    def __init__(self, geometry: Geometry, decades: float, alpha: float) -> None:
        super().__init__()
        self.geometry = geometry
        self.decades = decades
        self.logit = Logit(alpha)
        self.register_buffer("top", torch.zeros(len(geometry)))

    def set(self, moments: Moments) -> None:
        """Largest ``y`` of each layer."""
        highest = self.geometry.split(torch.as_tensor(moments.highest))
        self.top.copy_(torch.stack([layer.max() for layer in highest]))

    def log_scale(self) -> Tensor:
        """No constant factor, see :meth:`log_slope`."""
        return self.top.new_zeros(())

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """``y`` to ``z``."""
        below = (x - self.geometry.spread(self.top)) / (self.decades * DECADE)
        return self.logit((below + 1).clamp(0, 1))

    def inverse(self, y: Tensor, mask: Tensor | None = None) -> Tensor:
        """``z`` to ``y``; values beyond the ends stand for the ends."""
        below = self.logit.inverse(y) - 1
        return below * (self.decades * DECADE) + self.geometry.spread(self.top)

    def log_slope(self, z: Tensor) -> Tensor:
        """``ln(dz / dy)`` at ``z`` ``(..., V)``."""
        log_pq = functional.logsigmoid(z) + functional.logsigmoid(-z)
        return math.log((1 - 2 * self.logit.alpha) / (self.decades * DECADE)) - log_pq


class LayerImageTransform(ShowerTransform):
    """See the module's docstring; ``cells`` are ``(B, L H W)`` with the padded sizes ``H`` and ``W``.

    Args:
        spec: Regular grid with an incident energy.
        given: Fields that the generator is given.
        floor: As in :class:`~simulacra.transforms.showers.ShowerTransform`, like ``smear`` and ``veto``.
        fill: Noise in empty cells.
        smear: See ``floor``.
        decades: Decades below the largest cell of a layer.
        alpha: Distance from the ends of the logit.
        block: Rows and columns of the block of cells that sizes are padded to multiples of.
        rotate: Whether training showers are turned by a random number of cells along a periodic axis.
        veto: See ``floor``.
    """

    cells: LayerLogit  # type: ignore[assignment]  # both are Streamed, which is all that the base uses

    def __init__(
        self,
        spec: Spec,
        given: Sequence[Field],
        floor: NotNegative | None,
        fill: LogNormalFill,
        smear: NotNegative,
        decades: Positive,
        alpha: Margin,
        block: tuple[Count, Count],
        rotate: bool,
        veto: NotNegative | None = None,
    ) -> None:
        super().__init__(spec, given, floor, smear=smear, veto=veto)
        self.fill = fill
        self.cells = LayerLogit(self.geometry, decades, alpha)
        self.size = self.geometry.layers[0].shape
        rows, cols = (-n % b for n, b in zip(self.size, block, strict=True))
        self.padding = (0, cols, 0, rows)
        self.padded = (self.size[0] + rows, self.size[1] + cols)
        self.periodic = self.geometry.layers[0].periodic
        self.rotate = rotate and self.periodic is not None

    def forward(self, batch: Batch, generator: torch.Generator | None = None) -> Latent:
        """See :class:`~simulacra.transforms.base.Transform`."""
        if self.rotate and (self.training or generator is not None):
            batch = self._turned(batch, generator)
        latent = super().forward(batch, generator)
        return Latent({**latent.x, "cells": self._pad(latent.x["cells"], generator)}, latent.cond)

    def inverse(
        self, latent: Latent, cond: Conditions, generator: torch.Generator | None = None
    ) -> Batch:
        """See :class:`~simulacra.transforms.base.Transform`."""
        images = latent.x["cells"].unflatten(-1, (-1, *self.padded))
        cells = images[..., : self.size[0], : self.size[1]].flatten(1)
        return super().inverse(Latent({**latent.x, "cells": cells}, latent.cond), cond, generator)

    @property
    def layout(self) -> Layout:
        """With the padding; later layers see a generated one as it is."""
        sizes = (self.padded[0] * self.padded[1],) * len(self.geometry)
        context = self.conditions.width + len(sizes)
        return Layout(sum(sizes), context, sizes, self.padded, self.periodic)

    def log_slope(self, latent: Latent) -> Tensor:
        """As in the base, padding included."""
        return self.cells.log_slope(latent.x["cells"]).sum(-1)

    def _pad(self, cells: Tensor, generator: torch.Generator | None) -> Tensor:
        """Cells ``(B, V)`` with more empty ones at the ends of rows and columns."""
        if not any(self.padding):
            return cells
        images = cells.unflatten(-1, (-1, *self.size))
        empty = images.new_zeros(*images.shape[:2], *self.padded)
        fill = self.fill(empty, self.floor, generator) - self.cells.top[:, None, None]
        filled = self.cells.logit((fill / (self.cells.decades * DECADE) + 1).clamp(0, 1))
        inside = functional.pad(torch.ones_like(images[0, 0]), self.padding) > 0
        return torch.where(inside, functional.pad(images, self.padding), filled).flatten(1)

    def _turned(self, batch: Batch, generator: torch.Generator | None) -> Batch:
        """Each shower rolled along the periodic axis."""
        axis = -2 + int(self.periodic or 0)
        images = batch.x.reshape(len(batch), -1, *self.size)
        count = images.shape[axis]
        first = draws.integers(0, count, (len(batch), 1), batch.x, generator)
        shift = first + torch.arange(count, device=batch.x.device)
        index = (shift % count).view(len(batch), 1, *((count, 1) if axis == -2 else (1, count)))
        turned = images.gather(axis, index.expand_as(images))
        return Batch(turned.view(batch.x.shape), batch.cond, batch.event, batch.mask, batch.weight)
