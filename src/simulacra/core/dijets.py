r"""Two jets as one system, and what resonances are searched for in.

From the momenta and masses of both jets follow the mass :math:`m_{jj}` of the pair, the mass of the lighter
jet, the difference to that of the heavier one, and :math:`\tau_{21} = \tau_2 / \tau_1` of each in this order,
not defined for a jet of one particle, whose :math:`\tau_1` is 0.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from simulacra.core.momenta import mass

TEV = 1000.0
"""In GeV."""


def dijets(found: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Masses [TeV] and ratios, ``(B,)`` each, NaN where they are not defined.

    Args:
        found: ``px``, ``py``, ``pz``, ``m``, ``tau1`` and ``tau2`` [GeV] of the jets ``j1`` and ``j2``, each
            ``(B,)``, by name: ``pxj1`` …
    """
    momenta = torch.stack(
        [
            torch.stack([found[f"{c}j{jet}"].double() for c in ("px", "py", "pz")], 1)
            for jet in (1, 2)
        ]
    )  # (2, B, 3)
    masses = torch.stack([found[f"mj{jet}"].double() for jet in (1, 2)])
    energy = (momenta.square().sum(2) + masses.square()).sqrt()
    both = torch.cat([energy.sum(0)[:, None], momenta.sum(0)], 1)
    first, second = (
        torch.stack([found[f"tau{order}j{jet}"] for jet in (1, 2)]) for order in (1, 2)
    )
    ratios = torch.where(first > 0, second / first, torch.nan)
    masses, order = masses.sort(0)
    light, heavy = ratios.gather(0, order)
    return {
        "m_jj": mass(both) / TEV,
        "m_light": masses[0] / TEV,
        "m_difference": (masses[1] - masses[0]) / TEV,
        "tau21_light": light,
        "tau21_heavy": heavy,
    }
