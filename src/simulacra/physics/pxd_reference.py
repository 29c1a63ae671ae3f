"""Published histograms of simulated (Geant4) Belle II pixel background and of four generators
trained on it.

They are the histograms over 10,000 events of 40 sensors that accompany the public code of IEA-GAN,
and the only public numbers about these data; the events themselves are not public.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import torch
from torch import Tensor

from simulacra.core import UserError

OCCUPANCY_WIDTH = 1e-4  # of a bin


@dataclass(frozen=True)
class PxdReference:
    """Histograms of one published sample; pixels below 7 ADU count as not fired.

    Args:
        charge: Probability of each charge of a fired pixel, 7 to 255 ADU, float64 ``(249,)``,
            normalised.
        occupancy: Counts of the occupancy of single sensors in 200 bins from 0 to 0.02, float64
            ``(200,)``.
        mean_occupancy: Mean occupancy of sensors 0 to 39, float64 ``(40,)``.
        mean_charge: Mean charge of the fired pixels of sensors 0 to 39 [ADU], float64 ``(40,)``.
    """

    charge: Tensor
    occupancy: Tensor
    mean_occupancy: Tensor
    mean_charge: Tensor


@cache
def pxd_reference(sample: str = "geant4") -> PxdReference:
    """Histograms of ``geant4``, ``iea_gan``, ``pe_gan``, ``contragan`` or ``biggan_deep``.

    Note:
        The layer 2 sensors of the four generated samples are probably in another order than those
        of ``geant4``: their mean occupancies fit far better when read in the order of strings.
    """
    text = files("simulacra.physics").joinpath("pxd_reference.json").read_text(encoding="utf-8")
    samples = json.loads(text)["samples"]
    if sample not in samples:
        raise UserError(
            f"there is no published PXD sample {sample!r}: choose from {', '.join(samples)}"
        )
    values = {
        key: torch.tensor(numbers, dtype=torch.float64) for key, numbers in samples[sample].items()
    }
    charge = values["charge_pmf"]
    return PxdReference(
        charge / charge.sum(),
        values["occupancy_counts"],
        values["mean_occupancy"],
        values["mean_charge"],
    )


def published_distances(
    charges: Tensor, occupancy: Tensor, sample: str = "geant4"
) -> dict[str, float]:
    """Distances of a sample from a published one, as far as its histograms allow.

    Args:
        charges: Count (or probability) of fired pixels with each charge 7 to 255 ADU, ``(249,)``.
        occupancy: Occupancies of all 40 sensors, ``(N, 40)``.
        sample: The published sample; see :func:`pxd_reference`.

    Returns:
        ``charge_w1`` [ADU], ``charge_separation``, ``occupancy_separation`` (triangular distances,
        0 to 1) and ``mean_occupancy_error``, the mean over sensors of the relative error of the
        mean occupancy.
    """
    reference = pxd_reference(sample)
    charge = charges.double() / charges.sum()
    bins = (occupancy.double().flatten() / OCCUPANCY_WIDTH).long()
    found = torch.bincount(
        bins[bins < len(reference.occupancy)], minlength=len(reference.occupancy)
    ).double()
    mean = occupancy.double().mean(0)
    return {
        "charge_w1": float((charge - reference.charge).cumsum(0).abs().sum()),
        "charge_separation": triangular(charge, reference.charge),
        "occupancy_separation": triangular(
            found / found.sum(), reference.occupancy / reference.occupancy.sum()
        ),
        "mean_occupancy_error": float((mean / reference.mean_occupancy - 1).abs().mean()),
    }


def triangular(p: Tensor, q: Tensor) -> float:
    """Triangular distance of two normalised histograms: half the sum of ``(p - q)^2 / (p + q)``."""
    return float(0.5 * ((p - q).square() / (p + q).clamp(min=1e-300)).sum())
