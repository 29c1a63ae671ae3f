r"""Shower shapes of CaloGAN (arXiv:1705.02355, function ``feats1d`` of its code) and CaloFlow's
brightest voxels.

With layers :math:`l = 0 \dots L - 1` and :math:`E_{tot} = \sum_l E_l`:

.. math:: f_l = E_l / E_{tot}, \quad l_d = \sum_l l\,E_l, \quad s_d = l_d / E_{tot}, \quad
          \sigma_{s_d} = \sqrt{\textstyle\sum_l l^2 E_l / E_{tot} - s_d^2},

the depth is the deepest layer with energy, the lateral width of a layer is the energy-weighted
standard deviation along its first axis (with :math:`E_l + 10^{-6}` in the denominators, so 0 for an empty
layer), :math:`E_{ratio} = (e_1 - e_2) / (e_1 + e_2 + 10^{-6})` of
its two brightest cells, and sparsity is the fraction of cells that are *not* empty (the opposite
sense to the CaloChallenge).
"""

from __future__ import annotations

from functools import cached_property

import torch
from torch import Tensor

from simulacra.core import Batch, Spec
from simulacra.core.ranges import Count
from simulacra.physics.base import Axis, Ragged, per_batch
from simulacra.physics.calo import CalorimeterObservables

SOFT = 1e-6
"""Added to denominators by the authors' code [MeV]."""


class CaloGANObservables(CalorimeterObservables):
    """Energies, depth, widths, sparsities and brightest cells of a few layers of different granularity.

    Args:
        spec: A data set of few layers.
        brightest: How many of the brightest cells per layer enter, as fractions of the layer's energy.
        radial_bins: Number of bins of the radial profile.
    """

    def __init__(self, spec: Spec, brightest: Count = 3, radial_bins: Count = 24) -> None:
        super().__init__(spec, radial_bins)
        self.brightest = max(2, brightest)

    @cached_property
    def _functions(self) -> Tensor:
        """1, x, x^2, y, y^2 of each voxel ``(V, 5)``."""
        columns = []
        for layer in self.geometry.layers:
            first, second = (at.double().flatten() for at in layer.cartesian())
            terms = [torch.ones_like(first), first, first.square(), second, second.square()]
            columns.append(torch.stack(terms, dim=1))
        return torch.cat(columns)

    @per_batch
    def __call__(self, batch: Batch) -> dict[str, Tensor | Ragged]:
        """Scalars ``(B,)`` and ``voxel_energy``, the hit voxels; fractions of an empty shower or layer are
        NaN.
        """
        hits = self.hits(batch)
        sums = hits.moments(self._functions)  # (B, L, 5)
        energy = sums[..., 0]
        total = energy.sum(1)
        index = torch.arange(len(self.geometry), dtype=torch.float64, device=energy.device)
        depth_weighted = energy @ index
        mean_depth = depth_weighted / total
        variance = energy @ index.square() / total - mean_depth.square()
        found: dict[str, Tensor | Ragged] = {
            "e_tot": total,
            "e_tot_over_e_inc": total / self.incident(batch),
            "depth": (index * (energy > 0)).amax(1),
            "depth_weighted_energy": depth_weighted,
            "shower_depth": mean_depth,
            # rounding makes it slightly negative for showers in one layer
            "shower_depth_width": variance.clamp(min=0).sqrt(),
        }
        for position, (layer, cells) in enumerate(
            zip(self.geometry.layers, self.geometry.split(self.cut(batch)), strict=True)
        ):
            found |= self._layer(layer.id, cells.flatten(1).double(), sums[:, position], total)
        found["voxel_energy"] = hits.ragged()
        return found

    def _layer(self, number: int, cells: Tensor, sums: Tensor, total: Tensor) -> dict[str, Tensor]:
        """Observables of one layer: cells ``(B, cells)``, sums ``(B, 5)``, total ``(B,)``."""
        energy = sums[:, 0]
        soft = energy + SOFT
        undefined = torch.full_like(energy, torch.nan)
        top = cells.topk(self.brightest, dim=1).values
        found = {f"energy_layer_{number}": energy, f"fraction_layer_{number}": energy / total}
        for name, at in (("width", 1), ("width_second", 3)):
            variance = sums[:, at + 1] / soft - (sums[:, at] / soft).square()
            found[f"{name}_layer_{number}"] = variance.clamp(min=0).sqrt()
        found[f"centre_second_layer_{number}"] = torch.where(
            energy > 0, sums[:, 3] / soft, undefined
        )
        found[f"e_ratio_layer_{number}"] = (top[:, 0] - top[:, 1]) / (top[:, 0] + top[:, 1] + SOFT)
        found[f"sparsity_layer_{number}"] = (cells > 0).double().mean(1)
        for rank in range(self.brightest):
            found[f"brightest_{rank + 1}_layer_{number}"] = torch.where(
                energy > 0, top[:, rank] / soft, undefined
            )
        return found

    def axes(self) -> dict[str, Axis]:
        """No public binning: ranges come from the truth, fractions from 0 to 1."""
        unit, low = self.spec.unit, max(self.spec.cut, 1e-3)
        layers = len(self.geometry)
        found = {
            "e_tot": Axis(r"$E_\mathrm{tot}$", unit, category="energy"),
            "e_tot_over_e_inc": Axis(self.ratio, category="energy"),
            "depth": Axis(
                "deepest layer with energy", "", layers, -0.5, layers - 0.5, category="occupancy"
            ),
            "depth_weighted_energy": Axis(r"depth-weighted energy $l_d$", unit, category="energy"),
            "shower_depth": Axis(r"shower depth $s_d$", category="centre"),
            "shower_depth_width": Axis(r"shower depth width $\sigma_{s_d}$", category="width"),
        }
        for n in (layer.id for layer in self.geometry.layers):
            found[f"energy_layer_{n}"] = Axis(
                f"$E$ of layer {n}", unit, low=low, log=True, category="energy"
            )
            found[f"fraction_layer_{n}"] = Axis(
                f"energy fraction of layer {n}", "", 50, 0.0, 1.0, category="energy"
            )
            found[f"width_layer_{n}"] = Axis(
                f"width along axis 1 of layer {n}", "mm", category="width"
            )
            found[f"width_second_layer_{n}"] = Axis(
                f"width along axis 2 of layer {n}", "mm", category="width"
            )
            found[f"centre_second_layer_{n}"] = Axis(
                f"centre along axis 2 of layer {n}", "mm", category="centre"
            )
            found[f"e_ratio_layer_{n}"] = Axis(
                rf"$E_\mathrm{{ratio}}$ of layer {n}", "", 50, 0.0, 1.0, category="transverse"
            )
            found[f"sparsity_layer_{n}"] = Axis(
                f"occupied fraction of layer {n}", category="occupancy"
            )
            for rank in range(1, self.brightest + 1):
                found[f"brightest_{rank}_layer_{n}"] = Axis(
                    f"brightest cell {rank} / $E$ of layer {n}", category="transverse"
                )
        found["voxel_energy"] = Axis("voxel energy", unit, low=low, log=True)
        return found

    def features(self, batch: Batch) -> Tensor:
        """log10 E_inc, then every scalar observable; undefined ones are 0."""
        found = self(batch)
        scalars = [value for value in found.values() if isinstance(value, Tensor)]
        return torch.stack([self.incident(batch).log10(), *scalars], dim=1).nan_to_num(
            0.0, 0.0, 0.0
        )
