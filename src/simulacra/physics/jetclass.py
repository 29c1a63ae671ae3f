r"""Observables of jets whose particles also have tracks and types: composition, charge and displacement.

The jet charge is :math:`\sum q \sqrt{z} / \sum \sqrt{z}` over all particles, and the fractions are of
:math:`\sum z`. Displacements are of charged particles. Types and charges are discretised as when a file is
written (largest flag, nearest charge), so that generated numbers between 0 and 1 are judged as what they
stand for.
"""

from __future__ import annotations

import torch
from torch import Tensor

from simulacra.core import Batch
from simulacra.formats.jetclass import discretise
from simulacra.physics.base import Axis
from simulacra.physics.jets import JetObservables

_FRACTIONS = {
    "charged_fraction": ("isChargedHadron", "isElectron", "isMuon"),
    "neutral_fraction": ("isNeutralHadron",),
    "photon_fraction": ("isPhoton",),
    "lepton_fraction": ("isElectron", "isMuon"),
}
_AXES = {
    "charged_fraction": Axis("charged fraction of $p_T$", category="composition"),
    "neutral_fraction": Axis("neutral-hadron fraction of $p_T$", category="composition"),
    "photon_fraction": Axis("photon fraction of $p_T$", category="composition"),
    "lepton_fraction": Axis("electron and muon fraction of $p_T$", category="composition"),
    "charged_multiplicity": Axis("number of charged particles", category="occupancy"),
    "jet_charge": Axis("jet charge", category="composition"),
    "max_d0": Axis("largest transverse displacement", "mm", log=True, category="displacement"),
    "max_dz": Axis("largest longitudinal displacement", "mm", log=True, category="displacement"),
    "d0": Axis("transverse displacement of charged particles", "mm", low=-1.0, high=1.0),
    "dz": Axis("longitudinal displacement of charged particles", "mm", low=-1.0, high=1.0),
}


class JetClassObservables(JetObservables):
    """Observables of :class:`~simulacra.physics.jets.JetObservables` and those of the module's docstring."""

    def __call__(self, batch: Batch) -> dict[str, Tensor]:
        """``d0`` and ``dz`` are ``(B, N)``, NaN for neutral particles and padding; without tracks the largest
        displacement is NaN.
        """
        values = super().__call__(batch)
        mask = self.mask(batch)
        x = discretise(batch.x) * mask[..., None]
        pt = x[..., self.columns["ptrel"]].clamp_min(0)
        total = torch.where(pt.sum(1) > 0, pt.sum(1), torch.nan)
        for name, flags in _FRACTIONS.items():
            chosen = sum(x[..., self.columns[flag]] for flag in flags)
            values[name] = (pt * chosen).sum(1) / total
        charge = x[..., self.columns["charge"]]
        charged = (charge != 0) & mask
        root = pt.sqrt()
        values["charged_multiplicity"] = charged.sum(1).to(x.dtype)
        values["jet_charge"] = (charge * root).sum(1) / torch.where(
            total > 0, root.sum(1), torch.nan
        )
        for name in ("d0", "dz"):
            column = torch.where(charged, x[..., self.columns[name]], torch.nan)
            largest = column.abs().nan_to_num(nan=0.0).amax(1)
            values[f"max_{name}"] = torch.where(largest > 0, largest, torch.nan)
            values[name] = column
        return values

    def axes(self) -> dict[str, Axis]:
        """Displacements of particles are shown within 1 mm; all other ranges come from the truth."""
        return {**super().axes(), **_AXES}
