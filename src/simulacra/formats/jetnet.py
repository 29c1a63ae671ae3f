r"""JetNet: jets as lists of up to 30 or 150 particles, one HDF5 file per class (arXiv:2106.11535).

Keys ``particle_features`` ``(N, 30 | 150, 4)`` with :math:`\eta - \eta_{jet}`, :math:`\phi - \phi_{jet}`,
:math:`p_T / p_T^{jet}` and a mask of 0 or 1, and ``jet_features`` ``(N, 4)`` with :math:`p_T` [GeV],
:math:`\eta`, mass [GeV] and the number of particles. The class is not in the arrays: it is the file's name,
``t.hdf5`` or ``t150.hdf5``, a name that ends so after ``_`` or ``-`` (``sample_t.hdf5``), or the attribute
``jet_class``, which files written here have.

Jets of several classes are written as one file per class, ``jets_g.hdf5``, ``jets_t.hdf5`` ... for the path
``jets.hdf5``, and are read back under that same path.

Note:
    ``num_particles`` is the number of particles kept, which the mask also says; a file whose column says
    otherwise (after the cut at 30 or 150) is read with one warning, and the mask counts.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import torch

from simulacra.core import Batch, Field, FormatError, Prior, Spec, UserError
from simulacra.formats.base import FileInfo, Writer
from simulacra.formats.cleaning import Cleaning
from simulacra.formats.hdf5 import (
    Array,
    Hdf5Format,
    Hdf5Writer,
    attribute,
    check_far,
    check_finite,
    event_shape,
    pad_points,
    tensor,
)
from simulacra.formats.hdf5_data import dataset, numbers
from simulacra.formats.jet_files import ClassWriter, family, join_infos, members, read_span

log = logging.getLogger(__name__)

CLASSES = ("g", "q", "t", "w", "z")
COUNTS = {"g": 177_252, "q": 170_679, "t": 177_945, "w": 177_172, "z": 176_952}
"""Jets of each class in the public files."""
JET_FEATURES = ("pt", "eta", "mass", "num_particles")
_NAME = re.compile(rf"(?:^|[_-])({'|'.join(CLASSES)})(?:150)?$")


def jet_fields(particles: int) -> tuple[Field, ...]:
    """What a jet file holds per jet; fields without bounds are standardised with the training jets."""
    return (
        Field("pt", "GeV", low=0.0),
        Field("eta"),
        Field("mass", "GeV", low=0.0),
        Field("num_particles", low=1.0, high=float(particles), role="count"),
    )


def jetnet(particles: int, classes: Sequence[str]) -> Spec:
    """Spec of the 30- or 150-particle set with the classes that are loaded; one class alone is no condition.

    Raises:
        UserError: For a class that does not exist, a class named twice, or none.
    """
    unknown = [name for name in classes if name not in CLASSES]
    if unknown or not classes or len(set(classes)) < len(classes):
        raise UserError(
            f"JetNet has the classes {', '.join(CLASSES)}, got {', '.join(classes) or 'none'}"
        )
    several = len(classes) > 1
    weights = tuple(float(COUNTS[name]) for name in classes)
    return Spec(
        name=f"jetnet{particles}",
        kind="cloud",
        shape=(particles, 3),
        unit="",
        # phirel is told from the jet's axis and stays within its radius: it never reaches the seam at pi
        features=(Field("etarel"), Field("phirel", "rad"), Field("ptrel", low=0.0, role="share")),
        conditions=(Field("jet_class", classes=tuple(classes), role="class"),) if several else (),
        event=jet_fields(particles),
        prior=(Prior("jet_class", "discrete", tuple(map(float, range(len(classes)))), weights),)
        if several
        else (),
        simulator="Pythia",
    )


class JetNetFormat(Hdf5Format):
    """Reader and writer of JetNet files.

    Args:
        spec: What the files promise; with several classes it has the condition ``jet_class``.
        classes: Names of the classes; class number ``i`` is ``classes[i]``.
    """

    def __init__(self, spec: Spec, classes: Sequence[str]) -> None:
        super().__init__(spec)
        self.classes = tuple(classes)

    def columns(self, file: h5py.File | None = None) -> dict[str, tuple[int, ...]]:
        size = self.spec.shape[0]
        if file is not None:  # what is left of fewer particles is padding
            found = event_shape(file, Path(file.filename), "particle_features") or ()
            size = found[0] if len(found) == 2 and 0 < found[0] < size else size
        return {"particle_features": (size, 4), "jet_features": (4,)}

    def fields(self, file: h5py.File | None = None) -> dict[str, str]:
        return {}

    def files(self, path: Path | str) -> list[Path]:
        path = Path(path)
        return [path] if len(self.classes) == 1 else list(family(path, self.classes).values())

    def header(self, path: Path | str) -> FileInfo:
        members = self.members(Path(path))
        return join_infos(
            Path(path), [super(JetNetFormat, self).header(member) for member in members]
        )

    def read(self, path: Path | str, start: int = 0, stop: int | None = None) -> Batch:
        members = self.members(Path(path))
        if len(members) == 1:
            return super().read(members[0], start, stop)
        return read_span(members, start, stop, super().header, super().read)

    def iterate(self, path: Path | str, chunk: int | None = None) -> Iterator[Batch]:
        for member in self.members(Path(path)):
            yield from super().iterate(member, chunk)

    def writer(  # type: ignore[override]  # several classes are several files
        self, path: Path | str, attributes: Mapping[str, str | int | float] | None = None
    ) -> Writer:
        if len(self.classes) > 1:
            return ClassWriter(
                path, self.classes, lambda name, file: self._single(name, file, attributes)
            )
        return self._single(self.classes[0], Path(path), attributes)

    def toy(self, path: Path | str, n: int, seed: int = 0) -> FileInfo:
        self.write(path, toy_jets(self.spec, n, seed, len(self.classes)), {"generator": "toy"})
        return self.header(path)

    def members(self, path: Path) -> list[Path]:
        """The files behind a path: itself, or one per class that was written under it."""
        if len(self.classes) == 1 or os.path.isfile(path):
            return [path]
        return members(path, self.classes) or [path]

    def label(self, file: h5py.File, path: Path) -> str | None:
        """Class of the jets of a file, or None where neither attribute nor name says it.

        Raises:
            FormatError: If it is none of the format's classes, or unknown where several are expected.
        """
        named, stored = _NAME.search(path.stem), attribute(file, path, "jet_class")
        label = str(stored) if stored is not None else named.group(1) if named else None
        wanted = ", ".join(self.classes)
        if label is None and len(self.classes) > 1:
            raise FormatError(
                f"{path}: the class of the jets is unknown, name the file <class>.hdf5 out of {wanted}"
            )
        if label is not None and label not in self.classes:
            raise FormatError(f"{path}: the file holds jets of class {label!r}, expected {wanted}")
        return label

    def cleaned(
        self, arrays: dict[str, Array], path: Path, start: int, cleaning: Cleaning
    ) -> dict[str, Array]:
        """A soft mask is rounded, points outside of it are removed, negative momenta are zero."""
        particles = arrays["particle_features"]
        mask = cleaning.mask(path, particles[..., 3], start)
        values = cleaning.padding(path, particles[..., :3], mask, start)
        share = cleaning.negative(path, "particle_features", values[..., 2], start)
        found = np.concatenate([values[..., :2], share[..., None], mask[..., None]], -1)
        return {**arrays, "particle_features": found.astype(np.float32)}

    def decode(self, arrays: dict[str, Array], path: Path) -> Batch:
        particles, jets = (
            pad_points(arrays["particle_features"], self.spec.shape[0], path),
            arrays["jet_features"],
        )
        check_particles(path, particles[..., :3], particles[..., 3])
        mask = torch.from_numpy(particles[..., 3] > 0)
        counts = mask.sum(1, keepdim=True).float()
        wrong = int((np.minimum(jets[:, 3:], particles.shape[1]) != counts.numpy()).sum())
        if wrong:
            log.warning(
                "%s: num_particles differs from the mask in %d jets, the mask counts", path, wrong
            )
        event = {name: tensor(jets[:, i : i + 1]) for i, name in enumerate(JET_FEATURES[:3])}
        return Batch(tensor(particles[..., :3]), {}, {**event, "num_particles": counts}, mask)

    def encode(self, batch: Batch) -> dict[str, Array]:
        mask = cloud_mask(batch)
        jets = batch.conditions(JET_FEATURES[:3]).values
        counts = mask.sum(1, keepdim=True).float()
        return {
            "particle_features": torch.cat([batch.x.float(), mask.float()[..., None]], -1)
            .cpu()
            .numpy(),
            "jet_features": torch.cat(
                [*(jets[name].float() for name in JET_FEATURES[:3]), counts], 1
            )
            .cpu()
            .numpy(),
        }

    def _header(self, file: h5py.File, path: Path) -> FileInfo:
        info = super()._header(file, path)
        self.label(file, path)
        jets = numbers(dataset(file, path, "jet_features"), path, "jet_features", 0, info.n)
        jets = jets.reshape(info.n, len(JET_FEATURES))
        check_finite(path, "jet_features", jets, 0, "jet")
        if (jets[:, [0, 2, 3]] < 0).any() or (jets[:, 0] == 0).any():
            raise FormatError(
                f"{path}: key 'jet_features' needs pt above 0, mass and num_particles not negative"
            )
        ranges = {
            name: (float(jets[:, i].min()), float(jets[:, i].max()))
            for i, name in enumerate(JET_FEATURES)
        }
        for name, (low, high) in ranges.items():
            check_far(path, "jet_features", self.spec.field(name), low, high)
        return FileInfo(info.path, info.n, info.shapes, ranges)

    def _read(self, file: h5py.File, path: Path, start: int, stop: int) -> Batch:
        batch = super()._read(file, path, start, stop)
        if len(self.classes) == 1:
            return batch
        number = self.classes.index(self.label(file, path) or "")
        return replace(batch, cond={"jet_class": torch.full((len(batch), 1), number)})

    def _single(
        self, name: str, path: Path, attributes: Mapping[str, str | int | float] | None
    ) -> Hdf5Writer:
        return Hdf5Writer(path, self, {**(attributes or {}), "jet_class": name})


def cloud_mask(batch: Batch) -> torch.Tensor:
    """Mask of jets that are to be written.

    Raises:
        UserError: If the batch is no cloud, or has a negative relative momentum.
    """
    if batch.mask is None:
        raise UserError("jets are written as clouds with a mask: this batch has none")
    if len(batch) and bool((batch.x[..., 2] < 0).any()):
        raise UserError(
            f"ptrel is negative (down to {float(batch.x[..., 2].min()):.6g}): such jets are not written"
        )
    return batch.mask


def check_particles(path: Path, values: Array, mask: Array) -> None:
    """Refuse a mask other than 0 and 1, padding other than 0, and a negative relative momentum.

    Args:
        path: The file, for the message.
        values: Particle features ``(n, N, 3)`` with etarel, phirel, ptrel.
        mask: 1 for real particles, ``(n, N)``.
    """
    strange = (mask != 0) & (mask != 1)
    if strange.any():
        raise FormatError(
            f"{path}: the mask of particles holds {mask[strange][0]:.6g}, expected 0 or 1"
        )
    if (values[mask == 0] != 0).any():
        raise FormatError(
            f"{path}: particles outside the mask must be exactly 0, {_count(values, mask)} are not"
        )
    if (values[..., 2] < 0).any():
        lowest = values[..., 2].min()
        raise FormatError(
            f"{path}: ptrel is negative (down to {lowest:.6g}), expected numbers at or above 0"
        )


def _count(values: Array, mask: Array) -> int:
    return int(((values != 0).any(-1) & (mask == 0)).sum())


def toy_jets(spec: Spec, n: int, seed: int, classes: int) -> Batch:
    """Jets of Gaussian clouds with falling momenta; a higher class number is wider and has more particles."""
    generator = torch.Generator().manual_seed(seed)
    size = spec.shape[0]
    label = torch.randint(classes, (n, 1), generator=generator)
    count = torch.randint(max(1, size // 3), size + 1, (n, 1), generator=generator)
    mask = torch.arange(size) < count
    angles = 0.1 * (1 + label[..., None]) * torch.randn(n, size, 2, generator=generator)
    weights = torch.rand(n, size, generator=generator).neg().add(1).log().neg() * mask
    momentum = (weights / weights.sum(1, keepdim=True)).sort(1, descending=True).values
    x = torch.cat([angles.clamp(-0.8, 0.8), momentum[..., None]], -1) * mask[..., None]
    event = {
        "pt": 800 + 400 * torch.rand(n, 1, generator=generator),
        "eta": 2 * torch.rand(n, 1, generator=generator) - 1,
        "mass": 50 + 100 * torch.rand(n, 1, generator=generator),
        "num_particles": count.float(),
    }
    return Batch(x, {"jet_class": label} if classes > 1 else {}, event, mask)
