"""The pixel detector of Belle II: events of the user, or synthetic ones where there are none.

Events stay lists of hits; a loader makes images of the sensors that the spec names, for the events
of one batch. The collaboration's events are not public, so the default is a generator calibrated to
published histograms (:mod:`simulacra.data.pxd_synthetic`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from simulacra.core import Batch, Conditions, Spec, UserError
from simulacra.data.base import EventDataModule, Loading, View
from simulacra.data.cache import file_hashes
from simulacra.data.file_data import TEST_FRACTION, Files, fields_of, permutation
from simulacra.data.pxd_files import PxdFiles, converted, locate, synthetic
from simulacra.data.pxd_synthetic import PxdBackground
from simulacra.data.source import FieldSource, Part
from simulacra.formats import pxd_hdf5
from simulacra.formats.base import FileInfo
from simulacra.formats.pxd import PxdFormat
from simulacra.formats.pxd_hits import Hits
from simulacra.physics.pxd import PxdObservables

log = logging.getLogger(__name__)

MEMORY_HITS = 2**26
"""Files with more hits than this, 0.4 GB, are read event by event."""
_SPLIT_SEED, _VALIDATION_SEED = 2022, 2023


class HitSource(FieldSource):
    """Events of one or several files of hits; small files are held in memory, as lists.

    Args:
        paths: Files of hits.
        format: Says which sensors and cells are wanted.
    """

    def __init__(self, paths: Sequence[Path], format: PxdFormat) -> None:
        self.paths, self.format = tuple(paths), format
        infos = [format.header(path) for path in self.paths]
        self.starts = np.cumsum([0, *(info.n for info in infos)])
        small = sum(info.shapes["sensor"][0] for info in infos) <= MEMORY_HITS
        parts = [format.reduce(pxd_hdf5.read(path)) for path in self.paths] if small else []
        self._memory = Hits.cat(parts) if small else None
        fields = Batch.cat([self._fields(info) for info in infos])
        self.cond, self.event, self.weight = fields.cond, fields.event, fields.weight

    def __len__(self) -> int:
        return int(self.starts[-1])

    def hits(self, index: Sequence[int]) -> Hits:
        """The events ``index``, in that order, as lists."""
        if self._memory is not None:
            return self._memory[index]
        return Hits.cat([self._event(number) for number in index])

    def take(self, index: Sequence[int]) -> Batch:
        """The events ``index``, in that order, as images ``(n, S, rows, cols)`` [ADU]."""
        chosen = torch.as_tensor(index)
        weight = None if self.weight is None else self.weight[chosen]
        cond = {name: values[chosen] for name, values in self.cond.items()}
        return Batch(self.hits(index).to_dense(self.format.sensors), cond, weight=weight)

    def _fields(self, info: FileInfo) -> Batch:
        """Events of a file without their hits."""
        cond, weight = self.format.conditions(info.path), self.format.weights(info.path)
        return Batch(torch.zeros(info.n, 0), cond, weight=weight)

    def _event(self, number: int) -> Hits:
        file = int(np.searchsorted(self.starts, number, side="right")) - 1
        local = number - int(self.starts[file])
        return self.format.reduce(pxd_hdf5.read(self.paths[file], local, local + 1))


class PxdDataModule(EventDataModule):
    """Events of the pixel detector; see the module's docstring.

    Args:
        spec: Makes the spec of the sensors with the given names.
        sensors: Names of the sensors that are shown, or None for those of the data set.
        rate: Smallest and largest rate of the background, which makes the rate of an event a condition:
            synthetic events are drawn uniformly from that range, files must hold ``rate``. None: synthetic
            events are all of rate 1, and files need not hold any.
        background: Settings of the synthetic events.
        events: Number of synthetic events of the parts ``train`` and ``test``.
        loading, view: As of the base class.
        root: Folder with the user's folders of images or files of hits, or None for synthetic
            events.
        files: Lists ``train`` and ``test`` of folders and files below ``root`` (or of paths).
    """

    def __init__(
        self,
        spec: Callable[..., Spec],
        sensors: Sequence[str] | None,
        rate: Sequence[float] | None,
        background: PxdBackground,
        events: Mapping[str, int],
        loading: Loading,
        root: str | None = None,
        files: Files | None = None,
        view: Callable[[Spec], View] | None = None,
    ) -> None:
        super().__init__(loading, view)
        if set(events) != {"train", "test"}:
            raise UserError(f"data.events has the numbers train and test, got {sorted(events)}")
        chosen = {} if sensors is None else {"sensors": sensors}
        self._format = PxdFormat(spec(rate=rate, **chosen))
        self.background = replace(
            background, sensors=tuple(sorted(self._format.sensors)), rate=rate
        )
        self.events = dict(events)
        self.root, self.files = None if root is None else Path(root), files
        self._found: PxdFiles | None = None

    @property
    def native_spec(self) -> Spec:
        """What the files promise, for the sensors that are shown."""
        return self._format.spec

    @property
    def format(self) -> PxdFormat:
        """Reader and writer of images and lists of hits."""
        return self._format

    @property
    def observables(self) -> PxdObservables:
        """Occupancies, charges and their spectrum."""
        return PxdObservables(self.native_spec)

    @property
    def found(self) -> PxdFiles:
        """Files of hits that are used; images are converted and synthetic events made where need
        be.
        """
        if self._found is None:
            own = locate(self.native_spec.name, self.root, self.files)
            self._found = self._make() if own is None else self._convert(own)
        return self._found

    def _split_seed(self, own: int) -> int:
        return own if self.loading.split_seed is None else self.loading.split_seed

    @property
    def provenance(self) -> dict[str, str]:
        """Files by name with their SHA-256; for synthetic events their settings too."""
        hashes = file_hashes({"train": self.found.train, "test": self.found.test})
        source = {"source": "files"}
        if self.found.synthetic:
            source = {"source": "synthetic stand-in", "settings": self.background.key()}
        return {"data": self.native_spec.name, **source, **hashes}

    def prepare_data(self) -> None:
        """Make what is missing in the cache, once per node, before its other ranks look for it."""
        _ = self.found

    def load(self) -> Mapping[str, Part]:
        """Parts ``train``, ``val`` and ``test``."""
        source = HitSource(self.found.train, self._format)
        if self.found.test:
            test_source = HitSource(self.found.test, self._format)
            test, train = (
                torch.arange(len(test_source)),
                permutation(len(source), self._split_seed(_VALIDATION_SEED)),
            )
        else:
            log.info(
                "%s has no test part: a fifth of the events, by a fixed permutation, is it",
                self.native_spec.name,
            )
            order = permutation(len(source), self._split_seed(_SPLIT_SEED))
            cut = round(TEST_FRACTION * len(source))
            test_source, test, train = source, order[:cut].sort().values, order[cut:]
        cut = round(self.loading.validation * len(train))
        if cut == len(train) or not len(test):
            raise UserError(
                f"{len(source)} events of {self.native_spec.name} are too few for train, val and test"
            )
        return {
            "train": Part(source, train[cut:]),
            "val": Part(source, train[:cut].sort().values),
            "test": Part(test_source, test),
        }

    def conditions(
        self, n: int, generator: torch.Generator | None = None, part: str = "test"
    ) -> Conditions:
        """Rates of ``n`` events drawn from a part; without rates nothing is asked but the number."""
        if not self.native_spec.conditions:
            return Conditions(n)
        chosen = self.part(part)
        index = chosen.index[chosen.draw(n, generator)]
        return Conditions(n, {name: v[index] for name, v in fields_of(chosen).items()})

    def trained_range(self) -> dict[str, tuple[float, float]]:
        """Range of the rate in the training part; without rates nothing is opened."""
        if not self.native_spec.conditions:
            return {}
        part = self.part("train")
        found = {name: values[part.index] for name, values in fields_of(part).items()}
        return {name: (float(values.min()), float(values.max())) for name, values in found.items()}

    def write_toy(self, folder: Path | str, n: int, seed: int = 0) -> None:
        """Write toy lists of hits, ``n`` events each, to be found with ``root=folder``."""
        for number, part in enumerate(("train", "test")):
            self._format.toy(
                Path(folder) / f"{self.native_spec.name}_{part}.hdf5", n, seed + number
            )

    def _convert(self, own: PxdFiles) -> PxdFiles:
        train, test = (
            tuple(converted(self._format, p) for p in part) for part in (own.train, own.test)
        )
        return PxdFiles(train, test)

    def _make(self) -> PxdFiles:
        made = {
            part: (synthetic(self._format, self.background, part, n),)
            for part, n in self.events.items()
        }
        self._announce()
        return PxdFiles(made["train"], made["test"], synthetic=True)

    def _announce(self) -> None:
        log.warning(
            "%s: using %s synthetic events, a stand-in calibrated to published histograms, no evidence "
            "about the detector; the collaboration's events are not public; set data.root to use them",
            self.native_spec.name,
            f"{sum(self.events.values()):,}",
        )
