r"""Sliced Wasserstein distance of weighted samples, which a network can make small.

Of two samples projected on a direction, with quantile functions :math:`F^{-1}` and :math:`G^{-1}`,

.. math:: W_2^2 = \int_0^1 \bigl(F^{-1}(u) - G^{-1}(u)\bigr)^2\,du,

and the distance is the mean over random directions, which grows to one of whole vectors. Event weights are
the steps of the distribution functions.

References: Rabin, Peyre, Delon, Bernot 2011, doi:10.1007/978-3-642-24785-9_37; Kolouri, Pope, Martin, Rohde
2018, arXiv:1804.01947, for autoencoders.
"""

from __future__ import annotations

import torch
from torch import Tensor

from simulacra.core import draws


def sliced_transport(
    x: Tensor,
    y: Tensor,
    slices: int,
    weight: Tensor | None = None,
    other: Tensor | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Mean of :math:`W_2^2` over directions, a scalar; gradients reach ``x`` and ``y``.

    Args:
        x: Events ``(B, D)``.
        y: Events ``(B', D)``.
        slices: Number of random directions.
        weight: Event weights ``(B,)`` of ``x``, not negative, or None.
        other: Event weights ``(B',)`` of ``y``, or None.
        generator: Source of the directions.
    """
    along = draws.normal((slices, x.shape[1]), x, generator)
    along = along / along.norm(dim=1, keepdim=True)
    return transport(along @ x.T, along @ y.T, weight, other).mean()


def transport(
    x: Tensor, y: Tensor, weight: Tensor | None = None, other: Tensor | None = None
) -> Tensor:
    """:math:`W_2^2` of each row of numbers, ``(K,)``, of ``(K, B)`` and ``(K, B')``; weights as above."""
    if weight is None and other is None and x.shape == y.shape:
        return (x.sort(dim=1).values - y.sort(dim=1).values).square().mean(1)
    first, p = _steps(x, weight)
    second, q = _steps(y, other)
    ends = torch.cat([p, q], 1).sort(dim=1).values  # (K, B + B')
    width = ends.diff(dim=1, prepend=ends.new_zeros(len(ends), 1))
    middle = ends - width / 2
    apart = _at(first, p, middle) - _at(second, q, middle)
    return (apart.square() * width.to(apart)).sum(1)


def _steps(x: Tensor, weight: Tensor | None) -> tuple[Tensor, Tensor]:
    """Sorted numbers and the distribution function behind each, ``(K, B)`` both, the latter float64."""
    values, order = x.sort(dim=1)
    own = x.new_ones(x.shape[1]) if weight is None else weight.to(x.device)
    mass = own.double()[order].cumsum(1)
    return values, mass / mass[:, -1:]


def _at(values: Tensor, mass: Tensor, level: Tensor) -> Tensor:
    """Quantiles at levels, ``(K, n)``."""
    place = torch.searchsorted(mass, level.contiguous()).clamp(max=values.shape[1] - 1)
    return values.gather(1, place)
