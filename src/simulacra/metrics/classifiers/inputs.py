"""Inputs of network classifiers: functions of a judged sample, on disk where they do not fit in memory."""

from __future__ import annotations

import os
import tempfile
import weakref
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

import torch
from torch import Tensor

from simulacra.core import Batch
from simulacra.core.constructors import constructor
from simulacra.metrics.engine.columns import table
from simulacra.metrics.engine.score import Events, Judged, NotRun, chunks
from simulacra.physics.calo import CalorimeterObservables

IN_MEMORY = 2**28
"""Bytes of one sample's inputs that are kept in memory; more are kept in a temporary file."""
CHUNK_VALUES = 2**23
"""Values of events whose inputs are computed at once."""


class Inputs(Protocol):
    """Classifier inputs ``(N, F)`` that are read by index; a tensor is one."""

    def __len__(self) -> int:
        """Number of events."""
        raise NotImplementedError

    def __getitem__(self, index: Tensor, /) -> Tensor:
        """Inputs of the events ``index`` ``(n,)``, ``(n, F)``."""
        raise NotImplementedError


Source = Callable[[Judged], Inputs]
"""Which inputs of a sample a network sees."""


@constructor
def high(judged: Judged) -> Inputs:
    """The high-level inputs of the data set."""
    return judged.sample.features


@constructor
def low(judged: Judged) -> Inputs:
    """The low-level inputs of the data set; of showers log10 E_inc and voxels / E_inc."""
    return stored(judged.events, judged.observables.cells)


@constructor
def low_normed(judged: Judged) -> Inputs:
    """log10 E_inc, voxels over the energy of their layer, log10 of the layers' energies."""
    return stored(judged.events, _calorimeter(judged).normed_cells)


@constructor
def cells(judged: Judged) -> Inputs:
    """Conditions in their own units, then the voxels after the cut."""
    showers = _calorimeter(judged)

    def found(batch: Batch) -> Tensor:
        given = [batch.cond[field.name].float() for field in showers.spec.conditions]
        return torch.cat([*given, showers.cut(batch)], dim=1)

    return stored(judged.events, found)


@constructor
def observables(
    judged: Judged, names: Sequence[str], roots: Sequence[str] = (), asked: bool = False
) -> Inputs:
    """Scalar observables, undefined ones 0.

    Args:
        judged: The sample.
        names: Observables that are taken as they are.
        roots: Observables whose square root is taken: variances.
        asked: Whether what was asked for, such as the incident energy, is an input too.
    """
    parts = [table(judged.sample, names), table(judged.sample, roots).clamp(min=0).sqrt()]
    if asked and judged.sample.response is not None:
        parts.append(judged.sample.response[0][:, None])
    return torch.cat(parts, dim=1).nan_to_num(0.0, 0.0, 0.0)


def stored(events: Events, function: Callable[[Batch], Tensor]) -> Inputs:
    """Inputs of all events, float32: a tensor, or rows of a temporary file."""
    width = function(events[range(1)]).shape[1]
    parts = (
        function(batch).float().cpu() for batch in chunks(events, max(1, CHUNK_VALUES // width))
    )
    if 4 * len(events) * width > IN_MEMORY:
        return FileRows(parts, len(events), width)
    whole, start = torch.empty(len(events), width), 0
    for part in parts:
        whole[start : start + len(part)] = part
        start += len(part)
    return whole


class FileRows:
    """Rows of float32 in a temporary file that is gone with the object.

    Args:
        parts: All rows in order, ``(n, width)`` each.
        rows: Number of rows.
        width: Values per row.
    """

    def __init__(self, parts: Iterable[Tensor], rows: int, width: int) -> None:
        self.rows, self.width = rows, width
        self._file = tempfile.TemporaryFile(prefix="simulacra-inputs-")  # noqa: SIM115
        weakref.finalize(self, self._file.close)
        for part in parts:
            self._file.write(part.contiguous().numpy().tobytes())
        self._file.flush()

    def __len__(self) -> int:
        return self.rows

    def __getitem__(self, index: Tensor, /) -> Tensor:
        size = 4 * self.width
        found = bytearray(len(index) * size)
        view = memoryview(found)
        for row, position in enumerate(index.tolist()):
            os.preadv(self._file.fileno(), [view[row * size : (row + 1) * size]], position * size)
        if not found:
            return torch.empty(0, self.width)
        return torch.frombuffer(found, dtype=torch.float32).view(-1, self.width)


def _calorimeter(judged: Judged) -> CalorimeterObservables:
    if not isinstance(judged.observables, CalorimeterObservables):
        raise NotRun("these inputs need showers on the cells of a calorimeter")
    return judged.observables
