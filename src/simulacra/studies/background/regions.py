"""Regions of events by their conditions, and what is predicted in one from others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from simulacra.core import Batch, UserError
from simulacra.core.constructors import constructor
from simulacra.studies.bench import SPLIT, Bench
from simulacra.studies.files import some

Cut = Mapping[str, Sequence[float]]
"""By name of a condition or event field the smallest and the largest value, both within."""


@constructor
@dataclass(frozen=True)
class Extrapolation:
    """What is learnt where, and predicted where.

    Args:
        control: Cuts; events that pass one of them may be learnt from.
        target: Cut of the region that is predicted.

    Raises:
        UserError: If there is no control region, or an event may be both.
    """

    control: Sequence[Cut]
    target: Cut

    def __post_init__(self) -> None:
        if not self.control or not all([*self.control, self.target]):
            raise UserError("an extrapolation needs a target and at least one control region")

    def controls(self, batch: Batch) -> Tensor:
        """Events that may be learnt from, bool ``(N,)``."""
        return torch.stack([passed(batch, cut) for cut in self.control]).any(0)

    def targets(self, batch: Batch) -> Tensor:
        """Events of the region that is predicted, bool ``(N,)``."""
        return passed(batch, self.target)


def passed(batch: Batch, cut: Cut) -> Tensor:
    """Which events pass a cut, bool ``(N,)``.

    Raises:
        UserError: If a field is not known, or a range is none.
    """
    known = {**batch.cond, **batch.event}
    result = torch.ones(len(batch), dtype=torch.bool)
    for name, ends in cut.items():
        if name not in known or len(ends) != 2 or ends[0] > ends[1]:
            raise UserError(
                f"a cut names a condition ({', '.join(known)}) and its smallest and largest value, got "
                f"{name}: {list(ends)}"
            )
        value = known[name][:, 0].double()
        result &= (value >= ends[0]) & (value <= ends[1])
    return result


@dataclass(frozen=True)
class Problem:
    """Files of an extrapolation.

    Args:
        control: Data that may be learnt from.
        truth: Half of the data in the target region; what predicts sees their conditions alone.
        independent: The other half, for floors.
        source_control: Events of the source in the control regions, or None where there is no source.
        source_target: Those in the target region, or None.
    """

    control: Path
    truth: Path
    independent: Path
    source_control: Path | None = None
    source_target: Path | None = None


def problem(
    bench: Bench, place: str, step: Extrapolation, nature: Path, source: Path | None
) -> Problem:
    """Cut files into regions; an event of the target region is not learnt from, whatever else it passes.

    Args:
        bench: The bench.
        place: Folder of the stages.
        step: What is predicted from what.
        nature: File of data.
        source: File of the source, or None.
    """
    events = bench.events(nature)
    rows = step.targets(events).nonzero()[:, 0]
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(SPLIT))
    halves = [part.sort().values for part in rows[order].tensor_split(2)]
    cut = {
        "control": (nature, step.controls(events) & ~step.targets(events)),
        "truth": (nature, halves[0]),
        "independent": (nature, halves[1]),
    }
    if source is not None:
        made = bench.events(source)
        cut["source_control"] = (source, step.controls(made) & ~step.targets(made))
        cut["source_target"] = (source, step.targets(made))
    files = {name: some(bench, f"{place}/{name}", *item) for name, item in cut.items()}
    return Problem(**files)
