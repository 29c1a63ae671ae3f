r"""Hits of a shower as steps of a transformer, in streams that follow each other with a delay.

A hit has a layer, a row, a column and an energy. Step ``s`` brings the layer of hit ``s - 1``, the row of the
hit before that one, the column of the one before, and the energy of the one before that. So a layer, a row, a
column and an energy can be told from one step, each knowing of its hit what stands before it in this list.

Reference: SPADE, arXiv:2606.11304.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from simulacra.core.ranges import Count

STREAMS = 4
"""Layers, rows, columns and energies."""
SHARES = 8.0
"""What logarithms of counts and energies are divided by, so that they are of order 1."""


@dataclass(frozen=True)
class Steps:
    """What some steps bring.

    Args:
        index: Layers, rows and columns ``(B, S, 3)``, int64; behind the last number of an axis stand those
            for *no hit yet* and *no hit any more*.
        energy: Energies ``(B, S)``, 0 where there is none.
        count: Hits so far whose layers are known ``(B, S)``.
        spent: Sum of the energies so far ``(B, S)``, in the unit of the smallest.
    """

    index: Tensor
    energy: Tensor
    count: Tensor
    spent: Tensor


def delayed(hits: Tensor, mask: Tensor, shape: tuple[int, int, int]) -> Steps:
    """All steps of whole showers, three more than the longest has hits.

    Args:
        hits: Layer, row, column and logarithm of the energy in units of the smallest ``(B, N, 4)``.
        mask: Real hits ``(B, N)``, in front.
        shape: Layers, rows and columns.
    """
    number = mask.sum(1, keepdim=True)  # (B, 1)
    step = torch.arange(hits.shape[1] + STREAMS - 1, device=hits.device)
    padded = torch.where(mask[..., None], hits, 0.0)
    columns = []
    for stream in range(STREAMS):
        place = step - 1 - stream
        value = padded[:, place.clamp(0, hits.shape[1] - 1), stream]
        if stream < len(shape):
            value = value.masked_fill(place < 0, shape[stream])
            columns.append(torch.where(place >= number, float(shape[stream] + 1), value).long())
        else:
            columns.append(value.masked_fill((place < 0) | (place >= number), 0.0))
    *index, energy = columns
    spent = torch.where(mask, hits[..., 3].exp(), 0.0).cumsum(1)
    spent = torch.cat([spent.new_zeros(len(spent), STREAMS), spent], dim=1)[:, : len(step)]
    return Steps(torch.stack(index, -1), energy, torch.minimum(step, number), spent)


class HitEmbedding(nn.Module):
    """Steps as vectors, each with the conditions of its shower beside it.

    Args:
        shape: Layers, rows and columns.
        context: Width of the conditions.
        width: ``W`` of a vector.
        known: Columns of it that conditions, the number of hits and their energy so far become.
    """

    def __init__(
        self, shape: tuple[int, int, int], context: int, width: Count, known: Count
    ) -> None:
        super().__init__()
        self.index = nn.ModuleList(nn.Embedding(size + 2, width - known) for size in shape)
        self.energy = nn.Linear(1, width - known)
        self.known = nn.Linear(context + 2, known)
        for table in self.index:
            nn.init.normal_(table.weight, std=STREAMS**-0.5)  # type: ignore[arg-type]

    def forward(self, steps: Steps, context: Tensor) -> Tensor:
        """Steps with energies that are standardised, given ``(B, C)``: ``(B, S, W)``."""
        hit = self.energy(steps.energy[..., None])
        for stream, table in enumerate(self.index):
            hit = hit + table(steps.index[..., stream])
        known = self.known(
            torch.cat([so_far(steps), context[:, None].expand(-1, hit.shape[1], -1)], -1)
        )
        return torch.cat([hit, known], -1)


def so_far(steps: Steps) -> Tensor:
    """Logarithms of the number of hits and of their energy ``(B, S, 2)``, of order 1."""
    return torch.stack([steps.count, steps.spent], -1).to(steps.energy).log1p() / SHARES
