"""Unfolding problems whose answer is known: what is measured, what is simulated, and what is to be found.

A method sees the detector level of ``data`` and both levels of ``simulation``. The particle level of nature
is in ``truth``, and again, in other events, in ``independent``, for the floor of every figure. The rows of
``data`` hold the particle level of other rows, so that nothing can be learnt from it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from simulacra.core import Batch, Spec, UserError
from simulacra.core.constructors import role
from simulacra.studies.bench import SPLIT, Bench, suffix_of
from simulacra.studies.files import bootstrapped


@dataclass(frozen=True)
class Problem:
    """See the module's docstring; all are files of the data set's format."""

    data: Path
    simulation: Path
    truth: Path
    independent: Path

    def bootstrapped(self, bench: Bench, place: str, replica: int) -> Problem:
        """The same problem with a bootstrap of the measured events; replica 0 is the problem itself."""
        stage = f"{place}/replica_{replica}"
        return replace(self, data=bootstrapped(bench, stage, self.data, replica))


@role
class Case(ABC):
    """A problem made of events with a known truth."""

    @abstractmethod
    def problem(self, bench: Bench, place: str) -> Problem:
        """The problem, whose files are made in a stage.

        Raises:
            UserError: If the data set cannot be unfolded.
        """


class Halves(Case):
    r"""Half of the training events is measured, and half is the simulation.

    With a strength :math:`s` the measured half has weights

    .. math:: w = \exp\left(s\,\frac{o - \bar o}{\sigma_o}\right),

    where :math:`o` is an observable at particle level: a stress test, whose answer are the weighted true
    events. With strength 0 nothing is to be found, which is the null test.

    Args:
        observable: Name of the observable; None: no weights.
        strength: ``s``.
    """

    def __init__(self, observable: str | None, strength: float) -> None:
        self.observable, self.strength = observable, strength

    def problem(self, bench: Bench, place: str) -> Problem:
        """See the base class."""
        check(bench.datamodule.native_spec)

        def work(folder: Path) -> dict[str, float]:
            events = training(bench)
            order = torch.randperm(len(events), generator=torch.Generator().manual_seed(SPLIT))
            weighted = self._weighted(bench, events)
            first, second = order.tensor_split(2)
            return written(bench, folder, weighted[first], events[second], weighted[second])

        inputs = {"observable": self.observable, "strength": self.strength}
        bench.compute(f"{place}/files", work, "halves", inputs, bench.origin())
        return found(bench, f"{place}/files")

    def _weighted(self, bench: Bench, events: Batch) -> Batch:
        if self.observable is None or not self.strength:
            return events
        values = observed(bench, events, [self.observable])[self.observable].double()
        real = mask(bench.datamodule.native_spec, events, "genuine")
        known = values[real]
        if not bool(known.isfinite().all()):
            raise UserError(f"events weighed by {self.observable} need it, and some have none")
        weight = torch.ones(len(events), dtype=torch.float64)
        weight[real] = (self.strength * (known - known.mean()) / known.std()).exp()
        weight[real] /= weight[real].mean()
        return replace(events, weight=events.weight_or_one() * weight.float())


class Samples(Case):
    """Nature is the data set of the command line, and the simulation another one of the same columns.

    Args:
        simulation: Overrides that choose it, such as ``data=zjets_21``.
    """

    def __init__(self, simulation: Sequence[str]) -> None:
        self.simulation = list(simulation)

    def problem(self, bench: Bench, place: str) -> Problem:
        """See the base class."""
        check(bench.datamodule.native_spec)
        parts = [
            bench.split(f"{place}/simulated_{part}", part, {"events": 1.0}, *self.simulation)[
                "events"
            ]
            for part in ("train", "val")
        ]

        def work(folder: Path) -> dict[str, float]:
            simulated = Batch.cat([bench.events(path) for path in parts])
            return written(bench, folder, training(bench), simulated, bench.events("test"))

        bench.compute(f"{place}/files", work, "samples", bench.origin(), *parts)
        return found(bench, f"{place}/files")


FILES = ("data", "simulation", "truth", "independent")


def check(spec: Spec) -> None:
    """Refuse what has no two levels.

    Raises:
        UserError: With the reason.
    """
    if spec.kind != "table" or not spec.conditions:
        raise UserError(
            f"unfolding needs a table whose conditions are the detector level, and {spec.name} is none"
        )


def training(bench: Bench) -> Batch:
    """All events that may be learnt from."""
    return Batch.cat([bench.events("train"), bench.events("val")])


def written(
    bench: Bench, folder: Path, nature: Batch, simulation: Batch, independent: Batch
) -> dict[str, float]:
    """Write the files of a problem, and count their events."""
    spec = bench.datamodule.native_spec
    data = nature[mask(spec, nature, "detected")]
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(SPLIT + 1))
    hidden = {name: value[order] for name, value in data.event.items()}
    parts = {
        "data": replace(data, x=data.x[order], event=hidden),
        "simulation": simulation,
        "truth": nature[mask(spec, nature, "genuine")],
        "independent": independent[mask(spec, independent, "genuine")],
    }
    for name, batch in parts.items():
        bench.write(folder / f"{name}{suffix(bench)}", batch)
    return {f"events/{name}": float(len(batch)) for name, batch in parts.items()}


def found(bench: Bench, place: str) -> Problem:
    """The problem of a stage."""
    return Problem(*(bench.folder(place) / f"{name}{suffix(bench)}" for name in FILES))


def suffix(bench: Bench) -> str:
    """Of files of the data set's format."""
    return suffix_of(bench.datamodule)


def mask(spec: Spec, batch: Batch, name: str) -> Tensor:
    """Which events have a level, bool ``(B,)``: all, where no event field has the role ``name``."""
    field = next((field for field in spec.event if field.role == name), None)
    if field is None:
        return torch.ones(len(batch), dtype=torch.bool)
    return batch.event[field.name][:, 0] > 0


def observed(bench: Bench, batch: Batch, names: Sequence[str]) -> Mapping[str, Tensor]:
    """Observables ``(B,)`` at particle level.

    Raises:
        UserError: If one is not known.
    """
    values = bench.datamodule.observables(batch)
    unknown = [name for name in names if name not in values]
    if unknown:
        raise UserError(f"there are no observables {unknown}: there are {', '.join(values)}")
    return {name: torch.as_tensor(values[name]) for name in names}


def seen(spec: Spec, batch: Batch) -> Batch:
    """The detector level in the place of the particle level.

    Raises:
        UserError: If there are not as many conditions as features.
    """
    if len(spec.conditions) != len(spec.features):
        raise UserError(
            f"{spec.name} has {len(spec.features)} features and {len(spec.conditions)} conditions, so that "
            "what measures what cannot be known"
        )
    columns = [batch.cond[field.name].float() for field in spec.conditions]
    return replace(batch, x=torch.cat(columns, 1))
