"""Lists of hits while they are drawn, step by step (:mod:`simulacra.dynamics.hit_streams`).

Showers that have all their hits are left out as soon as half of those in work have, so that a long one does
not wait for many short ones to be carried on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from simulacra.dynamics.hit_order import UNBOUNDED, Free
from simulacra.nn.causal_transformer import Cache
from simulacra.nn.delayed_hits import STREAMS, Steps


@dataclass(frozen=True)
class Drawn:
    """Lists with their log densities.

    Args:
        hits: Layer, row, column and logarithm of the energy ``(B, N, 4)``, NaN in lists that a network
            without finite numbers has made.
        mask: Real hits ``(B, N)``.
        log_prob: Sum over the steps ``(B,)``.
    """

    hits: Tensor
    mask: Tensor
    log_prob: Tensor


class Drawing:
    """See the module's docstring.

    Args:
        cells: Which cells there are ``(L, R, C)``.
        context: Conditions ``(n, C)``.
        most: Hits of the longest list.
        caches: What the transformer has seen.
    """

    def __init__(self, cells: Tensor, context: Tensor, most: int, caches: Sequence[Cache]) -> None:
        n = len(context)
        self.shape, self.context, self.caches = tuple(cells.shape), context, caches
        self.free = Free(cells, n)
        self.step = 0
        self.rows = torch.arange(n, device=context.device)
        self.number = torch.full_like(
            self.rows, most + 1
        )  # of all, beyond any for a list that goes on
        self.made = context.new_zeros(n, 64, STREAMS)
        self.logs = context.new_zeros(n)
        self.spent = context.new_zeros(n)  # of those in work

    def steps(self) -> Steps:
        """What the present step brings ``(b, 1)``."""
        columns = []
        for stream in range(STREAMS):
            place = self.step - 1 - stream
            value, real = self.value(place, stream), self.real(place)
            if stream == STREAMS - 1:
                columns.append(torch.where(real, value, 0.0)[:, None])
                continue
            value = torch.where(real, value, float(self.shape[stream] + (place >= 0)))
            columns.append(value.long()[:, None])
        *index, energy = columns
        count = self.number[self.rows].clamp(max=self.step)[:, None]
        return Steps(torch.stack(index, -1), energy, count, self.spent[:, None])

    def value(self, place: int, stream: int) -> Tensor:
        """A number of the hit at a place ``(b,)``, 0 where it is not drawn."""
        if place < 0:
            return self.made.new_zeros(len(self.rows))
        return self.made[self.rows, place, stream]

    def index(self, place: int, stream: int) -> Tensor:
        """The same as a whole number."""
        return self.value(place, stream).long()

    def real(self, place: int) -> Tensor:
        """Whether lists have a hit at a place ``(b,)``, as far as is known."""
        return (self.number[self.rows] > place) & (place >= 0)

    def highest(self, place: int) -> Tensor:
        """Largest logarithm of the energy of the hit at a place ``(b,)``."""
        same = (self.value(place, 0) == self.value(place - 1, 0)) & (place > 0)
        return torch.where(same, self.value(place - 1, 3), UNBOUNDED)

    def end(self, stopped: Tensor) -> None:
        """Lists ``(b,)`` that have no hit at the place of the present step."""
        self.number[self.rows[stopped]] = self.step

    def put(self, place: int, stream: int, value: Tensor, logs: Tensor) -> None:
        """Numbers ``(b,)`` of hits at a place, where they are real, with their log densities."""
        if place >= self.made.shape[1]:
            self.made = torch.cat([self.made, torch.zeros_like(self.made)], 1)
        real = self.real(place)
        self.made[self.rows, place, stream] = torch.where(real, value.to(self.made), 0.0)
        self.add(logs, real)
        if stream == STREAMS - 1:
            self.spent = self.spent + torch.where(real, value.exp(), 0.0)

    def add(self, logs: Tensor, real: Tensor) -> None:
        """Add log densities ``(b,)`` where they are real."""
        self.logs.index_add_(0, self.rows, torch.where(real, logs, 0.0).to(self.logs))

    def forward(self) -> bool:
        """Go to the next step; whether there is anything left to draw."""
        self.step += 1
        active = self.number[self.rows] + STREAMS - 1 > self.step
        left = int(active.sum())
        if left and 2 * left <= len(self.rows):
            keep = active.nonzero()[:, 0]
            self.rows, self.context = self.rows[keep], self.context[keep]
            self.spent = self.spent[keep]
            self.free.keep(keep)
            for cache in self.caches:
                cache.keep(keep)
        return left > 0

    def done(self) -> Drawn:
        """All lists."""
        longest = max(1, int(self.number.max()))
        hits = self.made[:, :longest]
        mask = torch.arange(longest, device=hits.device) < self.number[:, None]
        hits = hits.masked_fill(~self.logs.isfinite()[:, None, None], torch.nan)
        return Drawn(hits, mask, self.logs)
