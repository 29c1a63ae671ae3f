r"""Paths between noise and data for flow matching.

Convention of the whole package: :math:`t = 0` is noise and :math:`t = 1` is data, so sampling
integrates forwards. (EPiC-FM's paper and code run the other way; the two agree under
:math:`t \to 1 - t`.)

A path gives a point between one noise value :math:`z` and one data value :math:`x`, and its
velocity :math:`u = \partial_t x_t`, the target that a network regresses.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class OptimalTransportPath:
    r"""Straight path :math:`x_t = t x + (1 - (1 - \sigma) t) z`, :math:`u = x - (1 - \sigma) z`.

    At :math:`t = 1` a width of :math:`\sigma` is left around each data value.

    Args:
        sigma_min: :math:`\sigma`.

    Reference: Lipman et al. 2022, arXiv:2210.02747, equations 22 and 23.
    """

    sigma_min: float = 1e-4

    def at(self, t: Tensor, noise: Tensor, data: Tensor) -> tuple[Tensor, Tensor]:
        """Point and velocity, both shaped ``(B, *)`` as ``noise`` and ``data``, at the times ``(B,)``."""
        time = t.view(-1, *[1] * (data.ndim - 1))
        rest = 1 - self.sigma_min
        return time * data + (1 - rest * time) * noise, data - rest * noise


def stratified_times(n: int, like: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Times uniform in [0, 1], one in each of ``n`` equal intervals up to a common shift: ``(n,)``.

    Each time by itself is uniform; together they cover the interval evenly, which lowers the
    variance of the loss.
    """
    shift = torch.rand((), generator=generator, device=like.device, dtype=like.dtype)
    return (torch.arange(n, device=like.device, dtype=like.dtype) / n + shift) % 1
