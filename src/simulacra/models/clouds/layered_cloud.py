"""Showers as clouds in layers: which data sets have them."""

from __future__ import annotations

import torch
from torch import Tensor

from simulacra.core import Conditions, Spec
from simulacra.models.clouds.cloud import CloudModel
from simulacra.training.calibrated import Calibrated
from simulacra.transforms.calibration import Calibration
from simulacra.transforms.cloud_layers import LayeredCloudTransform, depth_column


class LayeredCloud(Calibrated, CloudModel):
    """A cloud model whose transform imposes the numbers of every layer and calibrates those of points."""

    transform: LayeredCloudTransform

    @property
    def calibration(self) -> Calibration:
        """That of the numbers of points."""
        return self.transform.calibration

    def draw_numbers(
        self, cond: Conditions, scaled: Tensor | None, generator: torch.Generator | None
    ) -> Tensor:
        """See :class:`CloudModel`; with the calibrated number of points, which the points see too."""
        return self.transform.recounted(super().draw_numbers(cond, scaled, generator), cond)

    @classmethod
    def accepts(cls, spec: Spec) -> str | None:
        """Clouds whose points lie in layers."""
        reason = super().accepts(spec)
        if reason is None and depth_column(spec.features) is None:
            names = ", ".join(field.name for field in spec.features)
            return f"its points lie in layers, and those of {spec.name} have {names} alone"
        return reason
