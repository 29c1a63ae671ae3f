r"""Hashes of events, by which rows are known again that were learnt from.

With the float32 bits :math:`b_i` of all numbers of an event and odd multipliers :math:`m_i`,

.. math:: h = \mathrm{mix}\Big(\sum_i \mathrm{mix}(b_i)\, m_i\Big) \bmod 2^{64},

where mix is a multiplication followed by a shift (as in SplitMix64). Two different events have the same hash
with a probability near :math:`2^{-64}`. Zeros of either sign are the same number.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass

import torch
from torch import Tensor

from simulacra.core.batch import Batch

_STEP, _FIRST, _SECOND = (
    0x9E3779B97F4A7C15 - 2**64,
    0xBF58476D1CE4E5B9 - 2**64,
    0x94D049BB133111EB - 2**64,
)
"""Constants of SplitMix64, as signed numbers."""
SIGMAS, FEW = 5.0, 3
"""Hits beyond the expected ones that chance may give."""


def row_hashes(batch: Batch, leave: Collection[str] = ()) -> Tensor:
    """Hash of each event, int64 ``(B,)`` on the CPU.

    Values, conditions and event fields enter by the order of their names, weights do not.

    Args:
        batch: Events in physical units.
        leave: Names of event fields that do not enter.
    """
    fields = [value for _, value in sorted(batch.cond.items())]
    fields += [value for name, value in sorted(batch.event.items()) if name not in leave]
    parts = [batch.x, *fields]
    total, start = torch.zeros(len(batch), dtype=torch.int64), 0
    for part in parts:
        columns = part.detach().cpu().flatten(1).to(torch.float32) + 0.0  # of -0 this makes 0
        bits = columns.contiguous().view(torch.int32).long()
        places = torch.arange(start, start + bits.shape[1]) + 1
        total += (_mix(bits) * (_mix(places * _STEP) | 1)).sum(1)
        start += bits.shape[1]
    return _mix(total)


def folds_of(hashes: Tensor, folds: int) -> Tensor:
    """Fold of each event from its hash, from 0, int64 ``(B,)``."""
    return torch.remainder(hashes, folds)


@dataclass(frozen=True)
class Learnt:
    """Rows of one sample that were learnt from.

    Args:
        hashes: Their hashes, sorted, int64 ``(N,)``; of rows that are equal all of them.
    """

    hashes: Tensor

    @property
    def singles(self) -> Tensor:
        """Hashes of the rows that are there once, sorted: only these are known again."""
        values, counts = self.hashes.unique_consecutive(return_counts=True)
        return values[counts == 1]

    @property
    def chance(self) -> float:
        """Probability that a new row equals one of the singles, by Good and Turing ``2 D / N``, with the
        number ``D`` of rows that are there twice.
        """
        _, counts = self.hashes.unique_consecutive(return_counts=True)
        return 2 * int((counts == 2).sum()) / max(1, len(self.hashes))


def known(hashes: Tensor, samples: Collection[Learnt]) -> int:
    r"""How many rows were learnt from, or 0 where chance alone gives as many.

    Rows of tables of few values repeat. Of ``n`` new rows chance makes :math:`\mu = n c` known, with the
    :attr:`Learnt.chance` ``c`` of all samples; up to :math:`\mu + 5 \sqrt{\mu} + 3` are taken for that,
    and none where no row was there twice.

    Args:
        hashes: Of the rows in question, ``(n,)``.
        samples: What was learnt from.
    """
    hit = torch.zeros(len(hashes), dtype=torch.bool)
    for sample in samples:
        hit |= torch.isin(hashes, sample.singles)
    mean = len(hashes) * sum(sample.chance for sample in samples)
    allowed = mean + SIGMAS * math.sqrt(mean) + FEW if mean else 0
    found = int(hit.sum())
    return found if found > allowed else 0


def _mix(value: Tensor) -> Tensor:
    """Numbers that look random, from int64 ones."""
    value = (value ^ _right(value, 30)) * _FIRST
    value = (value ^ _right(value, 27)) * _SECOND
    return value ^ _right(value, 31)


def _right(value: Tensor, by: int) -> Tensor:
    """Shift without the sign."""
    return (value >> by) & (2 ** (64 - by) - 1)
