"""Events sorted by their class, and mixtures of them, in files that do not say it.

Labels choose which events go into a mixture, and which are counted right on the test part. What is trained
reads the files in a form of the data set that has no labels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from simulacra.core import Batch, UserError
from simulacra.core.constructors import constructor
from simulacra.studies.bench import Bench, suffix_of
from simulacra.studies.files import seen_as, together

KINDS = ("background", "signal")
"""In the order of their class numbers."""


@constructor
@dataclass(frozen=True)
class Labels:
    """Where a data set says what an event is.

    Args:
        field: Condition or event field of two classes, of which the second is the signal.
        blind: Overrides of the data set, without ``data.``, that leave it out, and what else is not to be
            seen.
    """

    field: str
    blind: Sequence[str]

    def of(self, batch: Batch) -> Tensor:
        """Which events are signal, bool ``(B,)``.

        Raises:
            UserError: If there is no such field, or it has other values than 0 and 1.
        """
        value = {**batch.event, **batch.cond}.get(self.field)
        if value is None or not bool(((value == 0) | (value == 1)).all()):
            raise UserError(
                f"weak supervision needs a field of two classes to judge by, {self.field!r} is none: set "
                "study.labels.field"
            )
        return value[:, 0] == 1


@dataclass(frozen=True)
class Sorted:
    """Events by class, in files without labels.

    Args:
        bench: Sees the data set without labels.
        pools: Events to learn from, by kind.
        test: Events to judge on, signal first.
        counts: Numbers of signal and background events in ``test``.
    """

    bench: Bench
    pools: Mapping[str, Path]
    test: Path
    counts: tuple[int, int]

    def of(self, kinds: Mapping[str, Path], stage: str) -> Sorted:
        """The same, judged on other events.

        Args:
            kinds: Files of the events by kind.
            stage: Name of the stage that joins them.
        """
        ordered = [kinds["signal"], kinds["background"]]
        signal, background = (len(self.bench.events(path)) for path in ordered)
        return replace(self, test=together(self.bench, stage, ordered), counts=(signal, background))

    def apart(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Values of the events of ``test`` ``(..., N)``, those of signal and those of background."""
        signal, background = values.split(list(self.counts), -1)
        return signal, background


def sort(bench: Bench, labels: Labels, stage: str) -> Sorted:
    """The training part of a data set by class, and its test part.

    Args:
        bench: Sees the labels.
        labels: Where they are.
        stage: Name of the stages.
    """
    blind = seen_as(bench, [f"data.{item}" for item in labels.blind])
    pools = by_kind(bench, blind, labels, f"{stage}/train", "train", {})
    suffix, form = suffix_of(blind.datamodule), blind.datamodule.format

    def work(folder: Path) -> dict[str, float]:
        events = bench.events("test")
        signal = labels.of(events)
        order = torch.cat([signal.nonzero()[:, 0], (~signal).nonzero()[:, 0]])
        form.write(folder / f"test{suffix}", events[order])
        return {"signal": float(signal.sum()), "background": float((~signal).sum())}

    found = bench.compute(f"{stage}/test", work, *_origin(bench, labels))
    counts = int(found["signal"]), int(found["background"])
    return Sorted(blind, pools, bench.folder(f"{stage}/test") / f"test{suffix}", counts)


def by_kind(
    bench: Bench,
    blind: Bench,
    labels: Labels,
    stage: str,
    part: str,
    chosen: Mapping[str, int],
) -> dict[str, Path]:
    """Files of the signal and the background of a part.

    Args:
        bench: Sees the labels.
        blind: Sees the data set without them.
        labels: Where they are.
        stage: Name of the stage.
        part: ``train`` or ``test``.
        chosen: Values of fields of the events that are taken; empty: all.
    """
    suffix, form = suffix_of(blind.datamodule), blind.datamodule.format
    files = {kind: bench.folder(stage) / f"{kind}{suffix}" for kind in KINDS}

    def work(folder: Path) -> dict[str, float]:
        events = bench.events(part)
        known = {**events.event, **events.cond}
        taken = torch.ones(len(events), dtype=torch.bool)
        for name, value in chosen.items():
            if name not in known:
                raise UserError(f"there is no field {name!r}: there are {', '.join(known)}")
            taken &= known[name][:, 0] == value
        number = labels.of(events).long()
        for k, kind in enumerate(KINDS):
            form.write(files[kind], _some(events, taken & (number == k), kind))
        return {kind: float((taken & (number == k)).sum()) for k, kind in enumerate(KINDS)}

    bench.compute(stage, work, part, dict(chosen), *_origin(bench, labels))
    return files


