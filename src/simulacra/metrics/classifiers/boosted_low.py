r"""The boosted judge on the events themselves: cells, pixels or points, reduced to at most 400 inputs.

High-level features are blind to much of what happens inside an event: showers whose voxels fluctuate by 20 %
more at the same layer energies are no different there. All inputs come from one rule, which the reference
alone fixes:

* **cells** (grids, layers, images; those below the evaluation cut are 0): the conditions, the sum :math:`E_l`
  of each layer (sensor), and the cells over the sum of their layer, each on its own where they are few. Of
  more cells the 200 with the largest mean in the reference stand on their own, and the rest of each layer is
  summed over equal runs of neighbouring cells, as many as there is room for.
* **points** (clouds): the conditions, the number of points, the sum :math:`E` of their energies (or shares
  of momentum), the energy of those that do not lead over :math:`E`, then the leading points in falling order
  of energy, :math:`e/E` and all other features of each; an absent point is an unknown number.

A table has nothing below its columns, which the high-level judge sees.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from simulacra.core import Batch, Spec
from simulacra.metrics.classifiers.boosted import judge_score
from simulacra.metrics.classifiers.inputs import stored
from simulacra.metrics.engine.score import (
    Events,
    Figure,
    Judged,
    NotRun,
    chunks,
    score_constructor,
)

MOST_INPUTS = 400
"""Inputs of cells, at most, beside the conditions."""
SINGLE = 200
"""Cells that stand on their own where there are more than all."""
POINT_INPUTS = 240
"""Features of leading points, at most."""
CHUNK_VALUES = 2**23
"""Values of events that are looked at at once for the means of cells."""

Reduction = Callable[[Batch], Tensor]
"""Inputs ``(B, F)`` of a batch."""


@score_constructor
def boosted_low_score(
    reference: Judged, generated: Judged, seed: int, *, events: int = 10_000, iterations: int = 100
) -> dict[str, Figure]:
    """``classifier/boosted_low/auc`` and the judge's version.

    Args:
        reference: True events.
        generated: Generated events.
        seed: Seed of the folds.
        events: Events of each kind at most, the first ones.
        iterations: Trees.

    Raises:
        NotRun: With fewer than 50 events in a sample, or for tables.
    """
    pair = [item.between(0, min(len(item), events)) for item in (reference, generated)]
    reduce = reduction(pair[0].observables.spec, pair[0].events)
    first, second = (stored(item.events, reduce)[torch.arange(len(item))] for item in pair)
    return judge_score("boosted_low", (first, second), (pair[0], pair[1]), seed, iterations)


def reduction(spec: Spec, reference: Events) -> Reduction:
    """The rule of the module's docstring for the events of a data set.

    Args:
        spec: The data set.
        reference: True events, from which the largest cells are chosen.

    Raises:
        NotRun: For tables.
    """
    if spec.kind == "table":
        raise NotRun("a table has nothing below its columns, which the high-level judge sees")
    if spec.kind == "cloud":
        return Leading.of(spec)
    return Cells.of(spec, reference)


def conditions(spec: Spec, batch: Batch) -> list[Tensor]:
    """What was asked for, ``(B, dim)`` each."""
    return [batch.cond[field.name].double() for field in spec.conditions]


@dataclass(frozen=True)
class Cells:
    """Cells over the sums of their layers, those of little energy summed.

    Args:
        spec: The data set.
        layer: Layer of each cell ``(V,)``.
        place: Input to which each cell is added ``(V,)``.
        width: Number of these inputs.
    """

    spec: Spec
    layer: Tensor
    place: Tensor
    width: int

    @classmethod
    def of(cls, spec: Spec, reference: Events) -> Cells:
        """Choose the cells from true events."""
        sizes = _layers(spec)
        layer = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
        room = MOST_INPUTS - len(sizes)
        if len(layer) <= room:
            return cls(spec, layer, torch.arange(len(layer)), len(layer))
        total = torch.zeros(len(layer), dtype=torch.float64)
        for batch in chunks(reference, max(1, CHUNK_VALUES // len(layer))):
            weight = batch.weight_or_one().double().cpu()
            total += weight @ _cut(spec, batch).double()
        largest = total.topk(min(SINGLE, room // 2)).indices
        runs = max(1, (room - len(largest)) // len(sizes))
        place = torch.cat([
            start * runs + torch.arange(size) * runs // size for start, size in enumerate(sizes)
        ])  # fmt: skip
        place[largest] = len(sizes) * runs + torch.arange(len(largest))
        return cls(spec, layer, place, len(sizes) * runs + len(largest))

    def __call__(self, batch: Batch) -> Tensor:
        cells = _cut(self.spec, batch).double()
        sums = cells.new_zeros(len(cells), int(self.layer[-1]) + 1)
        sums.index_add_(1, self.layer, cells)
        shares = cells / torch.where(sums > 0, sums, 1.0)[:, self.layer]
        found = cells.new_zeros(len(cells), self.width).index_add_(1, self.place, shares)
        return torch.cat([*conditions(self.spec, batch), sums, found], dim=1)


@dataclass(frozen=True)
class Leading:
    """Leading points in falling order of energy.

    Args:
        spec: The data set.
        energy: Column of the energy.
        points: Number of points that stand on their own.
    """

    spec: Spec
    energy: int
    points: int

    @classmethod
    def of(cls, spec: Spec) -> Leading:
        """As many points as there is room for; the energy is the share, else the last feature."""
        roles = [field.role for field in spec.features]
        energy = roles.index("share") if "share" in roles else len(roles) - 1
        return cls(spec, energy, min(spec.shape[0], max(1, POINT_INPUTS // len(roles))))

    def __call__(self, batch: Batch) -> Tensor:
        x = batch.x.detach().cpu().double()
        mask = torch.ones(x.shape[:2]) if batch.mask is None else batch.mask.cpu()
        energy = torch.where(mask.bool(), x[..., self.energy], 0.0)
        total = energy.sum(1, keepdim=True)
        share = energy / torch.where(total != 0, total, 1.0)
        present = torch.where(mask.bool(), energy, -torch.inf)
        order = present.sort(dim=1, descending=True, stable=True).indices[:, : self.points]
        features = x.clone()
        features[..., self.energy] = share
        features = torch.where(mask.bool()[..., None], features, torch.nan)
        leading = features.gather(1, order[..., None].expand(-1, -1, x.shape[-1])).flatten(1)
        rest = 1 - share.gather(1, order).sum(1, keepdim=True)
        count = mask.double().sum(1, keepdim=True)
        return torch.cat([*conditions(self.spec, batch), count, total, rest, leading], dim=1)


def _layers(spec: Spec) -> Sequence[int]:
    """Cells of each layer, or sensor."""
    if spec.geometry is not None:
        return spec.geometry.sizes
    return list(itertools.repeat(spec.n_voxels // spec.shape[0], spec.shape[0]))


def _cut(spec: Spec, batch: Batch) -> Tensor:
    """Cells ``(B, V)`` with those below the evaluation cut set to 0."""
    flat = batch.x.detach().flatten(1).cpu()
    return torch.where(flat < spec.cut, torch.zeros_like(flat), flat)
