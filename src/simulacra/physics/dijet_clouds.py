r"""Observables of clouds of two jets: what either jet is as a whole, and what its particles say of it.

Of each jet, ``light`` and ``heavy``: transverse momentum, pseudorapidity and mass, and from its particles the
mass (``kept_m``, of the particles that are kept), the number, the width and :math:`\tau_{21}`, as in
:mod:`simulacra.physics.jets`.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from simulacra.core import Batch, IncompatibleError, Spec
from simulacra.physics.base import Axis, ObservableSet, per_batch
from simulacra.physics.jets import substructure
from simulacra.physics.substructure import ratios

JETS = ("light", "heavy")
COLUMNS = ("etarel", "phirel", "ptrel", "heavy")
_JET = {
    "pt": Axis("transverse momentum", "TeV", category="momentum"),
    "eta": Axis("pseudorapidity", category="centre"),
    "m": Axis("mass", "TeV", category="mass"),
    "kept_m": Axis("mass of the particles", "TeV", category="mass"),
    "multiplicity": Axis("particles", category="occupancy"),
    "width": Axis("width", category="width"),
    "tau21": Axis(r"$\tau_{21}$", bins=50, low=0.0, high=1.0, category="substructure"),
}


class DijetCloudObservables(ObservableSet):
    """See the module's docstring; a ratio is NaN where it is not defined.

    Args:
        spec: The data set.

    Raises:
        IncompatibleError: If it has no such particles.
    """

    def __init__(self, spec: Spec) -> None:
        super().__init__(spec)
        names = tuple(field.name for field in spec.features)
        if spec.kind != "cloud" or names != COLUMNS:
            raise IncompatibleError(
                f"observables of two jets need a cloud with {', '.join(COLUMNS)}: {spec.name} has "
                f"{', '.join(names) or 'none'}"
            )

    @per_batch
    def __call__(self, batch: Batch) -> dict[str, Tensor]:
        """Values ``(B,)`` by name."""
        assert batch.mask is not None
        eta, phi, pt, heavy = batch.x.double().unbind(2)
        found: dict[str, Tensor] = {}
        for number, jet in enumerate(JETS):
            own = {name: batch.event[f"{name}_{jet}"][:, 0] for name in ("pt", "eta", "m")}
            mask = batch.mask & ((heavy >= 0.5) == bool(number))
            share = torch.where(mask, pt, 0.0)
            shape = substructure(eta, phi, share, mask)
            own["kept_m"] = shape["mass_rel"] * own["pt"]
            own |= {name: shape[name] for name in ("multiplicity", "width")}
            own["tau21"] = ratios(eta, phi, share)["tau21"]
            found |= {f"{name}_{jet}": value.to(batch.x.dtype) for name, value in own.items()}
        return found

    def axes(self) -> dict[str, Axis]:
        """All ranges but that of the ratio come from the truth."""
        whole = {"light": "of the lighter jet", "heavy": "of the heavier jet"}
        return {
            f"{name}_{jet}": replace(axis, label=f"{axis.label} {whole[jet]}")
            for jet in JETS
            for name, axis in _JET.items()
        }

    def features(self, batch: Batch) -> Tensor:
        """All of them and the mass of both jets ``(B, F)``; what is undefined is 0."""
        mass = batch.cond[self.spec.by_role("mass").name]
        values = torch.stack(list(self(batch).values()), 1)
        return torch.nan_to_num(torch.cat([values, mass.to(values)], 1), 0.0, 1e6, -1e6)
