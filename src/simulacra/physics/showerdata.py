"""Observables of showers of any calorimeter as clouds of points with x, y, layer number and energy.

Those of :mod:`simulacra.physics.ild_cloud`, with the layer's number as the depth; a classifier sees the
direction of the incident particle, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from simulacra.core import Batch, Spec, UserError
from simulacra.physics.ild_cloud import ILDCloudObservables


class ShowerDataObservables(ILDCloudObservables):
    """See the module's docstring; cells are those of the spec's geometry.

    Args:
        spec: Made by :func:`simulacra.formats.showerdata.showerdata`, or a cloud of its form.
        rings: Edges of the rings around the axis x = y = 0 [mm].
        groups: Number of groups of layers whose energies are compared.
        occupancy: Range of the number of hits, None: from the truth.
        visible: Range of the visible energy [MeV], None: from the truth.
        spectrum: Range of the hit spectrum [MeV].
    """

    across: ClassVar[tuple[str, str]] = ("x", "y")
    along: ClassVar[tuple[str, str]] = ("layer", "")

    def __init__(
        self,
        spec: Spec,
        rings: Sequence[float],
        groups: int = 10,
        occupancy: Sequence[float] | None = None,
        visible: Sequence[float] | None = None,
        spectrum: Sequence[float] = (0.01, 1000.0),
    ) -> None:
        if spec.geometry is None:
            raise UserError(
                f"observables of points need cells to sum them in, {spec.name} has none"
            )
        layers, first = len(spec.geometry), spec.geometry.layers[0]
        super().__init__(
            spec,
            first.edges[0][1] - first.edges[0][0],
            [edges[0] for edges in first.edges],
            (0.0, 0.0),
            [round(k * (layers - 1) / groups) for k in range(groups + 1)],
            rings,
            occupancy=occupancy,
            visible=visible,
            spectrum=spectrum,
        )

    def depth(self, layer: Tensor) -> Tensor:
        """The number of the layer, float64."""
        return layer.double()

    def features(self, batch: Batch) -> Tensor:
        """log10 E_inc, the scalar observables and the other conditions."""
        others = [field for field in self.spec.conditions if field.role != "energy"]
        columns = [batch.cond[field.name].double() for field in others]
        return torch.cat([super().features(batch), *columns], dim=1)
