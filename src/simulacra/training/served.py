"""Files that say which checkpoint serves which conditions: plain YAML, no code.

.. code-block:: yaml

    checkpoints:
      - file: low/checkpoints/best.ckpt      # beside this file, or a path
        serves: {incident_energy: [256, 4096]}
      - file: high/checkpoints/best.ckpt
        serves: {incident_energy: [4096, 4.2e6]}

A range holds its lower end, and its upper end only where no other range goes further. Together the ranges
leave no gap between the lowest and the highest end of each condition, and no two of them hold the same.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from pathlib import Path

import torch
from torch import Tensor

from simulacra.core import UserError
from simulacra.core.plain_yaml import read_yaml
from simulacra.core.strict import read as typed

SUFFIXES = (".yaml", ".yml")
MOST = 100_000
"""Boxes between all ends of all ranges, at most."""

Ranges = dict[str, tuple[float, float]]


@dataclass(frozen=True)
class _Entry:
    """One entry of a file."""

    file: str
    serves: Ranges


@dataclass(frozen=True)
class Served:
    """A checkpoint and what it serves.

    Args:
        path: The checkpoint.
        ranges: Lower and upper end by condition.
    """

    path: Path
    ranges: Ranges


def is_list(path: object) -> bool:
    """Whether a path names such a file, by how it ends."""
    return isinstance(path, (str, os.PathLike)) and Path(path).suffix.lower() in SUFFIXES


def read(path: str | Path) -> list[Served]:
    """The checkpoints of a file, none of which is opened.

    Raises:
        UserError: If there is no such file, it is not what it should be, ranges are none, leave gaps or
            overlap.
    """
    file = Path(path)
    if not file.is_file():
        raise UserError(f"there is no checkpoint {file}")
    found = typed(dict[str, list[_Entry]], read_yaml(file), str(file))
    if list(found) != ["checkpoints"] or not found["checkpoints"]:
        raise UserError(
            f"{file} needs one entry, 'checkpoints', a list of checkpoints with what each serves"
        )
    served = [Served(file.parent / entry.file, entry.serves) for entry in found["checkpoints"]]
    try:
        check(served)
    except UserError as error:
        raise UserError(f"{file}: {error}") from error
    return served


def check(served: Sequence[Served]) -> None:
    """Refuse ranges that are none, that are not of the same conditions, leave a gap or overlap.

    Raises:
        UserError: If they do.
    """
    names = list(served[0].ranges)
    for item in served:
        if sorted(item.ranges) != sorted(names) or not names:
            raise UserError(
                f"every checkpoint serves ranges of the same conditions, {served[0].path.name} those of "
                f"{', '.join(names) or 'none'}, {item.path.name} those of "
                f"{', '.join(item.ranges) or 'none'}"
            )
        for name, (low, high) in item.ranges.items():
            if not low < high:
                raise UserError(
                    f"{item.path.name} serves {name} from {low:g} to {high:g}, which is no range"
                )
    ends = {name: sorted({end for item in served for end in item.ranges[name]}) for name in names}
    if math.prod(len(values) - 1 for values in ends.values()) > MOST:
        raise UserError(f"its ranges cut the conditions into more than {MOST:,} boxes")
    for box in _boxes(ends):
        holders = [item.path.name for item in served if _holds(item.ranges, box)]
        where = " and ".join(
            f"{name} from {low:g} to {high:g}" for name, (low, high) in box.items()
        )
        if not holders:
            raise UserError(f"no checkpoint serves {where}: its ranges leave a gap")
        if len(holders) > 1:
            raise UserError(f"{' and '.join(holders)} serve {where}: its ranges overlap")


def _boxes(ends: Mapping[str, Sequence[float]]) -> Iterator[Ranges]:
    """The boxes between neighbouring ends."""
    for sides in product(*(pairwise(values) for values in ends.values())):
        yield dict(zip(ends, sides, strict=True))


def _holds(ranges: Ranges, box: Ranges) -> bool:
    return all(
        ranges[name][0] <= low and high <= ranges[name][1] for name, (low, high) in box.items()
    )


def choose(served: Sequence[Served], values: Mapping[str, Tensor]) -> Tensor:
    """Which checkpoint serves each of ``n`` events, int64 ``(n,)``, -1 for none.

    Args:
        served: Checkpoints whose ranges :func:`check` has not refused.
        values: Conditions by name, each ``(n, 1)``.
    """
    chosen = torch.full((len(next(iter(values.values()))),), -1)
    last = {name: max(item.ranges[name][1] for item in served) for name in served[0].ranges}
    for number, item in enumerate(served):
        inside = torch.ones(len(chosen), dtype=torch.bool)
        for name, (low, high) in item.ranges.items():
            value = values[name][:, 0].detach().cpu()
            ends = torch.tensor([low, high], dtype=value.dtype)
            inside &= (value >= ends[0]) & (
                (value < ends[1]) | ((value == ends[1]) & (high == last[name]))
            )
        chosen[inside] = number
    return chosen


def hull(served: Sequence[Served]) -> Ranges:
    """From the lowest to the highest end of each condition."""
    return {
        name: (
            min(item.ranges[name][0] for item in served),
            max(item.ranges[name][1] for item in served),
        )
        for name in served[0].ranges
    }
