"""Files that studies make of others: some rows, a bootstrap, the rows of several; and another form of all."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from simulacra.core import Batch, UserError
from simulacra.studies.bench import Bench


def some(bench: Bench, stage: str, source: Path, rows: Tensor) -> Path:
    """A file of some of the rows of another one, that file itself where all are taken as they come.

    Args:
        bench: The bench.
        stage: Name of the stage.
        source: A file of the data set's format.
        rows: Which, bool ``(N,)``, or their numbers ``(n,)`` in the order of the new file.

    Raises:
        UserError: If there would be none.
    """
    if rows.dtype == torch.bool:
        if bool(rows.all()):
            return source
        rows = rows.nonzero()[:, 0]
    if not len(rows):
        raise UserError(f"{stage}: none of the events of {source.name} is chosen")
    target = bench.folder(stage) / source.name

    def work(folder: Path) -> dict[str, float]:
        bench.write(target, bench.events(source)[rows])
        return {"events": float(len(rows))}

    bench.compute(stage, work, source, hashlib.sha256(rows.numpy().tobytes()).hexdigest())
    return target


def together(bench: Bench, stage: str, sources: Sequence[Path]) -> Path:
    """A file of the rows of several, one after the other; the file itself where there is but one."""
    first, *others = sources
    if not others:
        return first
    target = bench.folder(stage) / first.name

    def work(folder: Path) -> dict[str, float]:
        joined = Batch.cat([bench.events(path) for path in sources])
        bench.write(target, joined)
        return {"events": float(len(joined))}

    bench.compute(stage, work, *sources)
    return target


def bootstrapped(bench: Bench, stage: str, source: Path, replica: int) -> Path:
    """A file of the same events, whose weights are multiplied by Poisson(1) numbers; replica 0 is the file
    itself.

    Args:
        bench: The bench.
        stage: Name of the stage.
        source: A file of the data set's format.
        replica: Number of the bootstrap.
    """
    if replica == 0:
        return source
    target = bench.folder(stage) / source.name

    def work(folder: Path) -> dict[str, float]:
        batch = bench.events(source)
        generator = torch.Generator().manual_seed(bench.seed + replica)
        count = torch.poisson(torch.ones(len(batch)), generator=generator)
        bench.write(target, replace(batch, weight=batch.weight_or_one() * count))
        return {"events": float(count.sum())}

    bench.compute(stage, work, source, replica, bench.seed)
    return target


def seen_as(bench: Bench, changes: Sequence[str]) -> Bench:
    """The same bench, whose stages see the data set in another form, e.g. without some columns of a table;
    stages and report are shared.

    Args:
        bench: The bench.
        changes: Overrides of the data set, e.g. ``data.columns.label=null``.
    """
    other = Bench(bench.run, replace(bench.settings, changes=tuple(changes)), bench.sections)
    other.stages = bench.stages
    return other


def read_as(bench: Bench, name: str) -> Bench:
    """The same bench, whose stages see the files of the data set as another data set reads them; stages and
    report are shared.

    Args:
        bench: The bench.
        name: Name of the other data set.
    """
    other = Bench(bench.run, bench.settings.reading(name), bench.sections)
    other.stages = bench.stages
    return other
