"""Published figures of simulated (Geant4) Belle II pixel background.

They are means and quantiles of the histograms over 10,000 events of 40 sensors that accompany the public code
of IEA-GAN, the only public numbers about these data; the events themselves are not public. Pixels below 7 ADU
count as not fired. How far four published generators are from them is told by
:mod:`simulacra.tracking.compare_published`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import torch
from torch import Tensor


@dataclass(frozen=True)
class PxdReference:
    """Figures of the published sample.

    Args:
        mean_occupancy: Mean occupancy of sensors 0 to 39, float64 ``(40,)``.
        mean_charge: Mean charge of the fired pixels of sensors 0 to 39 [ADU], float64 ``(40,)``.
        charge_quantiles: Charge of a fired pixel [ADU] up to which a share of them lies, by the share.
    """

    mean_occupancy: Tensor
    mean_charge: Tensor
    charge_quantiles: Mapping[float, int]


@cache
def pxd_reference() -> PxdReference:
    """The published figures."""
    text = files("simulacra.physics").joinpath("pxd_reference.json").read_text(encoding="utf-8")
    found = json.loads(text)
    return PxdReference(
        torch.tensor(found["mean_occupancy"], dtype=torch.float64),
        torch.tensor(found["mean_charge"], dtype=torch.float64),
        {float(share): charge for share, charge in found["charge_quantiles"].items()},
    )
