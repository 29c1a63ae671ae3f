r"""Observables of dijets of the LHC Olympics (arXiv:2101.08320), from the momenta of both jets.

Beside the columns there are those in which resonances are searched for: the mass :math:`m_{jj}` of both jets,
the mass of the lighter one and the difference to that of the heavier one [TeV], and
:math:`\tau_{21} = \tau_2 / \tau_1` of each in this order, not defined where the jet is one particle.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from simulacra.core.momenta import mass
from simulacra.physics.base import Axis
from simulacra.physics.table import TableObservables
from simulacra.physics.zjets import ratio

TEV = 1000.0  # GeV
AXES = {
    "m_jj": Axis("$m_{jj}$", "TeV", 60, 2.0, 6.0, category="mass"),
    "m_light": Axis("mass of the lighter jet", "TeV", 50, 0.0, 0.6, category="mass"),
    "m_difference": Axis("difference of the masses", "TeV", 50, 0.0, 0.8, category="mass"),
    "tau21_light": Axis(
        r"$\tau_{21}$ of the lighter jet", "", 50, 0.0, 1.0, category="substructure"
    ),
    "tau21_heavy": Axis(
        r"$\tau_{21}$ of the heavier jet", "", 50, 0.0, 1.0, category="substructure"
    ),
}


class DijetObservables(TableObservables):
    """Columns of the table, and what follows from the momenta of both jets."""

    def derived(self, found: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Masses in TeV and ratios, ``(B,)`` each."""
        momenta = torch.stack(
            [
                torch.stack([found[f"{c}j{jet}"].double() for c in ("px", "py", "pz")], 1)
                for jet in (1, 2)
            ]
        )  # (2, B, 3)
        masses = torch.stack([found[f"mj{jet}"].double() for jet in (1, 2)])
        energy = (momenta.square().sum(2) + masses.square()).sqrt()
        both = torch.cat([energy.sum(0)[:, None], momenta.sum(0)], 1)
        ratios = torch.stack([ratio(found[f"tau2j{jet}"], found[f"tau1j{jet}"]) for jet in (1, 2)])
        masses, order = masses.sort(0)
        light, heavy = ratios.gather(0, order)
        return {
            "m_jj": mass(both) / TEV,
            "m_light": masses[0] / TEV,
            "m_difference": (masses[1] - masses[0]) / TEV,
            "tau21_light": light,
            "tau21_heavy": heavy,
        }

    def derived_axes(self) -> dict[str, Axis]:
        """Their labels and binnings."""
        return AXES
