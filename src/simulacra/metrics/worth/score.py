"""``equivalent_n`` as a score of an evaluation; see :mod:`simulacra.metrics.worth.equivalent`."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import torch
from torch import Tensor

from simulacra.core import UserError
from simulacra.metrics.engine.columns import table
from simulacra.metrics.engine.events import conditions
from simulacra.metrics.engine.pairing import paired, places
from simulacra.metrics.engine.sample import CHUNK_VALUES
from simulacra.metrics.engine.score import Figure, Judged, NotRun, score_constructor
from simulacra.metrics.engine.weighted import Rows
from simulacra.metrics.worth.equivalent import Fold, Worth, equivalent_n, varying

KEY = "equivalent_n"
BOUNDS = ("at_least", "at_most")


@score_constructor
def equivalent_n_score(
    reference: Judged, generated: Judged, seed: int, *, energies: Sequence[float] | None = None
) -> dict[str, Figure]:
    """``equivalent_n`` of all observables and ``equivalent_n/<category>``, or their bounds ``…/at_least`` and
    ``…/at_most``; ``…/ks`` is the distance itself.

    Observables are those of one value per event; their categories are those of their axes.

    Args:
        reference: True events.
        generated: Generated events.
        seed: Seed of samples and bootstrap.
        energies: Lowest and highest incident energy [unit of the condition] of the events that are compared;
            None: all.

    Raises:
        NotRun: With fewer than 200 true events, or without an incident energy where one is asked for.
    """
    true, made, truth = reference, generated, reference.truth
    if energies is not None:
        true, made = (within(item, energies) for item in (true, made))
        truth = None if truth is None else within(truth, energies)
    names = [name for name, column in true.sample.columns.items() if column.scalar]
    rows = _rows(true, names)
    kept = varying(rows.values) if len(rows) else []
    if not kept:
        raise NotRun("no observable of one value per event varies in the truth")
    index = torch.tensor(kept)
    pair = rows.columns(index), _rows(made, names).columns(index)
    other = None if truth is None else _rows(truth, names).columns(index)
    used = [names[i] for i in kept]
    groups = categories(
        used, {name: axis.category for name, axis in true.observables.axes().items()}
    )
    folds = _halves(true, made, pair) if paired(true, made) else [pair]
    found = equivalent_n(folds, other, groups, seed)
    left_out = [name for name in names if name not in used]
    figures: dict[str, Figure] = {}
    for name, worth in found.items():
        note = _listed(used, groups, left_out) if name == "all" else None
        figures |= _figures(KEY if name == "all" else f"{KEY}/{name}", worth, note)
    return figures


def categories(names: Sequence[str], kinds: dict[str, str]) -> dict[str, list[int]]:
    """Positions of all observables, and of those of each category."""
    found: dict[str, list[int]] = {"all": list(range(len(names)))}
    for position, name in enumerate(names):
        if kinds.get(name):
            found.setdefault(kinds[name], []).append(position)
    return found


def within(sample: Judged, energies: Sequence[float]) -> Judged:
    """The events whose incident energy lies in a range.

    Raises:
        NotRun: If they have none, or none of them lies there.
    """
    try:
        field = sample.observables.spec.by_role("energy")
    except UserError as error:
        raise NotRun(f"no events at one incident energy: {error}") from error
    low, high = energies
    chunk = max(1, CHUNK_VALUES // sample.observables.spec.n_voxels)
    asked = conditions(sample.events, chunk).values[field.name][:, 0]
    index = ((asked >= low) & (asked <= high)).nonzero()[:, 0]
    if not len(index):
        raise NotRun(f"no events from {low:g} to {high:g} {field.unit}")
    return sample.take(index)


def compressed(names: Sequence[str]) -> str:
    """Names, of those that differ in a last number one: ``energy_layer_{0,1,2}``."""
    families: dict[str, list[str]] = {}
    for name in names:
        found = re.fullmatch(r"(.*_)(\d+)", name)
        families.setdefault(found[1] if found else name, []).append(found[2] if found else "")
    parts = [
        stem + (numbers[0] if len(numbers) == 1 else "{" + ",".join(numbers) + "}")
        for stem, numbers in families.items()
    ]
    return ", ".join(parts)


def _listed(names: Sequence[str], groups: dict[str, list[int]], left_out: Sequence[str]) -> str:
    """What the figures were made of, in words."""
    parts = [
        f"{group}: {compressed([names[i] for i in members])}"
        for group, members in groups.items()
        if group != "all"
    ]
    known = {i for group, members in groups.items() if group != "all" for i in members}
    rest = [name for position, name in enumerate(names) if position not in known]
    parts += [f"in none: {compressed(rest)}"] if rest and parts else []
    parts += [compressed(rest)] if rest and not parts else []
    parts += [f"constant and left out: {compressed(left_out)}"] if left_out else []
    return f"true events that come as close in {len(names)} observables ({'; '.join(parts)})"


def _figures(key: str, worth: Worth, note: str | None) -> dict[str, Figure]:
    """A number or a bound, and the distance."""
    details = {"ks": worth.distance}
    if not math.isnan(worth.value):
        figure = Figure(worth.value, worth.error, floor=worth.perfect, note=note, details=details)
        return {key: figure}
    end, bound = BOUNDS[0], worth.at_least
    text = f"better than the {bound:,.0f} true events that there are to compare with"
    if math.isnan(bound):
        end, bound = BOUNDS[1], worth.at_most
        text = f"worse than {bound:,.0f} true events"
    said = text if note is None else f"{text}; {note}"
    return {f"{key}/{end}": Figure(bound, floor=worth.perfect, note=said, details=details)}


def _rows(sample: Judged, names: Sequence[str]) -> Rows:
    return Rows(table(sample.sample, names), sample.weight)


def _halves(true: Judged, made: Judged, pair: Fold) -> list[Fold]:
    """True events of even and generated ones of odd places, and the reverse."""
    sides: list[Tensor] = [places(item) % 2 for item in (true, made)]
    return [
        (
            pair[0][(sides[0] == side).nonzero()[:, 0]],
            pair[1][(sides[1] != side).nonzero()[:, 0]],
        )
        for side in (0, 1)
    ]
