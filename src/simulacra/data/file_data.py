"""Events from files: where they are, how they are cut into parts, and through which cache they are read.

Files are one's own, the public ones or the embedded sample. Where no test files are found, a fifth of the
training events is set aside for the test, and where there are no validation files, a fraction of what is
left is kept for validation; both cuts follow a fixed permutation, so that every run and every seed sees the
same parts.
"""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Literal

import torch
from pytorch_lightning.utilities.rank_zero import rank_zero_only
from torch import Tensor

from simulacra.core import Conditions, Spec, UserError
from simulacra.data.base import EventDataModule, Loading, View
from simulacra.data.cache import file_hashes, load_dense, load_sparse
from simulacra.data.curriculum import MOST
from simulacra.data.files import Found, Published, locate
from simulacra.data.source import FieldSource, Part
from simulacra.formats.base import TIME, Format
from simulacra.physics.base import ObservableSet

log = logging.getLogger(__name__)

TEST_FRACTION = 0.2
DENSE_BYTES = 256 * 2**20
"""Size of a part in memory above which ``cache="auto"`` turns to the cache."""

Files = Mapping[str, Sequence[str] | None]
Cache = Literal["auto", "always", "never"]


class FileDataModule(EventDataModule):
    """See the module's docstring.

    Args:
        format: Reader and writer of the files; its spec is the data set.
        observables: Makes the observables from the spec.
        published: Public files, where they can be had, and the embedded sample.
        loading: Sizes of batches and their order.
        root: Folder with the public files at any depth, or None for the embedded sample.
        files: Lists ``train``, ``val`` and ``test`` of files below ``root`` (or of paths), in place of
            the public names.
        cache: Read through the sparse cache on disk: ``auto`` if a part is large, ``always`` or
            ``never``.
        view: Makes the form in which the model sees events, or None for the native form.
    """

    def __init__(
        self,
        format: Format,
        observables: Callable[[Spec], ObservableSet],
        published: Published,
        loading: Loading,
        root: str | None = None,
        files: Files | None = None,
        cache: Cache = "auto",
        view: Callable[[Spec], View] | None = None,
    ) -> None:
        super().__init__(loading, view)
        self._format, self._make_observables, self.published = format, observables, published
        self.root, self.files, self.cache = root, files, cache

    @property
    @abstractmethod
    def sample(self) -> str:
        """What the embedded sample holds and what to use in its place, to end the line that names it."""

    @abstractmethod
    def order(self, n: int) -> Tensor:
        """The fixed permutation in which ``n`` events of a part's files are cut, int64 ``(n,)``."""

    def permuted(self, n: int) -> Tensor:
        """As :meth:`order`, or by the seed of the user's choice."""
        seed = self.loading.split_seed
        return self.order(n) if seed is None else permutation(n, seed)

    def named(self, name: str) -> None:
        """The name in messages, figures and checkpoints, of one's own files for example."""
        self._format = self._format.renamed(name)

    def arranged(self, index: Tensor) -> Tensor:
        """The order in which the events ``index`` of a part that is not trained on are read."""
        return index.sort().values

    def wanted(self, part: Part) -> Part:
        """The events of a part that are used; all of them unless a data set leaves some out."""
        return part

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

    @cached_property
    def found(self) -> Found:
        """The files that are used."""
        return locate(self.native_spec.name, self.published, self.root, self.files)

    @cached_property
    def sources(self) -> dict[str, FieldSource]:
        """All events of the files of each part that has any."""
        return {part: self._source(paths) for part, paths in self.found.parts.items()}

    @property
    def provenance(self) -> dict[str, str]:
        """Files by name with their SHA-256."""
        kind = "embedded sample" if self.found.embedded else "files"
        seed = self.loading.split_seed
        split = {} if seed is None else {"split_seed": str(seed)}
        hashes = file_hashes(self.found.parts)
        times = {} if self.found.embedded else self._times()
        return {"data": self.native_spec.name, "source": kind, **split, **times, **hashes}

    def _times(self) -> dict[str, str]:
        """How long the simulation of the training files took, where each of them says so."""
        found = [self.format.simulated(path) for path in self.found.train]
        known = [item for item in found if item is not None]
        if len(known) < len(found):
            return {}
        names = (TIME, f"{TIME}_error")
        return {
            name: f"{sum(values) / len(values):.6g}"
            for name, values in zip(names, zip(*known, strict=True), strict=True)
        }

    def prepare_data(self) -> None:
        """Make the caches, once per node, before its other ranks look for them."""
        _ = self.sources

    def load(self) -> Mapping[str, Part]:
        """The parts of :meth:`split`.

        Raises:
            UserError: If one of them holds no events.
        """
        parts = self.split()
        for name, part in parts.items():
            if not len(part) and (name != "val" or self.loading.validation):
                reason = self.few()
                raise UserError(
                    f"the part {name} of {self.native_spec.name} holds no events: {reason}"
                )
        self.announce(parts)
        return parts

    def split(self) -> dict[str, Part]:
        """Parts ``train``, ``val`` and ``test``; those without files are cut off the training events."""
        test, rest = self.apart()
        rest, total, share = self.wanted(rest), self.loading.total, self.loading.validation
        if "val" not in self.sources:
            val, train = self._cut(rest if total is None else self._some(rest, total), share)
        elif total is None:
            val, train = self.wanted(self._whole("val")), rest
        else:
            source = self.sources["val"]
            count = round(share * total)
            whole = self.wanted(Part(source, self.permuted(len(source))))
            val, _ = self._cut(self._some(whole, count), 1)
            train = self._some(rest, total - count)
        return {"train": train, "val": val, "test": self.wanted(test)}

    def _some(self, part: Part, n: int) -> Part:
        """At most ``n`` events, those of the stretch that :attr:`Loading.window` names."""
        return Part(part.source, part.index.roll(-n * self.loading.window)[:n])

    def apart(self) -> tuple[Part, Part]:
        """All test events, and all others in the order in which they are cut further."""
        source = self.sources["train"]
        events = Part(source, self.permuted(len(source)))
        if "test" in self.sources:
            return self._whole("test"), events
        return self._cut(events, TEST_FRACTION)

    def few(self) -> str:
        """Why a part may hold no events."""
        return "its files hold too few"

    @rank_zero_only
    def announce(self, parts: Mapping[str, Part]) -> None:
        """Say what is not as a user of the public data would expect."""
        name = self.native_spec.name
        if self.found.embedded:
            events = f"{sum(map(len, parts.values())):,}"
            log.warning("%s: using the embedded sample of %s %s", name, events, self.sample)
        if "test" not in self.sources:
            log.info("%s has no test file: %s, is the test part", name, self.cut_off)

    @property
    def cut_off(self) -> str:
        """Which events are the test part where there is no test file."""
        return "a fifth of the events, by a fixed permutation"

    def conditions(
        self, n: int, generator: torch.Generator | None = None, part: str = "test"
    ) -> Conditions:
        """As of the base class; nothing else is read."""
        chosen = self.part(part)
        index = chosen.index[chosen.draw(n, generator)]
        return Conditions(n, {name: value[index] for name, value in fields_of(chosen).items()})

    def trained_range(self) -> dict[str, tuple[float, float]]:
        """Range of each condition and event field in the whole training part; nothing else is read."""
        part = self.part("train")
        fields = {name: value[part.index] for name, value in fields_of(part).items()}
        return {name: (float(value.min()), float(value.max())) for name, value in fields.items()}

    def energies_of(self, part: Part) -> list[Tensor]:
        """As of the base class; nothing but the energies is read."""
        name = self.native_spec.roles.get("energy")
        if name is None or name.name not in fields_of(part):
            return super().energies_of(part)
        energy = fields_of(part)[name.name][part.index, 0]
        values, group = energy.unique(return_inverse=True)
        if len(values) > MOST:
            raise UserError(
                f"data.curriculum takes in one incident energy after the other, up to {MOST}, and "
                f"{self.native_spec.name} has {len(values):,} different ones: set data.curriculum=null"
            )
        return [(group == k).nonzero()[:, 0] for k in range(len(values))]

    def write_toy(self, folder: Path | str, n: int, seed: int = 0) -> None:
        """Write toy files of ``n`` events under the public names, for tests with ``root=folder``."""
        names = [
            name.replace("*", "_toy") for name in (*self.published.train, *self.published.test)
        ]
        for number, name in enumerate(names):
            path = Path(folder) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            self.format.toy(path, n, seed + number)

    def _whole(self, name: str) -> Part:
        source = self.sources[name]
        return Part(source, self.arranged(self.permuted(len(source))))

    def _cut(self, part: Part, fraction: float) -> tuple[Part, Part]:
        """The first ``fraction`` of some events, arranged, and the rest."""
        cut = round(fraction * len(part))
        first = self.arranged(part.index[:cut])
        return Part(part.source, first), Part(part.source, part.index[cut:])

    def _source(self, paths: Sequence[Path]) -> FieldSource:
        events = sum(self.format.header(path).n for path in paths)
        large = events * self.native_spec.n_voxels * 4 > DENSE_BYTES
        if self.cache == "always" or (self.cache == "auto" and large):
            return load_sparse(self.format, paths)
        return load_dense(self.format, paths)


def fields_of(part: Part) -> dict[str, Tensor]:
    """Conditions and event fields of all events behind a part of files, each ``(N, dim)``.

    Raises:
        TypeError: If the part's source does not hold them.
    """
    source = part.source
    if not isinstance(source, FieldSource):
        raise TypeError(f"a part of files stands on a FieldSource, got {type(source).__name__}")
    return source.fields


def permutation(n: int, seed: int) -> Tensor:
    """A permutation that depends on ``n`` and ``seed`` alone, int64 ``(n,)``."""
    return torch.randperm(n, generator=torch.Generator().manual_seed(seed))
