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

from collections.abc import Callable, Sequence
from typing import Self

import torch
from torch import Tensor

from simulacra.core import Batch, Conditions, Field, Latent, Spec, refuse_weights
from simulacra.dynamics.density import MakeDensity
from simulacra.models.showers.layerwise import Layerwise
from simulacra.models.showers.shower_model import MakeTransform
from simulacra.training.calibrated import Calibrated
from simulacra.training.optim import Optim
from simulacra.transforms.base import Batches
from simulacra.transforms.calibration import Calibration
from simulacra.transforms.layer_images import LayerImageTransform
from simulacra.transforms.spectrum import SpectrumCalibration

MakeCalibration = Callable[[Sequence[Field]], SpectrumCalibration]
"""From the given fields."""


class ConvL2LFlows(Calibrated, Layerwise):
    """Convolutional flows of the layers, with a calibrated spectrum.

    Args:
        spec: Regular grid with an incident energy.
        given: Fields the generator is given (None: all conditions).
        transform: Makes the transform.
        energies: Makes the density of the layer energies.
        cells: Makes the chain of the layers.
        optim: What moves both.
        calibration: Makes the calibration of the spectrum.
    """

    transform: LayerImageTransform

    def __init__(
        self,
        spec: Spec,
        given: Sequence[str] | None,
        transform: MakeTransform,
        energies: MakeDensity,
        cells: MakeDensity,
        optim: Optim,
        calibration: MakeCalibration,
    ) -> None:
        super().__init__(
            spec, given, transform=transform, energies=energies, cells=cells, optim=optim
        )
        self.spectrum = calibration(self.given_fields)

    def fit_transform(self, batches: Batches) -> Self:
        """Also the true spectrum and the conditions of the calibration."""
        super().fit_transform(batches)
        self.spectrum.fit_true(batches, float(self.transform.floor))
        return self

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

    def _loss(self, latent: Latent, generator: torch.Generator | None) -> dict[str, Tensor]:
        refuse_weights(latent.weight, "the batch normalisation of ConvL2LFlows")
        return super()._loss(latent, generator)
