"""Calorimeter showers: one data module for every set that a format can read.

The training files are cut into training and validation part, and where no test file exists a
fifth is set aside for the test; both cuts follow fixed permutations, so that every run and every
seed sees the same parts.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import torch
from pytorch_lightning.utilities.rank_zero import rank_zero_only
from torch import Tensor

from simulacra.core import Conditions, Spec, UserError
from simulacra.data.base import EventDataModule, View
from simulacra.data.cache import (
    DenseSource,
    ShowerSource,
    SparseSource,
    cache_root,
    load_dense,
    load_sparse,
)
from simulacra.data.files import Found, Published, content_hash, locate
from simulacra.data.source import Part
from simulacra.formats.base import Format
from simulacra.physics.base import ObservableSet

log = logging.getLogger(__name__)

ENERGY = "incident_energy"
TEST_FRACTION = 0.2
DENSE_BYTES = 256 * 2**20
"""Size of a part in memory above which ``cache="auto"`` turns to the cache."""
_SPLIT_SEED, _VALIDATION_SEED = 2022, 2023

Energies = Sequence[float | Sequence[float]]


class ShowerDataModule(EventDataModule):
    """Showers from public files, own files or the embedded sample; see the module's docstring.

    Args:
        format: Reader and writer of the files; its spec is the data set.
        observables: Makes the observables from the spec.
        published: Public files and where they can be had.
        embedded: Name of the sample in the package, or None where there is none.
        root: Folder with the public files at any depth, or None for the embedded sample.
        files: Lists ``train`` and ``test`` of files below ``root`` (or of paths), in place of the
            public names.
        energies: Use these incident energies only: values, or pairs (low, high) [the spec's unit];
            None for all.
        hold_out: Keep these incident energies out of train, val and test; the test file's stand in
            ``held_out``.
        cache: Read through the sparse cache on disk: ``auto`` if a part is large, ``always`` or
            ``never``.
        batch_size: Events per training batch and rank.
        eval_batch_size: Events per batch in validation and test.
        workers: Loader processes per rank; 0 loads in the training process.
        seed: Seed of the order of events.
        validation: Fraction of the training part that is kept for validation.
        limit: Use at most this many training events (None: all).
        view: Makes the form in which the model sees events, or None for the native form.
    """

    def __init__(
        self,
        format: Format,
        observables: Callable[[Spec], ObservableSet],
        published: Published,
        embedded: str | None = None,
        root: str | None = None,
        files: Mapping[str, Sequence[str] | None] | None = None,
        energies: Energies | None = None,
        hold_out: Energies | None = None,
        cache: Literal["auto", "always", "never"] = "auto",
        batch_size: int = 256,
        eval_batch_size: int = 1024,
        workers: int = 0,
        seed: int = 0,
        validation: float = 0.1,
        limit: int | None = None,
        view: Callable[[Spec], View] | None = None,
    ) -> None:
        super().__init__(batch_size, eval_batch_size, workers, seed, validation, limit, view)
        if cache not in ("auto", "always", "never"):
            raise UserError(f"data.cache is auto, always or never, got {cache!r}")
        self._format, self._make_observables, self.published = format, observables, published
        self.embedded, self.root, self.files = embedded, root, files
        self.energies, self.hold_out, self.cache = energies, hold_out, cache
        self._found: Found | None = None
        self._opened: tuple[ShowerSource, ShowerSource | None] | None = None

    @property
    def native_spec(self) -> Spec:
        """What the files promise."""
        return self._format.spec

    @property
    def format(self) -> Format:
        """Reader and writer of the public files."""
        return self._format

    @property
    def observables(self) -> ObservableSet:
        """Observables of native events."""
        return self._make_observables(self.native_spec)

    @property
    def found(self) -> Found:
        """The files that are used."""
        if self._found is None:
            self._found = locate(
                self.native_spec.name, self.published, self.root, self.files, self.embedded
            )
        return self._found

    @property
    def provenance(self) -> dict[str, str]:
        """Files by name with their SHA-256."""
        kind = "embedded sample" if self.found.embedded else "files"
        parts = {"train": self.found.train, "test": self.found.test}
        hashes = {
            f"{part}/{path.name}": content_hash(path, cache_root() / "hashes")
            for part in parts
            for path in parts[part]
        }
        return {"data": self.native_spec.name, "source": kind, **hashes}

    def prepare_data(self) -> None:
        """Make the caches, once per node, before its other ranks look for them."""
        self._sources()

    def load(self) -> Mapping[str, Part]:
        """Parts ``train``, ``val``, ``test`` and, with ``hold_out``, ``held_out``."""
        train_source, test_source = self._sources()
        if test_source is None:
            order = torch.randperm(
                len(train_source), generator=torch.Generator().manual_seed(_SPLIT_SEED)
            )
            cut = round(TEST_FRACTION * len(order))
            test, train, test_source = order[:cut].sort().values, order[cut:], train_source
        else:
            order = torch.randperm(
                len(train_source), generator=torch.Generator().manual_seed(_VALIDATION_SEED)
            )
            test, train = torch.arange(len(test_source)), order
        train, test = self._chosen(train_source, train), self._chosen(test_source, test)
        held = self._held(test_source, test)
        train, kept = train[~self._held(train_source, train)], test[~held]
        cut = round(self.validation * len(train))
        parts = {
            "train": Part(train_source, train[cut:]),
            "val": Part(train_source, train[:cut].sort().values),
            "test": Part(test_source, kept),
        }
        if self.hold_out:
            parts["held_out"] = Part(test_source, test[held])
        empty = [
            name
            for name, part in parts.items()
            if not len(part) and (name != "val" or self.validation)
        ]
        if empty:
            raise UserError(
                f"the part {empty[0]} of {self.native_spec.name} holds no events: {self._asked()}"
            )
        self._announce(sum(map(len, parts.values())))
        return parts

    def conditions(
        self, n: int, generator: torch.Generator | None = None, part: str = "test"
    ) -> Conditions:
        """As of the base class; no shower is read."""
        chosen = self.part(part)
        index = chosen.index[chosen.draw(n, generator)]
        return Conditions(n, {name: value[index] for name, value in _fields(chosen).items()})

    def trained_range(self) -> dict[str, tuple[float, float]]:
        """Range of each condition and event field in the training part; no shower is read."""
        part = self.part("train")
        fields = {name: value[part.index] for name, value in _fields(part).items()}
        return {name: (float(value.min()), float(value.max())) for name, value in fields.items()}

    def write_toy(self, folder: Path | str, n: int, seed: int = 0) -> None:
        """Write toy files of ``n`` events under the public names, for tests with ``root=folder``."""
        names = [
            name.replace("*", "_toy") for name in (*self.published.train, *self.published.test)
        ]
        for number, name in enumerate(names):
            self.format.toy(Path(folder) / name, n, seed + number)

    def _sources(self) -> tuple[ShowerSource, ShowerSource | None]:
        if self._opened is None:
            test = self._source(self.found.test) if self.found.test else None
            self._opened = self._source(self.found.train), test
        return self._opened

    def _source(self, paths: Sequence[Path]) -> DenseSource | SparseSource:
        events = sum(self.format.header(path).n for path in paths)
        large = events * self.native_spec.n_voxels * 4 > DENSE_BYTES
        if self.cache == "always" or (self.cache == "auto" and large):
            return load_sparse(self.format, paths)
        return load_dense(self.format, paths)

    def _chosen(self, source: ShowerSource, index: Tensor) -> Tensor:
        if self.energies is None:
            return index
        return index[_matches(source.cond[ENERGY][index, 0], self.energies)]

    def _held(self, source: ShowerSource, index: Tensor) -> Tensor:
        if not self.hold_out:
            return torch.zeros(len(index), dtype=torch.bool)
        return _matches(source.cond[ENERGY][index, 0], self.hold_out)

    def _asked(self) -> str:
        ranges = [
            self.format.header(path).ranges[ENERGY]
            for path in (*self.found.train, *self.found.test)
        ]
        low, high = min(low for low, _ in ranges), max(high for _, high in ranges)
        unit = self.native_spec.field(ENERGY).unit
        asked = f"energies={self.energies}, hold_out={self.hold_out}"
        return f"the files run from {low:g} to {high:g} {unit}, {asked}"

    @rank_zero_only
    def _announce(self, events: int) -> None:
        name = self.native_spec.name
        if self.found.embedded:
            log.warning(
                "%s: using the embedded sample of %s Geant4 showers in a simplified detector; the "
                "full data are published (%s): put them into the folder data.root",
                name,
                f"{events:,}",
                self.published.where,
            )
        if not self.found.test:
            log.info(
                "%s has no test file: a fifth of the events, by a fixed permutation, is the test part",
                name,
            )


def _fields(part: Part) -> dict[str, Tensor]:
    source = part.source
    if not isinstance(source, ShowerSource):
        raise TypeError(f"a part of showers stands on a ShowerSource, got {type(source).__name__}")
    return {**source.cond, **source.event}


def _matches(energy: Tensor, wanted: Energies) -> Tensor:
    """Events ``(B,)`` at one of the values or within one of the (low, high) pairs."""
    chosen = torch.zeros(len(energy), dtype=torch.bool)
    for item in wanted:
        if isinstance(item, Sequence):
            low, high = item
        else:
            low, high = item * (1 - 1e-4), item * (1 + 1e-4)
        chosen |= (energy >= low) & (energy <= high)
    return chosen
