"""JetNet: jets of one class or several, as clouds of the 30 or 150 hardest particles.

Public files have no test part: as in the library, ``numpy.random.default_rng(42)`` permutes the jets of all
chosen classes (in the order g, q, t, w, z), and 70, 15 and 15 % of them are training, validation and test
part. Where test files are named, they are the test part, and a fraction of the training files is the
validation part.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from simulacra.core import Spec, UserError
from simulacra.data.base import View
from simulacra.data.cache import ShowerSource
from simulacra.data.files import Published
from simulacra.data.showers import ShowerDataModule
from simulacra.data.source import Part
from simulacra.formats.jetnet import CLASSES, JetNetFormat, jetnet
from simulacra.physics.jets import JetObservables

log = logging.getLogger(__name__)

SPLIT = (0.7, 0.15, 0.15)
_RECORDS = {30: "Zenodo record 6975118", 150: "Zenodo record 6975117"}


def library_split(n: int) -> tuple[torch.Tensor, ...]:
    """Numbers of the training, validation and test jets, as the library ``jetnet`` splits ``n`` jets."""
    order = fixed_order(n)
    first, second, last = (int(cut) for cut in np.cumsum(SPLIT) * n)
    return order[:first], order[first:second], order[second:last]


def fixed_order(n: int) -> torch.Tensor:
    """The same permutation in every run; also of test parts, since files hold one class after the other."""
    return torch.from_numpy(np.random.default_rng(42).permutation(n))


class JetNet(ShowerDataModule):
    """Jets from public files, own files or the embedded sample; see the module's docstring.

    Args:
        particles: Particles per jet, 30 or 150.
        classes: Which of g, q, t, w, z; with several, ``jet_class`` is a condition.
        root: Folder with the public files at any depth, or None for the embedded sample.
        files: Lists ``train`` and ``test`` of files below ``root`` (or of paths), in place of the public
            names.
        cache: Read through the sparse cache on disk: ``auto`` if a part is large, ``always`` or ``never``.
        batch_size: Jets per training batch and rank.
        eval_batch_size: Jets per batch in validation and test.
        workers: Loader processes per rank; 0 loads in the training process.
        seed: Seed of the order of jets.
        validation: Fraction of the training files that is kept for validation where test files are named.
        limit: Use at most this many training jets (None: all).
        view: Makes the form in which the model sees jets, or None for clouds.
    """

    def __init__(
        self,
        particles: int,
        classes: Sequence[str],
        root: str | None = None,
        files: Mapping[str, Sequence[str] | None] | None = None,
        cache: Literal["auto", "always", "never"] = "auto",
        batch_size: int = 256,
        eval_batch_size: int = 1024,
        workers: int = 0,
        seed: int = 0,
        validation: float = 0.1,
        limit: int | None = None,
        view: Callable[[Spec], View] | None = None,
    ) -> None:
        if particles not in _RECORDS:
            raise UserError(f"JetNet has 30 or 150 particles per jet, got {particles}")
        spec = jetnet(particles, sorted(classes, key="".join(CLASSES).find))
        self.classes = tuple(name for name in CLASSES if name in classes)
        self.particles = particles
        super().__init__(
            JetNetFormat(spec, self.classes),
            JetObservables,
            Published(
                [f"{self._stem(name)}.hdf5" for name in self.classes],
                [],
                _RECORDS[particles],
                complete=True,
            ),
            embedded=spec.name,
            root=root,
            files=files,
            cache=cache,
            batch_size=batch_size,
            eval_batch_size=eval_batch_size,
            workers=workers,
            seed=seed,
            validation=validation,
            limit=limit,
            view=view,
        )

    def load(self) -> Mapping[str, Part]:
        """Parts ``train``, ``val`` and ``test``."""
        source, test_source = self._sources()
        if test_source is None:
            train, val, test = library_split(len(source))
            parts = {
                "train": Part(source, train),
                "val": Part(source, val),
                "test": Part(source, test),
            }
        else:
            order = fixed_order(len(source))
            cut = round(self.validation * len(order))
            parts = {
                "train": Part(source, order[cut:]),
                "val": Part(source, order[:cut]),
                "test": Part(test_source, fixed_order(len(test_source))),
            }
        announce(self, parts)
        return parts

    def write_toy(self, folder: Path | str, n: int, seed: int = 0) -> None:
        """Write toy files of ``n`` jets of each class under the public names, for tests."""
        for number, name in enumerate(self.classes):
            toy = JetNetFormat(jetnet(self.particles, [name]), [name])
            toy.toy(Path(folder) / f"{self._stem(name)}.hdf5", n, seed + number)

    def _stem(self, name: str) -> str:
        return f"{name}150" if self.particles > 30 else name


def announce(data: ShowerDataModule, parts: Mapping[str, Part]) -> None:
    """Refuse empty parts, and say in one line each what is not as a user of the public data would expect."""
    name = data.native_spec.name
    empty = [part for part in ("train", "test") if not len(parts[part])]
    if empty:
        raise UserError(f"the part {empty[0]} of {name} holds no jets: its files hold too few")
    if data.found.embedded:
        events = sum(len(part) for part in parts.values())
        log.warning(
            "%s: using the embedded sample of %s Pythia jets, not the public data (%s); "
            "set data.root to use them",
            name,
            f"{events:,}",
            data.published.where,
        )
    for field in data.native_spec.conditions:
        sources = [part.source for part in parts.values() if isinstance(part.source, ShowerSource)]
        present = {
            number for source in sources for number in source.cond[field.name].flatten().tolist()
        }
        absent = [
            label for number, label in enumerate(field.classes or ()) if number not in present
        ]
        if absent:
            log.warning(
                "%s: there are no jets of class %s; leave them out with data.classes",
                name,
                ", ".join(absent),
            )
