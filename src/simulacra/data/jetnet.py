"""JetNet: jets of one class or several, as clouds of the 30 or 150 hardest particles.

Public files have no test part: as in the library, ``numpy.random.default_rng(42)`` permutes the jets of all
chosen classes (in the order g, q, t, w, z), and 70, 15 and 15 % of them are training, validation and test
part. Where files of a test or a validation part are named, they are that part, and the other is cut as in
:mod:`simulacra.data.file_data`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from simulacra.core import Spec, UserError
from simulacra.core.ranges import Count
from simulacra.data.base import Loading, View
from simulacra.data.file_data import Cache, Files
from simulacra.data.files import Published
from simulacra.data.jets import JetDataModule
from simulacra.data.source import Part
from simulacra.formats.jetnet import CLASSES, JetNetFormat, jetnet
from simulacra.physics.jets import JetObservables

SPLIT = {"train": 0.7, "val": 0.15, "test": 0.15}
_RECORDS = {30: "zenodo:6975118", 150: "zenodo:6975117"}


class JetNet(JetDataModule):
    """Jets from public files, own files or the embedded sample; see the module's docstring.

    Args:
        particles: Particles per jet, 30 or 150.
        classes: Which of g, q, t, w, z; with several, ``jet_class`` is a condition.
        loading, root, files, cache, view: As of :class:`~simulacra.data.file_data.FileDataModule`; the
            native form is a cloud.
    """

    def __init__(
        self,
        particles: Count,
        classes: Sequence[str],
        loading: Loading,
        root: str | None = None,
        files: Files | None = None,
        cache: Cache = "auto",
        view: Callable[[Spec], View] | None = None,
    ) -> None:
        if particles not in _RECORDS:
            raise UserError(f"JetNet has 30 or 150 particles per jet, got {particles}")
        spec = jetnet(particles, sorted(classes, key="".join(CLASSES).find))
        self.classes = tuple(name for name in CLASSES if name in classes)
        self.particles = particles
        names = [f"{self._stem(name)}.hdf5" for name in self.classes]
        record = _RECORDS[particles]
        published = Published(names, [], complete=True, embedded=spec.name, record=record)
        form = JetNetFormat(spec, self.classes)
        super().__init__(form, JetObservables, published, loading, root, files, cache, view)

    @property
    def cut_off(self) -> str:
        """Which jets are the test part where there is no test file."""
        return super().cut_off if self.found.val else "15 % of the jets, as the library splits them"

    def split(self) -> dict[str, Part]:
        """Parts ``train``, ``val`` and ``test``."""
        if set(self.sources) != {"train"}:
            return super().split()
        source = self.sources["train"]
        order = self.permuted(len(source))
        first, second, last = (int(cut) for cut in np.cumsum([*SPLIT.values()]) * len(order))
        cuts = order[:first], order[first:second], order[second:last]
        return {name: Part(source, index) for name, index in zip(SPLIT, cuts, strict=True)}

    def write_toy(self, folder: Path | str, n: int, seed: int = 0) -> None:
        """Write toy files of ``n`` jets of each class under the public names, for tests."""
        for number, name in enumerate(self.classes):
            toy = JetNetFormat(jetnet(self.particles, [name]), [name])
            toy.toy(Path(folder) / f"{self._stem(name)}.hdf5", n, seed + number)

    def _stem(self, name: str) -> str:
        return f"{name}150" if self.particles > 30 else name