@dataclass(frozen=True)
class Mixed:
    """Mixtures, and the same events by class.

    Args:
        bags: Files of the mixtures.
        fractions: Share of signal in the weight of each.
        pure: All of their events by kind.
    """

    bags: Sequence[Path]
    fractions: Sequence[float]
    pure: Mapping[str, Path]

    @property
    def extremes(self) -> tuple[Path, Path]:
        """The mixtures with most and with least signal."""
        order = sorted(range(len(self.bags)), key=lambda k: self.fractions[k])
        return self.bags[order[-1]], self.bags[order[0]]


def mix(
    bench: Bench,
    stage: str,
    pools: Mapping[str, Path],
    fractions: Sequence[float],
    seed: int,
    size: int | None = None,
) -> Mixed:
    """Mixtures of stated fractions and equal sizes, which share no event.

    Args:
        bench: Sees the data set without labels.
        stage: Name of the stage.
        pools: Events by kind.
        fractions: Share of signal of each mixture.
        seed: Of the choice of events.
        size: Events of a mixture at most; None: as many as there are.

    Raises:
        UserError: If there are not two events of either kind.
    """
    suffix = suffix_of(bench.datamodule)
    folder = bench.folder(stage)
    bags = [folder / f"bag_{k}{suffix}" for k in range(len(fractions))]
    pure = {kind: folder / f"{kind}{suffix}" for kind in KINDS}

    def work(_: Path) -> dict[str, float]:
        events = {kind: bench.events(pools[kind]) for kind in KINDS}
        each = most(fractions, [len(events[kind]) for kind in KINDS])
        each = each if size is None else min(size, each)
        generator = torch.Generator().manual_seed(seed)
        left = {
            kind: events[kind][torch.randperm(len(events[kind]), generator=generator)]
            for kind in KINDS
        }
        start, figures = dict.fromkeys(KINDS, 0), {}
        for k, fraction in enumerate(fractions):
            signal = round(fraction * each)
            parts = {}
            for kind, count in (("signal", signal), ("background", each - signal)):
                parts[kind] = left[kind][start[kind] : start[kind] + count]
                start[kind] += count
            whole = Batch.cat(list(parts.values()))
            order = torch.randperm(len(whole), generator=generator)
            bench.write(bags[k], whole[order])
            weight = [float(parts[kind].weight_or_one().double().sum()) for kind in KINDS]
            figures[f"fraction/{k}"] = weight[1] / sum(weight)
        for kind in KINDS:
            bench.write(pure[kind], left[kind][: start[kind]])
            figures[f"events/{kind}"] = float(start[kind])
        return figures

    asked = [float(item) for item in fractions]
    found = bench.compute(stage, work, *pools.values(), asked, seed, size)
    return Mixed(bags, [found[f"fraction/{k}"] for k in range(len(fractions))], pure)


def most(fractions: Sequence[float], counts: Sequence[int]) -> int:
    """Events of each of several mixtures that can be made of so many background and signal events.

    Raises:
        UserError: If there are too few, or a fraction is none.
    """
    if not fractions or min(fractions) < 0 or max(fractions) > 1:
        raise UserError(f"fractions lie between 0 and 1, got {list(fractions)}")
    needed = [len(fractions) - sum(fractions), sum(fractions)]
    # rounding takes half an event of either kind for each mixture at most
    each = min(
        int((count - len(fractions) / 2) / need)
        for count, need in zip(counts, needed, strict=True)
        if need > 0
    )
    if each < 2:
        raise UserError(
            f"{counts[1]} signal and {counts[0]} background events are too few for mixtures of "
            f"{list(fractions)}"
        )
    return each


def _some(events: Batch, rows: Tensor, kind: str) -> Batch:
    if int(rows.sum()) < 2:
        raise UserError(f"there are {int(rows.sum())} {kind} events, mixtures need more")
    return events[rows.nonzero()[:, 0]]


def _origin(bench: Bench, labels: Labels) -> list[object]:
    """What sorted events are made from."""
    asked = bench.stages.overrides(bench.data)
    return [asked, dict(bench.datamodule.provenance), labels.field, list(labels.blind)]
