r"""Observables of dijets of the LHC Olympics (arXiv:2101.08320), from the momenta of both jets.

Beside the columns there are those in which resonances are searched for: the mass :math:`m_{jj}` of both jets,
the mass of the lighter one and the difference to that of the heavier one [TeV], and
:math:`\tau_{21} = \tau_2 / \tau_1` of each in this order, not defined where the jet is one particle.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from simulacra.core.dijets import dijets
from simulacra.physics.base import Axis
from simulacra.physics.table import TableObservables

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
        return dijets(found)

    def derived_axes(self) -> dict[str, Axis]:
        """Their labels and binnings."""
        return AXES


class SearchObservables(TableObservables):
    """The columns of :mod:`simulacra.formats.lhco_search`, with the same labels and binnings."""

    def axes(self) -> dict[str, Axis]:
        """Those of the columns that it has."""
        found = super().axes()
        return {name: AXES.get(name, axis) for name, axis in found.items()}
