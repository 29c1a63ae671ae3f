r"""Which cells the next hit of a list may lie in.

Hits stand layer by layer, in each layer with falling energies, and no cell is hit twice. A shower therefore
has one list, and what may follow is known from the hits before: a layer from the present one on that has a
free cell, a row of it with a free cell, a free cell of the row, and an energy up to that of the hit before in
the same layer. :func:`allowed` says so for all hits of whole lists, :class:`Free` hit by hit.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

UNBOUNDED = 1e3
"""Above all logarithms of energies, where no hit before sets a bound."""


@dataclass(frozen=True)
class Allowed:
    """What each hit may be, given those before it and its own numbers so far.

    Args:
        layers: ``(B, N + 1, L)``, bool; behind the last hit what a further one might be.
        rows: ``(B, N, R)``, bool.
        columns: ``(B, N, C)``, bool.
        highest: Largest logarithm of the energy ``(B, N)``.
    """

    layers: Tensor
    rows: Tensor
    columns: Tensor
    highest: Tensor


def allowed(hits: Tensor, mask: Tensor, cells: Tensor) -> Allowed:
    """All that may follow in whole lists; beside the mask it says nothing.

    Args:
        hits: Layer, row, column and logarithm of the energy ``(B, N, 4)``.
        mask: Real hits ``(B, N)``, in front.
        cells: Which cells there are ``(L, R, C)``.
    """
    layer, row, column = torch.where(mask[..., None], hits[..., :3], 0.0).long().unbind(-1)
    place = torch.arange(mask.shape[1], device=mask.device).expand_as(layer)
    before = functional.pad(layer, (1, 0), value=-1)  # (B, N + 1), the layer of the hit before
    first = layer != before[:, :-1]
    start = torch.where(first, place, 0).cummax(1).values  # of the present layer
    size = cells.sum((1, 2))
    last = before.clamp(min=0)
    held = functional.pad(place - start + 1, (1, 0))  # hits of that layer up to the one before
    number = torch.arange(len(cells), device=mask.device)
    room = torch.where(before >= 0, held < size[last], True)[..., None]
    layers = (number > before[..., None]) | ((number == before[..., None]) & room)
    layers = layers & (size > 0)
    rows = cells.sum(2)[layer] > _earlier(row, mask, start, cells.shape[1])
    columns = cells[layer, row] & (_in_rows(layer * cells.shape[1] + row, column, mask, cells) == 0)
    energy = functional.pad(hits[..., 3], (1, -1))
    highest = torch.where(first | ~mask, UNBOUNDED, energy)
    return Allowed(layers, rows, columns, highest)


def _earlier(value: Tensor, mask: Tensor, start: Tensor, count: int) -> Tensor:
    """How often each value ``(B, N)`` below ``count`` stands before a hit, from the hit ``start`` on:
    ``(B, N, count)``.
    """
    one = functional.one_hot(value, count).to(torch.int32) * mask[..., None].to(torch.int32)
    before = one.cumsum(1, dtype=torch.int32) - one
    return before - before.gather(1, start[..., None].expand(-1, -1, count))


def _in_rows(key: Tensor, column: Tensor, mask: Tensor, cells: Tensor) -> Tensor:
    """How often each column stands in earlier hits of the same row, that of a key ``(B, N)``."""
    order = key.argsort(dim=1, stable=True)
    sorted_key, place = key.gather(1, order), torch.arange(key.shape[1], device=key.device)
    first = sorted_key != functional.pad(sorted_key, (1, -1), value=-1)
    start = torch.where(first, place, 0).cummax(1).values
    count = cells.shape[2]
    found = _earlier(column.gather(1, order), mask.gather(1, order), start, count)
    return torch.empty_like(found).scatter_(1, order[..., None].expand(-1, -1, count), found)


class Free:
    """Cells of showers that are not hit yet.

    Args:
        cells: Which cells there are ``(L, R, C)``.
        n: Number of showers.
    """

    def __init__(self, cells: Tensor, n: int) -> None:
        self.cells = cells.expand(n, -1, -1, -1).clone()
        self.rows = self.cells.sum(3)
        self.layers = self.rows.sum(2)
        self.number = torch.arange(cells.shape[0], device=cells.device)

    def keep(self, rows: Tensor) -> None:
        """Go on with some of the showers."""
        self.cells, self.rows, self.layers = self.cells[rows], self.rows[rows], self.layers[rows]

    def of_layers(self, present: Tensor | None) -> Tensor:
        """Layers ``(n, L)`` with room from the present one ``(n,)`` on; of all, if there is none yet."""
        room = self.layers > 0
        return room if present is None else room & (self.number >= present[:, None])

    def of_rows(self, layer: Tensor) -> Tensor:
        """Rows ``(n, R)`` with room in layers ``(n,)``."""
        return self.rows[self._all, layer] > 0

    def of_columns(self, layer: Tensor, row: Tensor) -> Tensor:
        """Free cells ``(n, C)`` of rows ``(n,)``."""
        return self.cells[self._all, layer, row]

    def take_layer(self, layer: Tensor, real: Tensor) -> None:
        """Hits in layers ``(n,)``, where they are real ``(n,)``."""
        self.layers[self._all, layer] -= real.to(self.layers)

    def take_row(self, layer: Tensor, row: Tensor, real: Tensor) -> None:
        """Hits in rows ``(n,)``."""
        self.rows[self._all, layer, row] -= real.to(self.rows)

    def take_column(self, layer: Tensor, row: Tensor, column: Tensor, real: Tensor) -> None:
        """Hits in cells ``(n,)``."""
        self.cells[self._all, layer, row, column] &= ~real

    @property
    def _all(self) -> Tensor:
        return torch.arange(len(self.layers), device=self.layers.device)
