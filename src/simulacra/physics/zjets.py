r"""Observables of jets recoiling against a Z, from the columns of OmniFold's sample (arXiv:1911.09107).

Beside the columns there are the two ratios that the paper unfolds,

.. math:: \tau_{21} = \tau_2 / w, \qquad \ln \rho = 2 \ln(m_{SD} / p_T),

with the width :math:`w`, which is :math:`\tau_1` for one axis along the jet. The first is not defined where
the jet is one particle, the second where soft drop leaves one.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from simulacra.physics.base import Axis
from simulacra.physics.table import TableObservables

AXES = {
    ("tau2", "width"): ("tau21", Axis(r"$\tau_{21}$", "", 50, 0.0, 1.2, category="substructure")),
    ("sdm", "pt"): ("ln_rho", Axis(r"$\ln \rho$", "", 50, -14.0, -1.0, category="substructure")),
}
"""Names and axes of the ratios by the columns that they need."""


class ZJetObservables(TableObservables):
    """Columns of the table, and the ratios of those that are there."""

    def derived(self, found: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """``tau21`` and ``ln_rho``, NaN where they are not defined."""
        ratios = {
            name: ratio(found[above], found[below])
            for (above, below), (name, _) in AXES.items()
            if above in found and below in found
        }
        if "ln_rho" in ratios:
            rho = ratios["ln_rho"]
            ratios["ln_rho"] = torch.where(rho > 0, 2 * rho.log(), torch.nan)
        return ratios

    def derived_axes(self) -> dict[str, Axis]:
        """Those of the ratios that there are."""
        names = {field.name for field in (*self.spec.features, *self.spec.event)}
        return {name: axis for needed, (name, axis) in AXES.items() if names >= set(needed)}


def ratio(above: Tensor, below: Tensor) -> Tensor:
    """``above / below`` ``(B,)``, NaN where ``below`` is not above 0."""
    return torch.where(below > 0, above / below, torch.nan)
