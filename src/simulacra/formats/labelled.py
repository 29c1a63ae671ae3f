"""Files of events with labels: another format, and further conditions of each event beside its own.

Each label stands at the root of the file under its own name as ``(N, dim)``; classes are the numbers of the
spec's classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import h5py
import torch
from torch import Tensor

from simulacra.core import Batch, Field, FormatError, Prior, Spec
from simulacra.formats.base import FileInfo
from simulacra.formats.hdf5 import Array, Hdf5Format, present, tensor
from simulacra.formats.hdf5_data import Stored


class LabelledFormat(Hdf5Format):
    """Reader and writer, see the module's docstring.

    Args:
        base: Format of all but the labels.
        labels: The conditions that are added, classes or quantities with bounds.
        known: Values ``(1, dim)`` of the labels in files that have none; None: such files are refused.
        spec: What the files promise, labels included; None: what those of ``base`` do, and the labels.
    """

    def __init__(
        self,
        base: Hdf5Format,
        labels: Sequence[Field],
        known: Mapping[str, Tensor] | None = None,
        spec: Spec | None = None,
    ) -> None:
        whole = base.spec.with_(conditions=(*base.spec.conditions, *labels))
        super().__init__(whole if spec is None else spec)
        self.base, self.labels, self.known = base, tuple(labels), known
        self.nonnegative = base.nonnegative

    def columns(self, file: h5py.File | None = None) -> dict[str, tuple[int, ...]]:
        """Keys and the shape of one event under each."""
        return {**self.base.columns(file), **{f.name: (f.dim,) for f in self._held(file)}}

    def fields(self, file: h5py.File | None = None) -> dict[str, str]:
        """Key of each quantity per event."""
        return {**self.base.fields(file), **{f.name: f.name for f in self._held(file)}}

    def axes(self, key: str, shape: tuple[int, ...]) -> tuple[int, ...]:
        """As in the base."""
        return self.base.axes(key, shape)

    def data(self, file: h5py.File, path: Path, key: str) -> Stored:
        """What a file holds under a key; labels stand at its root."""
        own = {field.name for field in self.labels}
        return super().data(file, path, key) if key in own else self.base.data(file, path, key)

    def decode(self, arrays: dict[str, Array], path: Path) -> Batch:
        """Events from arrays by key.

        Raises:
            FormatError: If a class number does not exist.
        """
        batch = self.base.decode(arrays, path)
        held = [field for field in self.labels if field.name in arrays]
        found = marked(batch, self.known or {})
        read = {field.name: _values(field, arrays[field.name], path) for field in held}
        return replace(found, cond={**found.cond, **read})

    def encode(self, batch: Batch) -> dict[str, Array]:
        """Inverse of :meth:`decode`."""
        own = {f.name: batch.cond[f.name].float().cpu().numpy() for f in self.labels}
        return {**self.base.encode(batch), **own}

    def toy(self, path: Path | str, n: int, seed: int = 0) -> FileInfo:
        """Write the base's simple random events with random labels."""
        self.base.toy(path, n, seed)
        batch, generator = self.base.read(path), torch.Generator().manual_seed(seed)
        labels = {field.name: _anything(field, n, generator) for field in self.labels}
        self.write(path, replace(batch, cond={**batch.cond, **labels}))
        return self.header(path)

    def _held(self, file: h5py.File | None) -> Sequence[Field]:
        """The labels that a file holds: all, or none where they are known without."""
        if file is None or self.known is None:
            return self.labels
        path = Path(file.filename)
        held = [field for field in self.labels if present(file, path, field.name)]
        return self.labels if held else ()


def marked(batch: Batch, labels: Mapping[str, Tensor]) -> Batch:
    """Events that all have the same labels, each ``(1, dim)``, as further conditions."""
    found = {name: value.expand(len(batch), -1) for name, value in labels.items()}
    return replace(batch, cond={**batch.cond, **found})


def _values(field: Field, array: Array, path: Path) -> Tensor:
    """Labels ``(N, dim)`` of a file."""
    found = tensor(array).reshape(len(array), field.dim)
    if field.classes is None:
        return found
    wrong = (found != found.round()) | (found < 0) | (found >= len(field.classes))
    if bool(wrong.any()):
        raise FormatError(
            f"{path}: key {field.name!r} holds {float(found[wrong][0]):g}, expected the number of a class "
            f"from 0 to {len(field.classes) - 1} ({', '.join(field.classes)})"
        )
    return found.long()


def _anything(field: Field, n: int, generator: torch.Generator) -> Tensor:
    """Random labels ``(n, dim)`` within their bounds."""
    if field.classes is not None:
        return torch.randint(len(field.classes), (n, 1), generator=generator)
    low, high = field.low or 0.0, 1.0 if field.high is None else field.high
    drawn = [Prior(field.name, "uniform", (low, high)).draw(n, generator) for _ in range(field.dim)]
    return torch.cat(drawn, dim=1)
