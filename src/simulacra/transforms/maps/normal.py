r"""Probabilities and scores of the normal distribution from elementary functions, for exported graphs.

:func:`tail` is :math:`\Phi(-z)` by a polynomial in :math:`1 / (1 + |x| / 2)` for the complementary error
function; :func:`score` is its inverse by rational functions, to a relative 1.2e-9. Formats of graphs have
neither. Both are for double precision: single precision loses four digits to differences.

References: W. H. Press et al., Numerical Recipes, section 6.2 (Chebyshev fit of erfc, to a relative 1.2e-7);
    P. J. Acklam 2003, An algorithm for computing the inverse normal cumulative distribution function.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

# factors of polynomials, lowest powers first
_ERFC = """
    -1.26551223 1.00002368 0.37409196 0.09678418 -0.18628806
    0.27886807 -1.13520398 1.48851587 -0.82215223 0.17087277
"""
_CENTRE = """
    2.506628277459239 -3.066479806614716e1 1.383577518672690e2
    -2.759285104469687e2 2.209460984245205e2 -3.969683028665376e1
"""
_CENTRE_BELOW = """
    1 -1.328068155288572e1 6.680131188771972e1
    -1.556989798598866e2 1.615858368580409e2 -5.447609879822406e1
"""
_TAIL = """
    2.938163982698783 4.374664141464968 -2.549732539343734
    -2.400758277161838 -3.223964580411365e-1 -7.784894002430293e-3
"""
_TAIL_BELOW = """
    1 3.754408661907416 2.445134137142996 3.224671290700398e-1 7.784695709041462e-3
"""
_EDGE = 0.02425  # where the tail of the scores begins


def tail(z: Tensor) -> Tensor:
    """Probability of a normal number above ``z``."""
    x = z.abs() / math.sqrt(2)
    t = 1 / (1 + 0.5 * x)
    half = 0.5 * t * torch.exp(_polynomial(t, _ERFC) - x.square())
    return torch.where(z < 0, 1 - half, half)


def score(p: Tensor) -> Tensor:
    """The number above which a normal one is with probability ``p`` in (0, 1)."""
    q = 0.5 - p
    square = q.square()
    centre = q * _polynomial(square, _CENTRE) / _polynomial(square, _CENTRE_BELOW)
    small = torch.minimum(p, 1 - p)
    root = torch.sqrt(-2 * torch.log(small.clamp(min=1e-300)))
    outer = -_polynomial(root, _TAIL) / _polynomial(root, _TAIL_BELOW)
    return torch.where(small < _EDGE, torch.where(q > 0, outer, -outer), centre)


def _polynomial(x: Tensor, factors: str) -> Tensor:
    """``f[0] + f[1] x + ...``."""
    *rest, last = (float(factor) for factor in factors.split())
    found = torch.full_like(x, last)
    for factor in reversed(rest):
        found = found * x + factor
    return found
