"""Data modules: a spec before any file is opened, then loaders of whole batches in physical
units.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from simulacra.core import Batch, Conditions, Spec, UserError
from simulacra.core.constructors import constructor, role
from simulacra.core.plausible import remarks
from simulacra.core.ranges import Count, Dropout, Interval, Whole
from simulacra.data.curriculum import Curriculum, CurriculumSampler
from simulacra.data.sampler import EpochLoader, EpochSampler
from simulacra.data.source import FixedBatches, Part
from simulacra.formats.base import Format
from simulacra.physics.base import ObservableSet

log = logging.getLogger(__name__)

FIT_EVENTS = 50_000
"""Events from which a transform takes its statistics, at most."""
REMEMBERED = 4096
"""Training events whose conditions a checkpoint remembers, at most."""
LOOKED_EVENTS, LOOKED_VALUES = 2_000, 2**24
"""Training events, and values of them, that are looked through for what is not plausible, at most."""


@constructor
@dataclass(frozen=True)
class Loading:
    """How many events are loaded, in which order and by how many processes.

    Args:
        batch_size: Events per training batch and rank.
        eval_batch_size: Events per batch in validation and test.
        workers: Loader processes per rank; 0 loads in the training process.
        seed: Seed of the order of events.
        validation: Fraction of the training part that is kept for validation where no files are.
        limit: Use at most this many training events (None: all), for learning curves and tests.
        total: Use at most this many events for training and validation together, the fraction ``validation``
            of them for validation (None: all), as if there were no others.
        window: Which of the stretches of ``total`` events is used, from 0; behind the last event come the
            first again.
        curriculum: How training takes in one incident energy after the other (None: all at once).
        passes: Shuffled passes through the training events that make up an epoch, for few events; with a
            curriculum or shares of a mixture there is one.
        split_seed: Seed of the permutation by which parts without files are cut off; None: the data set's
            own, the same for everybody.

    Raises:
        UserError: If a batch holds no event, or the fraction is outside [0, 1).
    """

    batch_size: Count
    eval_batch_size: Count = 1024
    workers: Whole = 0
    seed: Whole = 0
    validation: Dropout = 0.1
    limit: Count | None = None
    split_seed: Whole | None = None
    total: Annotated[int, Interval(2)] | None = None
    window: Whole = 0
    curriculum: Curriculum | None = None
    passes: Count = 1

    def __post_init__(self) -> None:
        if self.batch_size < 1 or self.eval_batch_size < 1:
            raise UserError(
                "a batch needs at least one event, got "
                f"batch_size={self.batch_size}, {self.eval_batch_size}"
            )
        if not 0 <= self.validation < 1:
            raise UserError(f"the validation fraction lies in [0, 1), got {self.validation}")
        if self.window and self.total is None:
            raise UserError(
                f"window={self.window} is the number of a stretch of total events: give data.total, too"
            )


@role
class EventDataModule(pl.LightningDataModule, ABC):
    """Events of one data set.

    A subclass gives ``native_spec`` and ``format`` without opening a file, and ``load`` that opens
    what is needed.

    Args:
        loading: Sizes of batches and their order; a configuration names its fields as keys of the
            data set (``data.batch_size``, ``data.limit``, ...).
        view: Makes the form in which the model sees events from the native spec, or None for the
            native form.
    """

    def __init__(self, loading: Loading, view: Callable[[Spec], View] | None = None) -> None:
        super().__init__()
        self.loading, self._make_view = loading, view
        self._parts: dict[str, Part] = {}

    @property
    @abstractmethod
    def native_spec(self) -> Spec:
        """What the files promise."""

    @property
    @abstractmethod
    def format(self) -> Format:
        """Reader and writer of the public files."""

    @property
    @abstractmethod
    def observables(self) -> ObservableSet:
        """Observables of native events."""

    @abstractmethod
    def load(self) -> Mapping[str, Part]:
        """Open the files: the parts ``train``, ``val`` and ``test`` in native form."""

    @abstractmethod
    def write_toy(self, folder: Path | str, n: int, seed: int = 0) -> None:
        """Write toy files of ``n`` events each under the public names, to be found with ``root=folder``."""

    @property
    @abstractmethod
    def provenance(self) -> dict[str, str]:
        """Where the loaded events come from: files with their hashes, or the embedded sample."""

    @cached_property
    def view(self) -> View | None:
        """How events are shown to the model, or None for the native form."""
        return None if self._make_view is None else self._make_view(self.native_spec)

    @property
    def spec(self) -> Spec:
        """What the model sees."""
        return self.native_spec if self.view is None else self.view.spec

    @property
    def judged(self) -> ObservableSet:
        """Observables of :meth:`native` events, those by which a model is judged."""
        return self.observables if self.view is None else self.view.observables(self.observables)

    def native(self, batch: Batch) -> Batch:
        """Events as they are judged and written: through the view's inverse where it has one."""
        return batch if self.view is None else self.view.inverse(batch)

    def shown(self, native: Batch) -> Batch:
        """Native events as the model sees them."""
        return native if self.view is None else self.view.forward(native)

    def setup(self, stage: str | None = None) -> None:
        """Open the files once.

        Raises:
            UserError: If the weights of a part's events sum to nothing.
        """
        if not self._parts:
            parts = dict(self.load())
            for name, part in parts.items():
                weight = part.weight
                if weight is not None and len(weight) and float(weight.double().sum()) <= 0:
                    raise UserError(
                        f"the weights of the part {name} of {self.native_spec.name} sum to "
                        f"{float(weight.double().sum()):g}, they need a sum above 0"
                    )
            limit = self.loading.limit
            if limit is not None:
                train = parts["train"]
                parts["train"] = train.some(torch.arange(min(limit, len(train))))
            view = self.view
            self._parts = (
                parts if view is None else {k: ViewedPart(p, view) for k, p in parts.items()}
            )

    def part(self, name: str) -> Part:
        """``train``, ``val`` or ``test`` events as the model sees them.

        Raises:
            UserError: If there is no such part.
        """
        self.setup()
        if name not in self._parts:
            known = ", ".join(self._parts)
            raise UserError(f"{self.native_spec.name} has the parts {known}, and no {name!r}")
        return self._parts[name]

    def sizes(self) -> dict[str, int]:
        """Number of events per part."""
        return {name: len(self.part(name)) for name in ("train", "val", "test")}

    def batch(self, n: int, part: str = "train") -> Batch:
        """The first ``n`` events of a part (fewer if it has fewer)."""
        chosen = self.part(part)
        return chosen[range(min(n, len(chosen)))]

    def remarks(self) -> dict[str, str]:
        """What is not plausible about the first training events, one sentence per finding."""
        part = self.part("train")
        n = min(len(part), LOOKED_EVENTS, max(1, LOOKED_VALUES // self.native_spec.n_voxels))
        native = Part(part.source, part.index)  # without the view
        return remarks(self.native_spec, [native[range(n)]])

    def fit_batches(self) -> FixedBatches:
        """Training events for the statistics of transforms, the same on every rank."""
        return FixedBatches(self.part("train"), self.loading.eval_batch_size, FIT_EVENTS)

    def conditions(
        self, n: int, generator: torch.Generator | None = None, part: str = "test"
    ) -> Conditions:
        """``n`` conditions, with the event fields that go with them, drawn from a part with
        replacement, in proportion to the event weights.
        """
        chosen = self.part(part)
        batch = chosen[chosen.draw(n, generator).tolist()]
        return batch.conditions([*batch.cond, *batch.event])

    def trained_conditions(self, names: Sequence[str]) -> Conditions | None:
        """Conditions and event fields of at most :data:`REMEMBERED` training events, event by event.

        Returns:
            The fields ``names``; None where the events lack one, or cannot be drawn in proportion to their
            weights.
        """
        part = self.part("train")
        if part.weight is not None and bool((part.weight < 0).any()):
            return None
        n = min(len(part), REMEMBERED)
        found = self.conditions(n, torch.Generator().manual_seed(0), "train")
        if not all(name in found.values for name in names):
            return None
        return Conditions(n, {name: found.values[name] for name in names})

    def named(self, name: str) -> None:
        """Take the name that the configuration gives to the data set; one of several sets keeps theirs."""

    def trained_range(self) -> dict[str, tuple[float, float]]:
        """Smallest and largest value of each condition and event field in the training part."""
        ranges: dict[str, tuple[float, float]] = {}
        for batch in self.fit_batches():
            for name, value in (*batch.cond.items(), *batch.event.items()):
                low, high = ranges.get(name, (float("inf"), float("-inf")))
                ranges[name] = (min(low, float(value.min())), max(high, float(value.max())))
        return ranges

    def train_dataloader(self) -> EpochLoader:
        """Shuffled training batches of this rank."""
        return self._loader("train", self.loading.batch_size, train=True)

    def val_dataloader(self) -> EpochLoader:
        """Validation batches; every event once over all ranks."""
        return self._loader("val", self.loading.eval_batch_size, train=False)

    def test_dataloader(self) -> EpochLoader:
        """Test batches; every event once over all ranks."""
        return self._loader("test", self.loading.eval_batch_size, train=False)

    def sampler(
        self, part: Part, batch_size: int, train: bool, rank: int = 0, world: int = 1
    ) -> EpochSampler:
        """Which events of a part make up each batch of a rank."""
        if train and self.loading.curriculum is not None:
            groups, curriculum = self.energies_of(part), self.loading.curriculum
            log.info(
                "training takes in %d incident energies, all of them from batch %d on",
                len(groups),
                curriculum.length(len(groups)),
            )
            return CurriculumSampler(groups, curriculum, batch_size, self.loading.seed, rank, world)
        return EpochSampler(
            len(part), batch_size, self.loading.seed, train, rank, world, self.loading.passes
        )

    def energies_of(self, part: Part) -> list[Tensor]:
        """Positions of the events of each incident energy, from the lowest to the highest, int64.

        Raises:
            UserError: If the events are not known by incident energies, or by more than a curriculum can go
                through.
        """
        raise UserError(
            f"data.curriculum needs incident energies of files, {self.spec.name} has none"
        )

    def _loader(self, name: str, batch_size: int, train: bool) -> EpochLoader:
        part, seed, workers = self.part(name), self.loading.seed, self.loading.workers
        rank, world = (
            (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
        )
        sampler = self.sampler(part, batch_size, train, rank, world)
        options: dict[str, Any] = {"persistent_workers": True} if workers else {}
        return EpochLoader(
            part,
            sampler=sampler,
            batch_size=None,
            num_workers=workers,
            pin_memory=torch.cuda.is_available(),
            generator=torch.Generator().manual_seed(seed),
            **options,
        )


@role
class View(ABC):
    """Another form of the same events, e.g. a voxel grid as a cloud of points."""

    @property
    @abstractmethod
    def spec(self) -> Spec:
        """What the viewed events look like."""

    @abstractmethod
    def forward(self, batch: Batch) -> Batch:
        """Native events to viewed ones."""

    def inverse(self, batch: Batch) -> Batch:
        """Viewed events to those that are judged; the identity for a view that has no way back."""
        return batch

    def observables(self, native: ObservableSet) -> ObservableSet:
        """Observables of what :meth:`inverse` returns."""
        return native


class ViewedPart(Part):
    """A part whose batches pass through a view."""

    def __init__(self, part: Part, view: View) -> None:
        super().__init__(part.source, part.index)
        self.view = view

    def __getitem__(self, positions: Sequence[int]) -> Batch:
        return self.view.forward(super().__getitem__(positions))

    def some(self, positions: Tensor) -> ViewedPart:
        return ViewedPart(super().some(positions), self.view)
