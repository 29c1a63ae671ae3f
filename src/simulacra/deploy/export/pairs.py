"""Inputs and outputs that go with an exported graph, and how well something else reproduces them.

The outputs are Python's. A cell above the threshold is compared relative to itself; a number of a kind that
may be negative, such as a position, relative to itself or the root mean square of its kind over the pairs,
whichever is larger. Cells that lie within a thousandth of the threshold, or fall on its other side from
there, stand apart; so do whole numbers that are rounded to the next one, of which there may be one in a
thousand.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from simulacra.core import FormatError, UserError
from simulacra.core.noise import drawn
from simulacra.deploy.export.contract import Contract
from simulacra.deploy.export.formats import Array, Run
from simulacra.deploy.export.ports import Port

EVENTS = 16
NEAR = 1e-3
MOST = 1e-4
"""Largest relative difference of nearly all numbers."""
LARGEST = 1e-2
"""Largest of all of them."""
NEARLY_ALL = 0.999
FAINT = 1e-2
"""Share of an event's largest energy: differences of fainter ones that are not zero are relative to it."""


@dataclass(frozen=True)
class Pairs:
    """Inputs and outputs, each ``(16, *shape)``, in the order of the ports.

    Args:
        inputs: What goes in.
        outputs: What Python makes of it.
        threshold: Threshold of each event's first output, in its unit, 0 where it has none: ``(16,)``.
    """

    inputs: tuple[Array, ...]
    outputs: tuple[Array, ...]
    threshold: Array

    def write(self, path: Path) -> None:
        """All numbers as float32, little-endian: inputs, outputs, thresholds, one array after the other."""
        with path.open("wb") as file:
            for array in (*self.inputs, *self.outputs, self.threshold):
                file.write(np.ascontiguousarray(array, dtype="<f4").tobytes())

    @classmethod
    def read(cls, path: Path, inputs: Sequence[Port], outputs: Sequence[Port]) -> Pairs:
        """Inverse of :meth:`write`.

        Raises:
            FormatError: If the file does not hold as many numbers.
        """
        ports = (*inputs, *outputs)
        numbers = np.fromfile(path, dtype="<f4")
        wanted = EVENTS * (1 + sum(port.width for port in ports))
        if len(numbers) != wanted:
            raise FormatError(f"{path} holds {len(numbers):,} numbers, expected {wanted:,}")
        ends = np.cumsum([EVENTS * port.width for port in ports])
        *parts, threshold = np.split(numbers.astype(np.float32), ends)
        shaped = [part.reshape(EVENTS, *p.shape) for part, p in zip(parts, ports, strict=True)]
        return cls(tuple(shaped[: len(inputs)]), tuple(shaped[len(inputs) :]), threshold)

    def calls(self, batch: int | None) -> Iterator[tuple[list[Array], list[Array]]]:
        """Inputs and outputs of single calls."""
        size = EVENTS if batch is None else batch
        for start in range(0, EVENTS, size):
            part = slice(start, start + size)
            yield [array[part] for array in self.inputs], [array[part] for array in self.outputs]


@dataclass(frozen=True)
class Agreement:
    """How well outputs agree.

    Args:
        numbers: Numbers that were compared.
        nearly_all: Relative difference that 99.9 % of them keep below.
        largest: The largest.
    """

    numbers: int
    nearly_all: float
    largest: float

    @property
    def holds(self) -> bool:
        """Whether it is good enough."""
        return self.nearly_all <= MOST and self.largest <= LARGEST

    def __str__(self) -> str:
        return f"{self.largest:.1e}, {self.nearly_all:.1e} in {NEARLY_ALL:.1%}"


def made(contract: Contract, seed: int) -> Pairs:
    """Pairs of conditions drawn as in training and of noise from a seed.

    Raises:
        UserError: If outputs are not finite.
    """
    generator = torch.Generator().manual_seed(seed)
    cond = contract.module.draw_conditions(EVENTS, generator)
    noise = {kind: drawn(kind, EVENTS, n, generator) for kind, n in contract.numbers.items()}
    inputs = contract.feed(cond, noise)
    with torch.no_grad():
        outputs = contract.run(inputs)
    for port, value in zip(contract.outputs, outputs, strict=True):
        bad = int((~torch.isfinite(value)).flatten(1).any(1).sum())
        if bad:
            raise UserError(
                f"{port.name} of {bad} of {EVENTS} test events holds values that are NaN or infinite: the "
                "model has diverged, or fails in its tails; nothing was exported"
            )
    taken, given = (tuple(v.contiguous().numpy() for v in part) for part in (inputs, outputs))
    return Pairs(taken, given, contract.threshold(cond).numpy())


def agreement(run: Run, pairs: Pairs, batch: int | None) -> Agreement:
    """Of what ``run`` makes of the pairs' inputs with their outputs."""
    found: list[list[Array]] = [run(inputs) for inputs, _ in pairs.calls(batch)]
    joined = [np.concatenate(parts) for parts in zip(*found, strict=True)]
    parts = [
        _differences(mine.reshape(theirs.shape), theirs, pairs.threshold if number == 0 else None)
        for number, (mine, theirs) in enumerate(zip(joined, pairs.outputs, strict=True))
    ]
    all_of_them, rounded = (np.concatenate(side) for side in zip(*parts, strict=True))
    if not len(all_of_them):
        return Agreement(0, 0.0, 0.0)
    return Agreement(
        len(all_of_them),
        float(np.quantile(all_of_them, NEARLY_ALL, method="higher")),
        float(all_of_them[~rounded].max(initial=0.0)),
    )


def _differences(
    found: Array, true: Array, threshold: Array | None
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Relative differences of the numbers that count, and which of them are one step of whole numbers;
    ``threshold`` ``(16,)``.
    """
    a, b = found.astype(np.float64), true.astype(np.float64)
    kept = (a != 0) | (b != 0)
    least: NDArray[np.float64] | float = 0.0
    if threshold is not None:
        line, axes = threshold.reshape(-1, *[1] * (b.ndim - 1)), tuple(range(1, b.ndim))
        kept &= (line == 0) | (a >= line) | (b >= line)
        for x in (a, b):
            kept &= ~((x > 0) & (np.abs(x - line) <= NEAR * line))
        both = (line > 0) & (a != 0) & (b != 0)
        least = np.where(both, FAINT * b.max(axis=axes, keepdims=True), 0.0)
    columns = tuple(range(b.ndim - 1))
    signed = (b < 0).any(axis=columns, keepdims=True)  # positions and the like
    typical = np.sqrt(np.square(b).mean(axis=columns, keepdims=True))
    scale = np.maximum(np.abs(b), np.where(signed, typical, least))
    with np.errstate(divide="ignore", invalid="ignore"):
        difference = np.where(a == b, 0.0, np.abs(a - b) / scale)[kept]
    whole = bool((a == np.rint(a)).all() and (b == np.rint(b)).all())
    return np.nan_to_num(difference, nan=np.inf, posinf=np.inf), whole & (np.abs(a - b) == 1)[kept]
