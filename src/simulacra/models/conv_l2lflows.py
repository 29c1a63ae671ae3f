r"""Convolutional L2LFlows: one convolutional coupling flow per layer, given the layers before it.

Generates cell energies on regular grids given the incident energy and any further condition. A masked
autoregressive flow makes the layer energies, with a veto on their sum; then each layer's cells come from a
flow of images (:mod:`simulacra.dynamics.conv_flows`) whose couplings are steered by U-Nets, circular along a
periodic axis. They see an embedding of up to five layers before it and maps of the layer's and the incident
energy; the first layer sees these two maps alone. Cells are scaled to the layer energies without leaving one
below the floor. With ``calibration`` events the spectrum of generated cells is mapped onto the true one
whenever the model is validated (:mod:`simulacra.transforms.spectrum`).

Reference: Buss et al., arXiv:2405.20407; code FLC-QU-hep/ConvL2LFlow, commit f7f92a5. At data set 3's 45
layers of 50 x 18 cells the published size has 195 M parameters, as there.

Note:
    Differs from the reference: layer energies as fractions (:mod:`simulacra.transforms.showers`) in place of
    the logit of scaled sums; conditions scaled to [-1, 1] and layer energies standardised; no uniform noise
    on hit cells; ActNorm initialised from training events; 1x1 convolutions start as permutations that swap
    the halves, not as the identity; all layers are trained in one run; the calibration is piecewise linear.
    Options off at published size: squeeze by other blocks than 2 x 2, an embedding of the squeezed layers,
    maps of the coordinates, an ActNorm of each cell, a last convolution of kernel 1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Self

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from simulacra.core import Batch, Conditions, Latent, Spec
from simulacra.dynamics.autoregressive import autoregressive_flow
from simulacra.dynamics.conv_flows import Squeeze, conv_flow
from simulacra.dynamics.layer_chain import CausalChain
from simulacra.dynamics.splines import Spline
from simulacra.models.calibrated import Calibrated
from simulacra.models.layerwise import LayerwiseFlow
from simulacra.nn.unet import PaddedConv, UNet, joined
from simulacra.transforms.base import Batches
from simulacra.transforms.calibration import Calibration
from simulacra.transforms.layer_images import LayerImageTransform
from simulacra.transforms.spectrum import SpectrumCalibration


class MapEmbedding(nn.Module):
    """Layers before the present one and numbers, as maps of the squeezed size.

    Args:
        size: Rows and columns of a layer, multiples of ``squeeze``.
        layers: Layers ``P`` before the present one; without any the maps are the numbers.
        given: Numbers ``G``.
        maps: Channels ``M`` of the maps.
        squeeze: Rows and columns of a block of cells.
        periodic: Axis that closes on itself, or None.
        early: Whether the layers are squeezed before the first convolution, which is cheaper; published is
            after the second.
        positions: Whether maps of the coordinates and of their squares are added, but for the axis that
            closes on itself.
    """

    positions: Tensor

    def __init__(
        self,
        size: tuple[int, int],
        layers: int,
        given: int,
        maps: int,
        squeeze: tuple[int, int],
        periodic: int | None,
        early: bool,
        positions: bool,
    ) -> None:
        super().__init__()
        self.size = size
        self.coarse = (size[0] // squeeze[0], size[1] // squeeze[1])
        free = [axis for axis in (0, 1) if positions and axis != periodic]
        self.register_buffer("positions", _coordinates(self.coarse, free), persistent=False)
        self.outputs = (maps if layers > 0 else given) + len(self.positions)
        self.squeeze = Squeeze(*squeeze) if early else Squeeze(1, 1)
        if early:
            inputs = layers * squeeze[0] * squeeze[1] + given
            steps: list[nn.Module] = [PaddedConv(inputs, maps, 3, periodic), nn.LeakyReLU()]
        else:
            steps = [
                PaddedConv(layers + given, maps, 1),
                nn.LeakyReLU(),
                PaddedConv(maps, maps, 3, periodic),
                nn.LeakyReLU(),
                nn.Conv2d(maps, maps, squeeze, stride=squeeze),
                nn.LeakyReLU(),
            ]
        steps.append(PaddedConv(maps, maps, 3, periodic))
        self.net = nn.Sequential(*steps) if layers > 0 else None

    def forward(self, past: list[Tensor], given: Tensor) -> Tensor:
        """Layers ``(B, V)`` and numbers ``(B, G)`` to maps ``(B, M, H / rows, W / cols)``."""
        fixed = self.positions.expand(len(given), -1, -1, -1)
        if self.net is None:
            return torch.cat([_maps(given, self.coarse), fixed], dim=1)
        images, _ = self.squeeze(torch.stack([x.unflatten(-1, self.size) for x in past], dim=1))
        maps: Tensor = self.net(torch.cat([images, _maps(given, images.shape[-2:])], dim=1))
        return torch.cat([maps, fixed], dim=1)


def _coordinates(size: tuple[int, int], axes: Sequence[int]) -> Tensor:
    """Coordinates from -1 to 1 along the axes, and their squares less a third: ``(2 A, H, W)``."""
    lines = [torch.linspace(-1, 1, size[axis]) for axis in axes]
    maps = [
        (line[:, None] if axis == 0 else line[None]).expand(size)
        for line, axis in zip(lines, axes, strict=True)
    ]
    return (
        torch.stack([*maps, *(m.square() - 1 / 3 for m in maps)]) if maps else torch.zeros(0, *size)
    )


def _maps(given: Tensor, size: Sequence[int]) -> Tensor:
    """Numbers ``(B, G)`` as constant maps ``(B, G, H, W)``."""
    return given[:, :, None, None].expand(-1, -1, *size)


class ConvL2LFlows(Calibrated, LayerwiseFlow):
    """See the module's docstring.

    Args:
        spec: Regular grid with an incident energy.
        given: Fields the generator is given (None: all conditions).
        history: Layers that each layer sees before it.
        embedding: Channels of the embedding of those layers.
        early: Whether they are squeezed before the embedding's first convolution.
        positions: Whether the U-Nets see coordinates; without, only levels that join all cells tell them.
        cells: Whether each cell of a layer has an ActNorm of its own, so that flows start with every cell's
            mean and width; without, the U-Nets learn where showers are.
        squeeze: Rows and columns of the block of cells that becomes channels.
        blocks: Couplings of each layer's flow.
        hidden: Channels of the first level of each U-Net.
        levels: Further levels, which together join all cells (:func:`simulacra.nn.unet.joined`).
        head: Kernel of the last convolution of each U-Net.
        spline: Elementwise map of the couplings.
        energy_blocks: Masked autoregressive steps of the flow of the layer energies.
        energy_hidden: Widths of their networks.
        energy_spline: Their elementwise map.
        floor: Smallest resolved cell energy [spec.unit] (None: from the spec).
        gap: Decades between the floor and the noise in empty cells.
        width: Width of that noise, in decades.
        smear: Width of the noise on each layer's scale, in ``ln v``.
        decades: Range of cell energies below the largest of a layer, in decades.
        alpha: Distance from the ends of the logit.
        rotate: Whether training showers are turned along a periodic axis.
        veto: Largest generated ``E_tot / E_inc`` (None: no limit).
        calibration: Training events whose conditions are sampled for the calibration of the spectrum, 0 for
            none.
        optimizer: Makes the optimizer.
        scheduler: Makes the schedule.
    """

    transform: LayerImageTransform

    def __init__(
        self,
        spec: Spec,
        given: Sequence[str] | None,
        history: int,
        embedding: int,
        early: bool,
        positions: bool,
        cells: bool,
        squeeze: tuple[int, int],
        blocks: int,
        hidden: int,
        levels: int,
        head: int,
        spline: Spline,
        energy_blocks: int,
        energy_hidden: Sequence[int],
        energy_spline: Spline,
        floor: float | None,
        gap: float,
        width: float,
        smear: float,
        decades: float,
        alpha: float,
        rotate: bool,
        veto: float | None,
        calibration: int,
        optimizer: Callable[[Iterable[nn.Parameter]], Optimizer],
        scheduler: Callable[..., LRScheduler] | None,
    ) -> None:
        super().__init__(spec, given, floor, 1.0, smear, veto, optimizer, scheduler)
        block = (squeeze[0], squeeze[1])
        self.transform = LayerImageTransform(
            spec, self.given_fields, floor, gap, width, smear, decades, alpha, block, rotate
        )
        size, periodic = self.transform.padded, self.transform.periodic
        count, cond = len(self.transform.geometry), self.transform.conditions.width
        strides = joined((size[0] // block[0], size[1] // block[1]), levels)

        def net(inputs: int, outputs: int) -> nn.Module:
            return UNet(inputs, outputs, hidden, strides, periodic, head)

        embeddings = [
            MapEmbedding(
                size, min(n, history), cond + 1, embedding, block, periodic, early, positions
            )
            for n in range(count)
        ]
        flows = [
            conv_flow(size, maps.outputs, blocks, spline, net, squeeze=block, cells=cells, seed=n)
            for n, maps in enumerate(embeddings)
        ]
        widths = [size[0] * size[1]] * count
        self.shower_flow = CausalChain(widths, history, cond, embeddings, flows)
        self.energy_flow = autoregressive_flow(
            *self.energy_widths(), energy_blocks, energy_spline, energy_hidden, seed=1
        )
        self.spectrum = SpectrumCalibration(self.given_fields, calibration)

    def fit_transform(self, batches: Batches) -> Self:
        """Also the true spectrum and the conditions of the calibration."""
        super().fit_transform(batches)
        self.spectrum.fit_true(batches, float(self.transform.floor))
        return self

    def log_probs(self, latent: Latent) -> dict[str, Tensor]:
        """Log densities ``(B,)``, of cells per unit of ``ln v`` as in :class:`ShowerFlow`."""
        values = super().log_probs(latent)
        return {**values, "cells": values["cells"] + self.transform.log_slope(latent.x["cells"])}

    def decode(
        self, latent: Latent, cond: Conditions, generator: torch.Generator | None = None
    ) -> Batch:
        """Physical showers with a calibrated spectrum."""
        batch = super().decode(latent, cond, generator)
        return Batch(self.spectrum(batch.x, self.transform.floor), batch.cond, batch.event)

    @property
    def calibration(self) -> Calibration:
        """That of the spectrum."""
        return self.spectrum
