"""Whether events can be what their data set says: wrong units, empty showers, angles that are not wrapped.

Nothing here refuses an event: a remark is one sentence for a warning, made from what the
:class:`~simulacra.core.spec.Spec` says of the data set. Rules look at one batch after another and keep a few
numbers per event, so that a file of any size can be looked through while it is read anyway. Events count
once, whatever they weigh.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Protocol

import torch
from torch import Tensor

from simulacra.core.batch import Batch
from simulacra.core.spec import Field, Spec
from simulacra.core.units import factor

EMPTY = 0.01
"""Share of showers without any energy above which they are remarked on."""
FAINT = 4.0
"""Factor above the lowest incident energy, of data that span decades, from which a shower leaves energy."""
STRAY = 0.01
"""Share of the points of a cloud outside their range above which they are remarked on."""
BEYOND = 0.1
"""How far outside its range a value is remarked on, in units of the range."""
DECADE = 2.0
"""Factor beyond its range from which a value of a quantity that spans decades is remarked on."""
BURST = 100.0
"""How many times the largest plausible response one event may have before it is remarked on."""
SHARES = (0.2, 1.5)
"""Range of the median sum of the shares of an event."""
_UNITS = ("keV", "MeV", "GeV", "TeV")


class Rule(Protocol):
    """One thing that can be strange about events."""

    def add(self, batch: Batch) -> None:
        """Look at further events."""

    def remarks(self) -> dict[str, str]:
        """What is strange about all of them, one sentence per finding by its name."""


class Plausibility:
    """Looks events through, batch by batch.

    Args:
        spec: The data set that they are said to be of.
    """

    def __init__(self, spec: Spec) -> None:
        self.rules = rules(spec)

    def add(self, batch: Batch) -> None:
        """Look at further events, which fit the spec."""
        if len(batch):
            for rule in self.rules:
                rule.add(batch)

    def remarks(self) -> dict[str, str]:
        """One sentence per finding, by its name."""
        return {name: text for rule in self.rules for name, text in rule.remarks().items()}


def remarks(spec: Spec, batches: Iterable[Batch]) -> dict[str, str]:
    """What is not plausible about events in physical units: one sentence per finding, by rule.

    Args:
        spec: The data set that they are said to be of.
        batches: Events that fit the spec, see :meth:`Spec.validate`.
    """
    look = Plausibility(spec)
    for batch in batches:
        look.add(batch)
    return look.remarks()


def rules(spec: Spec) -> list[Rule]:
    """The rules that apply to a data set."""
    found: list[Rule] = []
    fields = (*spec.conditions, *spec.event)
    energy = next((field for field in fields if field.role == "energy"), None)
    if energy is not None and spec.unit in _UNITS and energy.unit in _UNITS:
        found.append(Energies(spec, energy))
    for field in (*fields, *(spec.features if spec.kind in ("cloud", "table") else ())):
        if field.classes is None and field.low is not None and field.high is not None:
            if not field.periodic:
                found.append(Range(spec, field, field.low, field.high))
        elif field.unit in ("rad", "deg"):
            found.append(Angle(spec, field))
        if field.role == "share":
            found.append(Shares(spec, field))
    if spec.kind == "image" and spec.features and spec.features[0].high is not None:
        found.append(Ceiling(spec, spec.features[0].high))
    return found


class Energies:
    """Visible over incident energy: its median, single events far beyond, and showers that hold nothing.

    Args:
        spec: The data set.
        energy: The incident energy.
    """

    def __init__(self, spec: Spec, energy: Field) -> None:
        self.spec, self.energy = spec, energy
        self.unit = factor(energy.unit, spec.unit)
        self.above = (energy.low or 0.0) * (FAINT if energy.log else 1.0)
        self.asked: list[Tensor] = []
        self.found: list[Tensor] = []

    def add(self, batch: Batch) -> None:
        """Look at further events."""
        self.asked.append(values_of(self.spec, self.energy, batch))
        self.found.append(visible(self.spec, batch))

    def remarks(self) -> dict[str, str]:
        """What is strange about visible energies, under ``response`` and ``empty``."""
        if not self.found:
            return {}
        asked, found = torch.cat(self.asked), torch.cat(self.found)
        texts = {
            "response": self._response(found / (asked * self.unit)),
            "empty": self._empty(found[asked >= self.above]),
        }
        return {name: text for name, text in texts.items() if text is not None}

    def _response(self, ratio: Tensor) -> str | None:
        """That the median or some event is out of range, and which change of unit would mend it."""
        seen = ratio[ratio > 0]
        if self.spec.response is None or not len(seen):
            return None
        low, high = self.spec.response
        median, burst = float(seen.median()), int((ratio > BURST * high).sum())
        if low <= median <= high:
            if not burst:
                return None
            return (
                f"{burst} of {len(ratio):,} events hold more than {BURST * high:g} times their incident "
                f"energy, at most {float(ratio.max()):.3g} times"
            )
        text = (
            f"the median of visible over incident energy is {median:.3g}, {self.spec.name} expects "
            f"{low:g} to {high:g}"
        )
        own = _UNITS.index(self.spec.unit)
        fits = {
            own + step: 1000.0**step
            for step in (2, -2, 1, -1)
            if 0 <= own + step < len(_UNITS) and low <= median * 1000.0**step <= high
        }
        if not fits:
            return f"{text}: are values and incident energies what they should be?"
        place, times = fits.popitem()
        return (
            f"{text}: it would fit if all values were multiplied by {times:g}, are they in "
            f"{_UNITS[place]}, not in {self.spec.unit}?"
        )

    def _empty(self, found: Tensor) -> str | None:
        """That more than one event in a hundred is empty, of those whose energy is not among the lowest."""
        empty = int((found == 0).sum())
        if empty <= max(1.0, EMPTY * len(found)):
            return None
        return (
            f"{empty:,} of {len(found):,} showers from {self.above:g} {self.energy.unit} on are "
            "exactly zero: was a part of the file never written?"
        )


class Range:
    """A quantity far outside the range that the data set gives it.

    Args:
        spec: The data set.
        field: The quantity.
        low: Lower end.
        high: Upper end.
    """

    def __init__(self, spec: Spec, field: Field, low: float, high: float) -> None:
        self.spec, self.field, self.low, self.high = spec, field, low, high
        reach = BEYOND * (high - low)
        self.first = low / DECADE if field.log else low - reach
        self.last = high * DECADE if field.log else high + reach
        self.values = self.outside = 0
        self.least, self.most = math.inf, -math.inf

    def add(self, batch: Batch) -> None:
        """Look at further events."""
        values = values_of(self.spec, self.field, batch)
        if len(values):
            self.values += len(values)
            self.outside += int(((values < self.first) | (values > self.last)).sum())
            self.least = min(self.least, float(values.min()))
            self.most = max(self.most, float(values.max()))

    def remarks(self) -> dict[str, str]:
        """How far the values run, where that is too far."""
        allowed = STRAY * self.values if self.field in self.spec.features else 0
        if self.outside <= allowed:
            return {}
        text = (
            f"{self.outside:,} of {self.values:,} values of {self.field.name} lie far from the range of "
            f"{self.spec.name}: they run from {self.least:.4g} to {self.most:.4g}{_of(self.field)}, it "
            f"from {self.low:g} to {self.high:g}"
        )
        return {f"range/{self.field.name}": text}


class Angle:
    """An angle without a range of its own that goes beyond half a turn.

    Args:
        spec: The data set.
        field: The angle.
    """

    def __init__(self, spec: Spec, field: Field) -> None:
        self.spec, self.field = spec, field
        self.half = math.pi * factor("rad", field.unit)
        self.values = self.outside = 0
        self.most = 0.0

    def add(self, batch: Batch) -> None:
        """Look at further events."""
        size = values_of(self.spec, self.field, batch).abs()
        if len(size):
            self.values += len(size)
            self.outside += int((size > self.half * (1 + 1e-6)).sum())
            self.most = max(self.most, float(size.max()))

    def remarks(self) -> dict[str, str]:
        """That values are not wrapped."""
        if not self.outside:
            return {}
        text = (
            f"{self.outside:,} of {self.values:,} values of {self.field.name} go beyond half a turn (up "
            f"to {self.most:.4g}{_of(self.field)}): are they not wrapped?"
        )
        return {f"angle/{self.field.name}": text}


class Shares:
    """Shares of the points of an event in something of the event, which sum to about one.

    Args:
        spec: The data set, a cloud.
        field: The feature that is a share.
    """

    def __init__(self, spec: Spec, field: Field) -> None:
        self.spec, self.field = spec, field
        self.column = spec.features.index(field)
        self.found: list[Tensor] = []

    def add(self, batch: Batch) -> None:
        """Look at further events."""
        self.found.append(batch.x[..., self.column].sum(1, dtype=torch.float64).cpu())

    def remarks(self) -> dict[str, str]:
        """That the shares of an event do not sum to about one."""
        total = torch.cat(self.found) if self.found else torch.zeros(0)
        seen = total[total > 0]
        low, high = SHARES
        if not len(seen) or low <= float(seen.median()) <= high:
            return {}
        text = (
            f"the values of {self.field.name} of an event sum to {float(seen.median()):.4g} (median), "
            f"shares sum to about 1: are they absolute?"
        )
        return {f"shares/{self.field.name}": text}


class Ceiling:
    """Values above what the readout can give.

    Args:
        spec: The data set, images.
        high: The largest value.
    """

    def __init__(self, spec: Spec, high: float) -> None:
        self.spec, self.high = spec, high
        self.above, self.most = 0, 0.0

    def add(self, batch: Batch) -> None:
        """Look at further events."""
        most = float(batch.x.max())
        if most > self.high:
            self.above += int((batch.x > self.high).sum())
            self.most = max(self.most, most)

    def remarks(self) -> dict[str, str]:
        """How many values are too large."""
        if not self.above:
            return {}
        text = (
            f"{self.above:,} values lie above {self.high:g} {self.spec.unit}, where the readout of "
            f"{self.spec.name} ends (up to {self.most:.4g})"
        )
        return {"ceiling": text}


def visible(spec: Spec, batch: Batch) -> Tensor:
    """Energy in all cells or points of each event ``(B,)``, float64, without any cut, in the spec's unit."""
    values = batch.x[..., -1] if spec.kind == "cloud" else batch.x.flatten(1)
    return values.sum(1).double().cpu()


def values_of(spec: Spec, field: Field, batch: Batch) -> Tensor:
    """All values of a condition, event field or feature, float64 ``(n,)``; of points those in the mask."""
    if field in spec.features:
        values = batch.x[..., spec.features.index(field)]
        values = values if batch.mask is None else values[batch.mask]
    else:
        values = {**batch.event, **batch.cond}[field.name]
    return values.flatten().double().cpu()


def _of(field: Field) -> str:
    return f" {field.unit}" if field.unit else ""
