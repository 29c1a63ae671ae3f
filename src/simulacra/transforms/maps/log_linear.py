r"""A logarithm that turns linear: :math:`s(x) = x + \ln x`, from positive numbers to all numbers.

Small values are told apart by their ratio, as by a logarithm, so that the inverse is always
positive; large values by their difference, so that an error of :math:`s` is not blown up in the
hardest points, which carry a sum. The inverse is Wright's omega function.
"""

from __future__ import annotations

import torch
from torch import Tensor

STEPS = 8
"""Newton steps of the inverse: quadratic convergence, to float64's precision."""


def log_linear(x: Tensor) -> Tensor:
    """``x + ln(x)`` of positive values; smaller ones count as the smallest positive number."""
    positive = x.clamp_min(torch.finfo(x.dtype).tiny)
    return positive + positive.log()


def inverse_log_linear(s: Tensor) -> Tensor:
    """The positive ``x`` with ``x + ln(x) = s``.

    Newton's method in ``v = ln(x)`` on the convex ``v + exp(v) - s``, from a start to the right of the root.
    """
    v = torch.where(s > 0, torch.log1p(s.clamp_min(0)), s)
    for _ in range(STEPS):
        x = v.exp()
        v = v - (v + x - s) / (1 + x)
    return v.exp()
