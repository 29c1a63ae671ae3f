"""What is searched: events in a mass window and beside it, some signal among them, and others to judge by.

The data set has a condition with the role ``mass`` and an event field with the role ``class``, whose class 1
is signal. In files that a method learns from it is 0 throughout. Background is as it is in the training part;
signal is injected: events in a random order until so many of them lie within the window, with those that lie
beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from simulacra.core import Batch, Spec, UserError
from simulacra.studies.anomaly.epochs import pooled
from simulacra.studies.bench import Bench, Trained, suffix_of
from simulacra.studies.unfolding_cases import training

FILES = ("window", "sideband", "judged", "signal", "background")


@dataclass(frozen=True)
class Problem:
    """See the module's docstring; all are files of the data set's format.

    Args:
        place: Folder of the stages.
        bounds: Ends of the window, the lower one belongs to it.
        window: Events within the window, with hidden labels.
        sideband: Events beside it, with hidden labels.
        judged: Events that nothing is learnt from, at all masses, with labels.
        signal: Signal within the window, with labels: for references alone.
        background: Background within the window, with labels.
        again: Makes the same problem on another bench, below a folder.
    """

    place: str
    bounds: tuple[float, float]
    window: Path
    sideband: Path
    judged: Path
    signal: Path
    background: Path
    again: Callable[[Bench, str], Problem] = field(compare=False)
    _trained: dict[tuple[str, ...], Trained] = field(default_factory=dict, compare=False)

    def density(self, bench: Bench, settings: Sequence[str], epochs: int, seed: int) -> Trained:
        """A generator of the events beside the window, which is trained once for all who ask for the same.

        Args:
            bench: The bench.
            settings: Overrides of its training, ``model=NAME`` among them.
            epochs: Best epochs that are kept.
            seed: Of the training.
        """
        settings = [*pooled(epochs), f"seed={seed}", *settings]
        key = tuple(settings)
        if key not in self._trained:
            files = [f"data.files.{part}=[{self.sideband}]" for part in ("train", "test")]
            given = given_fields(bench.datamodule.native_spec)
            stage = f"{self.place}/density_{len(self._trained)}"
            self._trained[key] = bench.train(stage, *files, f"model.given={given}", *settings)
        return self._trained[key]


def given_fields(spec: Spec) -> str:
    """All conditions and the hidden label, as an override takes them: nothing is to be generated of these."""
    fields = (*spec.conditions, spec.by_role("class"))
    return f"[{','.join(item.name for item in fields)}]"


def masses(spec: Spec, batch: Batch) -> Tensor:
    """Mass of each event ``(B,)``."""
    return batch.cond[spec.by_role("mass").name][:, 0]


def is_signal(spec: Spec, batch: Batch) -> Tensor:
    """Which events are signal, bool ``(B,)``."""
    return batch.event[spec.by_role("class").name][:, 0] == 1


def hidden(spec: Spec, batch: Batch) -> Batch:
    """The same events, all of them with the label of background."""
    name = spec.by_role("class").name
    return replace(batch, event={**batch.event, name: torch.zeros_like(batch.event[name])})


def within(mass: Tensor, bounds: tuple[float, float]) -> Tensor:
    """Which masses lie in the window, bool ``(B,)``."""
    return (mass >= bounds[0]) & (mass < bounds[1])


def injected(inside: Tensor, number: int, generator: torch.Generator) -> Tensor:
    """Which of some signal events are injected, int64 ``(n,)``.

    Args:
        inside: Which of them lie within the window, bool ``(N,)``.
        number: How many of these there shall be.
        generator: Source of the random order.

    Raises:
        UserError: If there are not as many.
    """
    if not 0 <= number <= int(inside.sum()):
        raise UserError(
            f"{number} signal events are to be injected within the window, and there are {int(inside.sum())}"
        )
    order = torch.randperm(len(inside), generator=generator)
    reached = inside[order].cumsum(0)
    return order[: int((reached < number).sum()) + 1] if number else order[:0]


def check(bench: Bench) -> Spec:
    """The data set, if it can be searched.

    Raises:
        UserError: If it is neither table nor cloud with a mass and a label.
    """
    spec = bench.datamodule.native_spec
    label = spec.by_role("class")
    spec.by_role("mass")
    if spec.kind not in ("table", "cloud") or label not in spec.event or label.name == "label":
        raise UserError(
            "a search needs a table or clouds whose label is an event field that is not called 'label', and "
            f"{spec.name} is none"
        )
    return spec


def search(
    bench: Bench, place: str, bounds: tuple[float, float], number: int, seed: int
) -> Problem:
    """A problem with injected signal: the training part is searched, the test part is judged.

    Args:
        bench: The bench.
        place: Folder of the stages.
        bounds: Ends of the window.
        number: Signal events within the window.
        seed: Of what is injected.
    """
    spec = check(bench)

    def work(folder: Path) -> dict[str, float]:
        events, generator = training(bench), torch.Generator().manual_seed(seed)
        signal = is_signal(spec, events)
        inside = within(masses(spec, events), bounds)
        rows = signal.nonzero()[:, 0]
        chosen = rows[injected(inside[rows], number, generator)]
        order = torch.cat([(~signal).nonzero()[:, 0], chosen])
        order = order[torch.randperm(len(order), generator=generator)]
        kept = inside[order]
        parts = {
            "window": hidden(spec, events[order[kept]]),
            "sideband": hidden(spec, events[order[~kept]]),
            "judged": bench.events("test"),
            "signal": events[signal & inside],
            "background": events[~signal & inside],
        }
        background = float((~signal & inside).sum())
        return {
            **_written(bench, folder, parts),
            "events/injected": float(number),
            "events/injected_beside": float(len(chosen) - number),
            "significance": number / background**0.5,
        }

    bench.compute(f"{place}/files", work, "search", list(bounds), number, seed, bench.origin())
    again = partial(search, bounds=bounds, number=number, seed=seed)
    return _found(bench, place, bounds, again)


def nothing(bench: Bench, place: str, bounds: tuple[float, float], seed: int) -> Problem:
    """A problem without signal: a random half of all background events is searched, the other one is judged.

    Args:
        bench: The bench.
        place: Folder of the stages.
        bounds: Ends of the window.
        seed: Of the halves.
    """
    spec = check(bench)

    def work(folder: Path) -> dict[str, float]:
        events = Batch.cat([training(bench), bench.events("test")])
        events = events[~is_signal(spec, events)]
        order = torch.randperm(len(events), generator=torch.Generator().manual_seed(seed))
        searched, judged = (events[rows] for rows in order.tensor_split(2))
        kept = within(masses(spec, searched), bounds)
        known = searched[kept]
        parts = {"window": known, "sideband": searched[~kept], "judged": judged}
        return _written(bench, folder, {**parts, "signal": known, "background": known})

    bench.compute(f"{place}/files", work, "nothing", list(bounds), seed, bench.origin())
    return _found(bench, place, bounds, partial(nothing, bounds=bounds, seed=seed))


def _written(bench: Bench, folder: Path, parts: dict[str, Batch]) -> dict[str, float]:
    """Write the files of a problem, and count their events."""
    for name, batch in parts.items():
        bench.write(folder / f"{name}{suffix_of(bench.datamodule)}", batch)
    return {f"events/{name}": float(len(batch)) for name, batch in parts.items()}


def _found(
    bench: Bench,
    place: str,
    bounds: tuple[float, float],
    again: Callable[[Bench, str], Problem],
) -> Problem:
    """The problem of a stage."""
    folder, suffix = bench.folder(f"{place}/files"), suffix_of(bench.datamodule)
    window, sideband, judged, signal, background = (folder / f"{name}{suffix}" for name in FILES)
    return Problem(place, bounds, window, sideband, judged, signal, background, again)
