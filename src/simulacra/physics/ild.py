r"""Observables of the ILD photon showers (Getting High, arXiv:2005.05334).

On a grid of :math:`L` layers with rows x and columns y, cells below the cut (half a MIP) are 0.  With index
:math:`i` along an axis,

.. math:: m_1 = \frac{\sum i\,e_i}{\sum e_i}, \qquad m_2 = \frac{\sum (i - m_1)^2 e_i}{\sum e_i};

further the visible energy, the number of hits, the hit spectrum (uncut), the share of the energy in thirds
of the depth, and the longitudinal and radial profiles, the latter against the distance from the
middle of the grid in cells.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property

import torch
from torch import Tensor

from simulacra.core import Batch, Spec, UserError
from simulacra.core.ranges import Count, Positive, Share
from simulacra.physics.base import Axis, Profile, Ragged, ResponseBin, per_batch
from simulacra.physics.calo import CalorimeterObservables
from simulacra.physics.hits import Hits


class ILDObservables(CalorimeterObservables):
    """Visible energy, hits, centres, widths and thirds of a regular grid.

    Args:
        spec: A data set of kind ``grid``.
        visible: Range of the visible energy [unit of the cells], or None to take it from the truth.
        hits: Range of the number of hits, or None to take it from the truth.
        centre: Range of the centre of gravity along the depth [layers], or None for all layers.
        spectrum: Range of the hit spectrum, uncut [unit of the cells].
        radial_bins: Number of rings one cell wide.
        core: Share of events in the shortest interval that response and resolution come from
            (mu_90, sigma_90).
        energies: Incident energies at which response and resolution are taken [unit of the condition], or
            None for bins even in its logarithm.
        window: Distance from such an energy up to which a shower counts [unit of the condition].
    """

    ratio = r"$E_\mathrm{vis} / E_\mathrm{inc}$"

    def __init__(
        self,
        spec: Spec,
        visible: Sequence[float] | None = None,
        hits: Sequence[float] | None = None,
        centre: Sequence[float] | None = None,
        spectrum: Sequence[float] = (0.01, 30.0),
        radial_bins: Count = 24,
        core: Share = 0.9,
        energies: Sequence[float] | None = None,
        window: Positive = 2.0,
    ) -> None:
        super().__init__(spec, radial_bins)
        if not self.geometry.regular:
            raise UserError(
                f"the ILD observables need a regular grid, and {spec.name} has layers of several shapes"
            )
        self.core = core
        self._energies, self._window = energies, window
        self._visible, self._hits, self._centre, self._spectrum = visible, hits, centre, spectrum

    @cached_property
    def _places(self) -> dict[str, tuple[Tensor, int]]:
        """Index of every voxel ``(V,)`` along the depth, rows and columns, and the number of indices."""
        shape = self.geometry.padded_shape
        indices = torch.meshgrid(*(torch.arange(size) for size in shape), indexing="ij")
        return {
            name: (index.flatten(), size)
            for name, index, size in zip("zxy", indices, shape, strict=True)
        }

    @per_batch
    def __call__(self, batch: Batch) -> dict[str, Tensor | Ragged]:
        """Scalars ``(B,)`` and ``hit_energy``, uncut; moments and thirds of an empty shower are NaN."""
        hits = self.hits(batch)
        sums = {name: hits.grouped(*place) for name, place in self._places.items()}
        total = sums["z"].sum(1)
        found: dict[str, Tensor | Ragged] = {
            "e_tot": total,
            "e_tot_over_e_inc": total / self.incident(batch),
            "n_hit": torch.from_numpy(hits.per_event).double(),
        }
        for name, energy in sums.items():
            index = torch.arange(energy.shape[1], dtype=torch.float64)
            mean = energy @ index / total
            found[f"m1_{name}"] = mean
            found[f"m2_{name}"] = ((index - mean[:, None]).square() * energy).sum(1) / total
        for number, part in enumerate(torch.tensor_split(sums["z"], 3, dim=1), start=1):
            found[f"third_{number}"] = part.sum(1) / total
        found["hit_energy"] = Hits.of(batch.x.flatten(1), self.geometry, 0.0).ragged()
        return found

    def response_bins(self) -> tuple[ResponseBin, ...] | None:
        """Windows around the energies, where the data set names them."""
        if self._energies is None:
            return super().response_bins()
        unit = self.spec.by_role("energy").unit
        return tuple(
            ResponseBin(
                # the public windows are open at both ends
                math.nextafter((energy - self._window) * self._unit, math.inf),
                (energy + self._window) * self._unit,
                f"{energy:g}{unit}",
            )
            for energy in self._energies
        )

    def axes(self) -> dict[str, Axis]:
        """Published ranges where the data set gives them."""
        unit = self.spec.unit
        layers, rows, cols = self.geometry.padded_shape
        z_low, z_high = self._centre or (0.0, float(layers))
        e_low, e_high = self._visible or (None, None)
        n_low, n_high = self._hits or (None, None)
        found = {
            "e_tot": Axis("visible energy", unit, 100, e_low, e_high, category="energy"),
            "e_tot_over_e_inc": Axis(self.ratio, category="energy"),
            "n_hit": Axis("number of hits", "", 100, n_low, n_high, category="occupancy"),
            "m1_z": Axis(
                "centre of gravity in depth", "layers", 50, z_low, z_high, category="centre"
            ),
            "m2_z": Axis("variance in depth", r"layers$^2$", category="width"),
        }
        for name, size in (("x", rows), ("y", cols)):
            found[f"m1_{name}"] = Axis(
                f"centre of gravity along ${name}$",
                "cells",
                50,
                size / 2 - 2.5,
                size / 2 + 2.5,
                category="centre",
            )
            found[f"m2_{name}"] = Axis(f"variance along ${name}$", r"cells$^2$", category="width")
        for number, text in enumerate(("first", "second", "last"), start=1):
            found[f"third_{number}"] = Axis(
                f"energy fraction in the {text} third", category="energy"
            )
        found["hit_energy"] = Axis(
            "hit energy", unit, 69, self._spectrum[0], self._spectrum[1], log=True
        )
        return found

    def features(self, batch: Batch) -> Tensor:
        """log10 E_inc, every scalar observable, and the fraction of the energy in each layer,
        undefined ones 0.
        """
        scalars = [value for value in self(batch).values() if isinstance(value, Tensor)]
        layers = self.hits(batch).grouped(*self._places["z"])
        parts = torch.stack([self.incident(batch).log10(), *scalars], dim=1)
        shares = layers / layers.sum(1, keepdim=True)
        return torch.cat([parts, shares], dim=1).nan_to_num(0.0, 0.0, 0.0)

    def profiles(self, batch: Batch) -> dict[str, Profile]:
        """Longitudinal profile, and the radial one in rings one cell wide around the middle of the grid."""
        found = super().profiles(batch)
        layers, rows, cols = self.geometry.padded_shape
        x = torch.arange(rows, dtype=torch.float64) - (rows - 1) / 2
        y = torch.arange(cols, dtype=torch.float64) - (cols - 1) / 2
        ring = torch.hypot(x[:, None], y[None, :]).floor().long().clamp(max=self.radial_bins - 1)
        values = self.hits(batch).grouped(ring.flatten().repeat(layers), self.radial_bins)
        edges = torch.arange(self.radial_bins + 1, dtype=torch.float64)
        axis = Axis("distance from the middle", "cells")
        found["radial"] = Profile(values, edges, axis, "mean energy per ring", self.spec.unit)
        return found
