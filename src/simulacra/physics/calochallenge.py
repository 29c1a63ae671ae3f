r"""Observables of the CaloChallenge (arXiv:2410.21611), with the definitions of its public evaluation code.

Voxels below the cut are 0.  Per layer, with :math:`x = r\cos\alpha`, :math:`y = r\sin\alpha` at bin middles,

.. math:: EC_g = \frac{\sum g e}{\sum e + 10^{-16}}, \quad
          w_g = \sqrt{\max(0, \tfrac{\sum g^2 e}{\sum e + 10^{-16}} - EC_g^2)}, \qquad g \in \{x, y, r\},

and sparsity is the fraction of voxels that are 0.  An empty layer has 0 for all centres and
widths.  Layers with one angular bin have no eta and phi features.  Layers are named by the data
set's own numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from simulacra.core import Batch, Spec
from simulacra.core.ranges import NotNegative, Positive
from simulacra.physics.base import Axis, Ragged, per_batch
from simulacra.physics.calo import CalorimeterObservables, spread


@dataclass(frozen=True)
class LayerFeatures:
    """Everything the evaluation knows of a batch, float64.

    Args:
        total: Visible energy ``(B,)``.
        energy: Energy per layer ``(B, L)``.
        sparsity: Fraction of empty voxels per layer ``(B, L)``.
        centres: Energy centres along eta, phi and r ``(3, B, L)``.
        widths: Widths along eta, phi and r ``(3, B, L)``.
    """

    total: Tensor
    energy: Tensor
    sparsity: Tensor
    centres: Tensor
    widths: Tensor


class CaloChallengeObservables(CalorimeterObservables):
    """E_tot/E_inc, layer energies, centres and widths in eta, phi and r, sparsities, and the voxel spectrum.

    Args:
        spec: A CaloChallenge data set.
        centre: Half range of the energy centres in eta and phi [mm].
        width: Upper end of the widths in eta and phi [mm].
        radius: Upper end of the energy centres in r [mm].
        radial_width: Upper end of the widths in r [mm].
        layers: Other ranges of single layers by layer number, e.g. ``{12: {centre: 500, width: 400}}``.
        response: Range of E_tot/E_inc at one incident energy.
        narrow_response: Range of E_tot/E_inc from ``narrow_from`` on, or None for the same.
        narrow_from: Incident energy from which the narrow range holds [MeV].
        split: Proportions of the classifier test's training, selection and report parts.
    """

    def __init__(
        self,
        spec: Spec,
        centre: Positive,
        width: Positive,
        radius: Positive,
        radial_width: Positive,
        layers: Mapping[int, Mapping[str, float]] | None = None,
        response: tuple[float, float] = (0.4, 1.4),
        narrow_response: tuple[float, float] | None = None,
        narrow_from: NotNegative = 0.0,
        split: tuple[float, float, float] = (60_000, 20_000, 20_000),
    ) -> None:
        super().__init__(spec)
        self.ranges = {
            "centre": centre,
            "width": width,
            "radius": radius,
            "radial_width": radial_width,
        }
        self.layer_ranges = {int(number): dict(ranges) for number, ranges in (layers or {}).items()}
        self._response, self._narrow, self._narrow_from = (
            tuple(response),
            narrow_response,
            narrow_from,
        )
        self.split = (split[0], split[1], split[2])

    @cached_property
    def _functions(self) -> Tensor:
        """1, x, y, r, x^2, y^2, r^2 of each voxel ``(V, 7)``."""
        columns = []
        for layer in self.geometry.layers:
            first, second = layer.cartesian()
            position = [first, second, layer.centres()[1].expand(layer.shape)]
            terms = [torch.ones_like(first), *position, *(p.square() for p in position)]
            columns.append(torch.stack([term.flatten() for term in terms], dim=1))
        return torch.cat(columns).double()

    @cached_property
    def _angular(self) -> list[int]:
        """Positions of the layers binned in angle."""
        return [i for i, layer in enumerate(self.geometry.layers) if layer.shape[0] > 1]

    @per_batch
    def layer_features(self, batch: Batch) -> LayerFeatures:
        """All sums of a batch, from which observables and classifier inputs are read."""
        hits = self.hits(batch)
        sums = hits.moments(self._functions).movedim(-1, 0).contiguous()  # (7, B, L)
        energy = sums[0]
        pairs = [spread(sums[i], sums[i + 3], energy) for i in (1, 2, 3)]
        sizes = torch.tensor(self.geometry.sizes, dtype=torch.float64)
        sparsity = 1 - torch.from_numpy(hits.counts) / sizes
        centres, widths = (torch.stack(parts) for parts in zip(*pairs, strict=True))
        return LayerFeatures(energy.sum(1), energy, sparsity, centres, widths)

    def __call__(self, batch: Batch) -> dict[str, Tensor | Ragged]:
        """Scalars ``(B,)`` and ``voxel_energy``, the voxels at or above the cut."""
        f = self.layer_features(batch)
        found: dict[str, Tensor | Ragged] = {"e_tot_over_e_inc": f.total / self.incident(batch)}
        kinds = {"energy": f.energy, "sparsity": f.sparsity}
        for name, centre, width in zip(("eta", "phi", "r"), f.centres, f.widths, strict=True):
            kinds[f"ec_{name}"], kinds[f"width_{name}"] = centre, width
        for kind, values in kinds.items():
            wanted = self._angular if kind.endswith(("eta", "phi")) else range(len(self.geometry))
            columns = values.T.contiguous()  # each observable in one piece
            found |= {f"{kind}_layer_{self.geometry.layers[i].id}": columns[i] for i in wanted}
        found["voxel_energy"] = self.hits(batch).ragged()
        return found

    def axes(self) -> dict[str, Axis]:
        """The public evaluation's binnings; the upper end of energies is the truth's maximum."""
        cut = max(self.spec.cut, 1e-12)
        unit = self.spec.unit
        found = {"e_tot_over_e_inc": Axis(self.ratio, "", 100, 0.5, 1.5, category="energy")}
        for i, layer in enumerate(self.geometry.layers):
            n = layer.id
            found[f"energy_layer_{n}"] = Axis(
                f"$E$ of layer {n}", unit, 39, cut, None, log=True, category="energy"
            )
            centre, width = self._range("centre", n), self._range("width", n)
            if i in self._angular:
                for name, symbol in (("eta", r"\eta"), ("phi", r"\phi")):
                    text = f"${symbol}$ of layer {n}"
                    found[f"ec_{name}_layer_{n}"] = Axis(
                        f"centre in {text}", "mm", 100, -centre, centre, category="centre"
                    )
                    found[f"width_{name}_layer_{n}"] = Axis(
                        f"width in {text}", "mm", 100, 0.0, width, category="width"
                    )
            found[f"sparsity_layer_{n}"] = Axis(
                f"sparsity of layer {n}", "", 20, 0.0, 1.0, category="occupancy"
            )
            radius, radial = self._range("radius", n), self._range("radial_width", n)
            found[f"ec_r_layer_{n}"] = Axis(
                f"centre in $r$ of layer {n}", "mm", 100, 0.0, radius, category="centre"
            )
            found[f"width_r_layer_{n}"] = Axis(
                f"width in $r$ of layer {n}", "mm", 100, 0.0, radial, category="width"
            )
        found["voxel_energy"] = Axis("voxel energy", unit, 49, cut, None, log=True)
        return found

    def groups(self) -> dict[str, tuple[str, ...]]:
        """The means over layers that the CaloChallenge tabulates."""
        kinds = (
            "energy",
            "ec_eta",
            "ec_phi",
            "width_eta",
            "width_phi",
            "ec_r",
            "width_r",
            "sparsity",
        )
        names = list(self.axes())
        found = {
            kind: tuple(name for name in names if name.startswith(f"{kind}_layer_"))
            for kind in kinds
        }
        return {**found, "e_tot": ("e_tot_over_e_inc",), "voxel": ("voxel_energy",)}

    def features(self, batch: Batch) -> Tensor:
        """The public "high" inputs in their order: 30 (photons), 46 (pions) or 362 (datasets 2 and
        3) columns.
        """
        f = self.layer_features(batch)
        angular = self._angular
        return torch.cat(
            [
                self.incident(batch).log10()[:, None],
                (f.energy + 1e-8).log10(),
                f.centres[0][:, angular] / 100,
                f.centres[1][:, angular] / 100,
                f.widths[0][:, angular] / 100,
                f.widths[1][:, angular] / 100,
                (f.total + 1e-8).log10()[:, None],
                f.sparsity,
                f.centres[2] / 100,
                f.widths[2] / 100,
            ],
            dim=1,
        )

    def response_axis(self, energy: float) -> Axis:
        """20 bins of E_tot/E_inc, narrower at high energy where the data set says so."""
        narrow = self._narrow is not None and energy >= self._narrow_from
        low, high = self._narrow if narrow and self._narrow is not None else self._response
        return Axis(self.ratio, "", 20, low, high)

    def _range(self, kind: str, number: int) -> float:
        return self.layer_ranges.get(number, {}).get(kind, self.ranges[kind])
