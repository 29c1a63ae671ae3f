"""Sets in groups of like size whose inner values fit the cache of a processor's core.

Passes over the values inside a network (activations, norms, sums) cost little while these are in the cache,
and as much as products of matrices where they come from memory; so do pages of memory that are asked for
anew. A network of sets is therefore evaluated for few events at once, those of like size together and cut to
the longest, in training as in sampling: backward passes go group by group, too. Results are those of one
pass up to rounding. Elsewhere than on processors, and where a graph is recorded, which may depend on no
value, all events are one group.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from simulacra.core import draws

CACHE = 2**18
"""Numbers of single precision within a group, in the widest layer: a megabyte."""


def recorded(like: Tensor) -> bool:
    """Whether work may not be cut by values or to the size of a cache: on accelerators, where it would be
    too little for one pass, and where a graph is recorded.
    """
    return like.device.type != "cpu" or draws.unrolled() or torch.compiler.is_compiling()


def at_once(each: int, like: Tensor) -> int | None:
    """How many events of ``each`` numbers in the widest layer are worked on together, None for all."""
    return None if recorded(like) else max(1, CACHE // each)


def in_groups(
    net: Callable[..., Tensor],
    width: int,
    x: Tensor,
    mask: Tensor,
    given: Sequence[Tensor | None],
) -> Tensor:
    """``net(x, mask, *given)``, points ``(B, N, O)`` that are exactly 0 where padded.

    Args:
        net: A network of sets, in which no event sees another.
        width: Of its widest layer.
        x: Points ``(B, N, F)``.
        mask: Real points ``(B, N)``.
        given: What is known of the events, each ``(B, *)`` or None.
    """
    events, points = mask.shape
    most = at_once(width, x)  # points
    if most is None or events * points <= most:
        return net(x, mask, *given)
    real = torch.arange(1, points + 1, device=mask.device) * mask
    lengths, order = real.amax(1).sort(stable=True)
    parts = []
    for rows, longest in _cut(lengths.tolist(), most):
        chosen = order[rows]
        known = (None if item is None else item[chosen] for item in given)
        made = net(x[chosen, :longest], mask[chosen, :longest], *known)
        parts.append(torch.nn.functional.pad(made, (0, 0, 0, points - longest)))
    return torch.cat(parts)[order.argsort()]


def _cut(lengths: list[int], most: int) -> list[tuple[slice, int]]:
    """Groups of rising lengths, of at most ``most`` points or of one event, with the longest of each."""
    found, last = [], len(lengths)
    while last > 0:
        longest = max(lengths[last - 1], 1)
        first = max(0, last - max(1, most // longest))
        found.append((slice(first, last), longest))
        last = first
    return found[::-1]
