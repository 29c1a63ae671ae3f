r"""Attention among points in layers: a point sees those of its own layer and of ``w`` layers to either side.

.. math:: |l_i - l_j| \le w

Points stand in the order of their layers, so that what a run of queries may see is one run of keys: the
cost grows with the points in a window times the points, not with their square. Padding stands last and
sees padding alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from simulacra.core import draws

ROWS = 256
"""Queries that are answered together."""


@dataclass(frozen=True)
class Run:
    """Queries ``rows`` that see some of the keys ``columns``: ``allowed``, bool ``(B, 1, rows, columns)``."""

    rows: slice
    columns: slice
    allowed: Tensor


def in_order(layer: Tensor, mask: Tensor) -> Tensor:
    """Places ``(B, N)`` of points in the order of their layers ``(B, N)``, padding last."""
    last = torch.iinfo(layer.dtype).max
    return layer.masked_fill(~mask, last).argsort(dim=1, stable=True)


def runs(layer: Tensor, mask: Tensor, window: int, rows: int = ROWS) -> list[Run]:
    """What points may see, in parts; one part where nothing may depend on values.

    Args:
        layer: Numbers of the layers ``(B, N)``, rising over real points.
        mask: Real points ``(B, N)``, in front.
        window: ``w``.
        rows: Queries of a part.
    """
    n = layer.shape[1]
    far = layer.amax() + window + 1
    place = torch.where(mask, layer, far).contiguous()
    if draws.unrolled() or n <= rows:
        return [Run(slice(n), slice(n), _near(place, place, window))]
    starts = torch.arange(0, n, rows, device=layer.device)
    ends = (starts + rows).clamp_max(n) - 1
    first = torch.searchsorted(place, place[:, starts] - window).amin(0).tolist()
    last = torch.searchsorted(place, place[:, ends] + window, right=True).amax(0).tolist()
    found = []
    for start, low, high in zip(starts.tolist(), first, last, strict=True):
        asked, seen = slice(start, min(start + rows, n)), slice(low, high)
        found.append(Run(asked, seen, _near(place[:, asked], place[:, seen], window)))
    return found


def attend(query: Tensor, key: Tensor, value: Tensor, parts: list[Run]) -> Tensor:
    """Attention of ``(B, heads, N, W)`` within the windows of :func:`runs`."""
    found = [
        F.scaled_dot_product_attention(
            query[:, :, part.rows], key[:, :, part.columns], value[:, :, part.columns], part.allowed
        )
        for part in parts
    ]
    return found[0] if len(found) == 1 else torch.cat(found, 2)


def _near(asking: Tensor, seen: Tensor, window: int) -> Tensor:
    return ((asking[:, :, None] - seen[:, None]).abs() <= window)[:, None]
