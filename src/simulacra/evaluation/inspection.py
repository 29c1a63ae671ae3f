"""What a file of events holds, from one pass over all of them: counts, ranges, and what is strange.

Memory is that of a chunk of events and of a few numbers for each. Events that a reader refuses (not finite,
negative) are counted and left out of all else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from simulacra.core import Batch, Field, FormatError, Spec, UserError
from simulacra.core.plausible import Plausibility, values_of, visible
from simulacra.core.units import factor
from simulacra.formats.base import Format
from simulacra.formats.census import Census, Tally

DISTINCT = 20
"""Values of a condition up to which they are counted as such."""


class Numbers:
    """One number of each event.

    Args:
        label: What it is.
        unit: Its unit.
    """

    def __init__(self, label: str, unit: str = "") -> None:
        self.label, self.unit = label, unit
        self.parts: list[Tensor] = []

    def add(self, values: Tensor) -> None:
        """Further events ``(n,)``."""
        self.parts.append(values.float().cpu())

    @property
    def values(self) -> Tensor:
        """Of all events ``(N,)``."""
        return torch.cat(self.parts) if self.parts else torch.zeros(0)

    def __str__(self) -> str:
        values = self.values
        if not len(values):
            return "of no event"
        low, high, mean = float(values.min()), float(values.max()), float(values.double().mean())
        unit = f" {self.unit}" if self.unit else ""
        return f"{low:.4g} to {high:.4g}{unit}, mean {mean:.4g}"


@dataclass
class Inspection:
    """What was found.

    Args:
        spec: The data set.
        n: Events in the file.
        sound: Events that a reader takes.
        fields: Ranges, or counts of classes, of conditions and event fields.
        numbers: One number of each sound event.
        strange: Events by what is strange about them; those that a reader refuses first.
        refused: Kinds of these that a reader refuses.
        weights: Smallest and largest event weight, and their sum; None where there are none.
        changed: What a reader that may clean would change of the refused ones, in one sentence.
        remarks: What is not plausible about all of them.
        positions: Sound events among the first, those that are drawn, int64.
    """

    spec: Spec
    n: int
    sound: int = 0
    fields: dict[str, str] = field(default_factory=dict)
    numbers: dict[str, Numbers] = field(default_factory=dict)
    strange: dict[str, Tally] = field(default_factory=dict)
    refused: tuple[str, ...] = ()
    weights: tuple[float, float, float] | None = None
    changed: str | None = None
    remarks: tuple[str, ...] = ()
    positions: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.long))


def inspect_file(form: Format, path: Path | str, n: int, drawn: int = 0) -> Inspection:
    """Look at every event of a file.

    Args:
        form: Its format.
        path: The file.
        n: Events in it.
        drawn: Sound events whose positions are kept, at most.

    Raises:
        FormatError: If the file is not what the format promises in another way than single events.
    """
    found, census = Inspection(form.spec, n), Census(form.spec)
    look, fields = Plausibility(form.spec), Fields(form.spec)
    places: list[Tensor] = []
    kept = 0
    for start, batch, good in sound(form, path, census):
        try:
            form.spec.validate(batch)
        except UserError as error:
            raise FormatError(f"{path}: {error}") from error
        found.sound += len(batch)
        if kept < drawn:
            places.append((good + start)[: drawn - kept])
            kept += len(places[-1])
        if len(batch):
            look.add(batch)
            fields.add(batch)
            _count(found, batch, good + start)
    found.fields = fields.texts()
    found.refused = tuple(census.tallies)
    found.strange = {**census.tallies, **found.strange}
    found.changed = census.text(n)
    found.remarks = tuple(look.remarks().values())
    found.positions = torch.cat(places) if places else found.positions
    return found


def sound(form: Format, path: Path | str, census: Census) -> Iterator[tuple[int, Batch, Tensor]]:
    """Chunks of events without those that a reader refuses: number of the first event, the events, and their
    places in the chunk, int64.
    """
    start = 0
    for batch in form.lenient(census).iterate(path):
        bad = torch.from_numpy(census.refused(start, len(batch)))
        good = (~bad).nonzero()[:, 0]
        yield start, batch if len(good) == len(batch) else batch[good], good
        start += len(batch)


@dataclass(frozen=True)
class SoundEvents:
    """Sound events of a file, for figures.

    Args:
        form: Its format.
        path: The file.
        positions: Which of its events ``(n,)``, rising.
    """

    form: Format
    path: str
    positions: Tensor

    def __len__(self) -> int:
        return len(self.positions)

    def __getitem__(self, index: range, /) -> Batch:
        chosen = self.positions[list(index)]
        first, last = int(chosen.min()), int(chosen.max())
        return self.form.lenient(Census(self.form.spec)).read(self.path, first, last + 1)[
            chosen - first
        ]


class Fields:
    """Ranges of what is known of each event, of the columns of a table, and of the features of points.

    Args:
        spec: The data set.
    """

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self.ranges: dict[str, list[float]] = {}
        self.seen: dict[str, Counter[float]] = {}
        self.several: set[str] = set()

    def add(self, batch: Batch) -> None:
        """Further events."""
        for item in self._known(batch):
            values = values_of(self.spec, item, batch)
            if not len(values):
                continue
            low, high = float(values.min()), float(values.max())
            ends = self.ranges.setdefault(item.name, [low, high])
            ends[:] = min(ends[0], low), max(ends[1], high)
            if item.name not in self.several and item not in self.spec.features:
                seen = self.seen.setdefault(item.name, Counter())
                numbers, counts = values.unique(return_counts=True)
                if item.classes is None and len(numbers) > DISTINCT:
                    self.several.add(item.name)
                    continue
                seen.update(dict(zip(numbers.tolist(), counts.tolist(), strict=True)))
                if item.classes is None and len(seen) > DISTINCT:
                    self.several.add(item.name)

    def texts(self) -> dict[str, str]:
        """One line for each field."""
        known = {item.name: item for item in self._all}
        return {name: self._text(known[name]) for name in self.ranges}

    @property
    def _all(self) -> list[Field]:
        columns = self.spec.features if self.spec.kind in ("table", "cloud") else ()
        return [*self.spec.conditions, *self.spec.event, *columns]

    def _known(self, batch: Batch) -> list[Field]:
        held = {**batch.cond, **batch.event}
        return [item for item in self._all if item.name in held or item in self.spec.features]

    def _text(self, item: Field) -> str:
        seen = self.seen.get(item.name, Counter())
        if item.classes is not None:
            return ", ".join(f"{item.classes[int(k)]} {v:,}" for k, v in sorted(seen.items()))
        low, high = self.ranges[item.name]
        unit = f" {item.unit}" if item.unit else ""
        text = f"{low:.6g}{unit}" if low == high else f"{low:.6g} to {high:.6g}{unit}"
        few = item.name not in self.several and len(seen) > 1
        return f"{text}, {len(seen)} values" if few else text


def _count(found: Inspection, batch: Batch, events: Tensor) -> None:
    """Numbers of each event, what is strange about single ones, and weights."""
    spec, numbers = found.spec, found.numbers
    if batch.weight is not None:
        weight = batch.weight.double()
        low, high, total = found.weights or (float("inf"), float("-inf"), 0.0)
        found.weights = (
            min(low, float(weight.min())),
            max(high, float(weight.max())),
            total + float(weight.sum()),
        )
    if spec.kind == "table":
        return
    hits = batch.mask.sum(1) if batch.mask is not None else (batch.x.flatten(1) > spec.cut).sum(1)
    points = spec.shape[0] if spec.kind == "cloud" else spec.n_voxels
    numbers.setdefault("hits", Numbers("hits" if spec.unit else "points")).add(hits)
    what = "room for points that is taken" if spec.kind == "cloud" else "cells that are hit"
    numbers.setdefault("share", Numbers(f"share of the {what}")).add(hits / points)
    _strange(found, "without any hit", events[hits.cpu() == 0])
    if not spec.unit:
        return
    seen = visible(spec, batch)
    numbers.setdefault("visible", Numbers("energy" if "eV" in spec.unit else "sum", spec.unit)).add(
        seen
    )
    energy = spec.roles.get("energy")
    if energy is not None and "eV" in energy.unit and "eV" in spec.unit:
        asked = values_of(spec, energy, batch) * factor(energy.unit, spec.unit)
        numbers.setdefault("response", Numbers("energy over incident energy")).add(seen / asked)
        most = 1.0 if spec.response is None else max(1.0, spec.response[1])
        times = "" if most == 1 else f"{most:g} times "
        _strange(found, f"with more than {times}their incident energy", events[seen > most * asked])


def _strange(found: Inspection, kind: str, events: Tensor) -> None:
    if len(events):
        found.strange.setdefault(kind, Tally()).add(events.tolist())
