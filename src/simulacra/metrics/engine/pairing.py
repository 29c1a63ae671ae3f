"""Generated events that were asked for with the conditions of true ones, one for one.

They resemble this reference more than independent events do: their energies are its energies. Scores that
compare with independent truth compare such events with those true events that gave them no conditions.
"""

from __future__ import annotations

import torch
from torch import Tensor

from simulacra.metrics.engine.sample import CHUNK_VALUES
from simulacra.metrics.engine.score import Judged

LOOKED_AT = 64
"""Events of which the conditions are compared, of large ones fewer."""


def places(sample: Judged) -> Tensor:
    """Place of each event ``(N,)`` in its file, int64."""
    position = sample.sample.position
    return torch.arange(len(sample)) if position is None else position


def paired(reference: Judged, generated: Judged) -> bool:
    """Whether events at the same place were asked for with the same conditions, which differ from event to
    event.
    """
    spec = reference.observables.spec
    if not spec.conditions:
        return False
    most = min(LOOKED_AT, max(4, CHUNK_VALUES // spec.n_voxels))
    first, second = (places(item)[:most] for item in (reference, generated))
    both = torch.isin(first, second), torch.isin(second, first)
    index = [mask.nonzero()[:, 0] for mask in both]
    if not len(index[0]):
        return False
    conditions = [
        item.events[range(min(len(item), most))][rows].cond
        for item, rows in zip((reference, generated), index, strict=True)
    ]
    pairs = [
        (conditions[0][name].double(), conditions[1][name].double())
        for name in conditions[0].keys() & conditions[1].keys()
    ]
    equal = all(torch.allclose(first, second, rtol=1e-5) for first, second in pairs)
    return equal and any(bool((first != first[0]).any()) for first, _ in pairs)


def apart(
    reference: Judged, generated: Judged, n: int, m: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Random rows ``(n,)`` of the reference and ``(m,)`` of generated events, none at the same place.

    There must be ``n + m`` true and ``m`` generated events.
    """
    made = torch.randperm(len(generated), generator=generator)[:m]
    true = torch.randperm(len(reference), generator=generator)
    taken = torch.isin(places(reference)[true], places(generated)[made])
    return true[~taken][:n], made
