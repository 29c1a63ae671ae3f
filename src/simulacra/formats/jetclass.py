r"""JetClass (arXiv:2202.03772): jets of up to 128 particles with tracks and types, HDF5 or ROOT.

Particle ``part_*`` and jet columns ``jet_*``, ``label_*`` have the public names; HDF5 holds ``(N, 128)``
arrays padded with 0, ROOT jagged branches of the tree ``tree``. A jet is a cloud ``(128, 13)`` in the
columns of arXiv:2312.00123,

.. math:: \eta_{rel}, \phi_{rel}, p_T / p_T^{jet}, d_0, \sigma_{d_0}, d_z, \sigma_{d_z}, q, \text{5 type
flags},

with ``part_deta`` (published with the sign of the jet's :math:`\eta`), ``part_dphi``, and displacements in
mm. Event fields are :math:`p_T`, :math:`\eta`, the mass of the summed particles, and the number of
particles kept.

A generated file holds every column that follows from those, with the jet at :math:`\phi = 0`: momenta from
:math:`p_T, \eta, \phi`; energies with the pion's, electron's or muon's mass for charged types and none for
photons and neutral hadrons; the jet's energy from its mass. The type is the largest flag and the charge is
rounded, as in that publication. What cannot be known (``jet_sdmass``, ``jet_tau1..4``) is left out; such a
file says ``generated_by = "simulacra"``, and only then the reader does without. It also holds
``part_ptrel`` and ``jet_mass``, since both would lose digits on the way through the public columns.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from simulacra.core import Batch, Field, FormatError, Prior, Spec, UserError
from simulacra.formats.base import FileInfo, Writer
from simulacra.formats.cleaning import Cleaning
from simulacra.formats.hdf5 import (
    Array,
    Hdf5Format,
    Hdf5Writer,
    attribute,
    event_shape,
    pad_points,
    tensor,
)
from simulacra.formats.jetclass_columns import (
    CLASSES,
    EVENT,
    EXACT,
    FLAGS,
    GENERATED,
    MASSES,
    TRACK,
    check_values,
    column_names,
    is_generated,
    jet_mass,
    relative_pt,
)
from simulacra.formats.jetclass_root import JetClassTree
from simulacra.formats.jetnet import check_particles, cloud_mask, jet_fields, toy_jets

_CHARGE, _FIRST_FLAG = 7, 8


def jetclass(classes: Sequence[str] = CLASSES) -> Spec:
    """Spec of JetClass with the classes that are loaded; one class alone is no condition.

    The public set has equally many jets of each class.

    Raises:
        UserError: For a class that does not exist, a class named twice, or none.
    """
    unknown = [name for name in classes if name not in CLASSES]
    if unknown or not classes or len(set(classes)) < len(classes):
        raise UserError(
            f"JetClass has the classes {', '.join(CLASSES)}, got {', '.join(classes) or 'none'}"
        )
    particle = [
        *(Field(name, unit) for name, unit in (("etarel", ""), ("phirel", "rad"))),
        Field("ptrel", low=0.0, role="share"),
        *(
            Field(name, "mm", low=low)
            for name, low in (("d0", None), ("d0err", 0.0), ("dz", None), ("dzerr", 0.0))
        ),
        Field("charge", low=-1.0, high=1.0, integer=True),
        *(Field(name, low=0.0, high=1.0, integer=True) for name in FLAGS),
    ]
    several = len(classes) > 1
    return Spec(
        name="jetclass",
        kind="cloud",
        shape=(128, len(particle)),
        unit="",
        features=tuple(particle),
        conditions=(Field("jet_class", classes=tuple(classes), role="class"),) if several else (),
        event=jet_fields(128),
        prior=(Prior("jet_class", "discrete", tuple(map(float, range(len(classes))))),)
        if several
        else (),
        simulator="Pythia and Delphes",
    )


class JetClassFormat(Hdf5Format):
    """Reader and writer of JetClass files; a path that ends in ``.root`` is a ROOT tree (extra ``[root]``).

    Args:
        spec: What the files promise; with several classes it has the condition ``jet_class``.
        classes: Names of the classes without ``label_``; class number ``i`` is ``classes[i]``.
        tree: Name of the tree of a ROOT file, with ``/`` behind folders.
    """

    suffixes = (*Hdf5Format.suffixes, ".root")

    def __init__(self, spec: Spec, classes: Sequence[str], tree: str = "tree") -> None:
        super().__init__(spec)
        self.classes, self.tree = tuple(classes), tree

    def columns(self, file: h5py.File | None = None) -> dict[str, tuple[int, ...]]:
        keys = set(file) if file is not None else set(EXACT)
        size, generated = self.spec.shape[0], True
        if file is not None:
            path = Path(file.filename)
            generated = is_generated({key: attribute(file, path, key) for key in GENERATED})
            found = event_shape(file, path, "part_energy") or ()
            size = found[0] if len(found) == 1 and 0 < found[0] < size else size
        return {
            name: (size,) if name.startswith("part_") else ()
            for name in column_names(generated, keys)
        }

    def fields(self, file: h5py.File | None = None) -> dict[str, str]:
        return {"pt": "jet_pt", "eta": "jet_eta"}

    def header(self, path: Path | str) -> FileInfo:
        return self._root().header(path) if _is_root(path) else super().header(path)

    def read(self, path: Path | str, start: int = 0, stop: int | None = None) -> Batch:
        return (
            self._root().read(path, start, stop)
            if _is_root(path)
            else super().read(path, start, stop)
        )

    def iterate(self, path: Path | str, chunk: int | None = None) -> Iterator[Batch]:
        return self._root().iterate(path, chunk) if _is_root(path) else super().iterate(path, chunk)

    def writer(  # type: ignore[override]  # a ROOT tree has a writer of its own
        self, path: Path | str, attributes: Mapping[str, str | int | float] | None = None
    ) -> Writer:
        if _is_root(path):
            return self._root().writer(path, attributes)
        return Hdf5Writer(path, self, {**(attributes or {}), **GENERATED})

    def toy(self, path: Path | str, n: int, seed: int = 0) -> FileInfo:
        self.write(path, toy_particles(self.spec, n, seed, len(self.classes)), {"generator": "toy"})
        return self.header(path)

    def cleaned(
        self, arrays: dict[str, Array], path: Path, start: int, cleaning: Cleaning
    ) -> dict[str, Array]:
        """Particles of negative energy are none, and nothing is left in their place."""
        energy = cleaning.negative(path, "part_energy", arrays["part_energy"], start, "GeV")
        names = [key for key in arrays if key.startswith("part_")]
        points = np.stack([energy if key == "part_energy" else arrays[key] for key in names], -1)
        points = cleaning.padding(path, points, energy > 0, start)
        return arrays | {key: points[..., number] for number, key in enumerate(names)}

    def decode(self, arrays: dict[str, Array], path: Path) -> Batch:
        size = self.spec.shape[0]
        arrays = {
            key: pad_points(values, size, path) if key.startswith("part_") else values
            for key, values in arrays.items()
        }
        mask = arrays["part_energy"] > 0
        check_values(path, arrays, mask)
        columns = [arrays["part_deta"], arrays["part_dphi"], relative_pt(arrays)]
        columns += [arrays[f"part_{name}"] for name in (*TRACK, *FLAGS)]
        check_particles(path, np.stack(columns[:3], -1), mask.astype(np.float32))
        x = np.stack(columns, -1) * mask[..., None]
        jets = [
            arrays["jet_pt"],
            arrays["jet_eta"],
            jet_mass(arrays),
            mask.sum(1),
        ]
        event = {
            name: tensor(value.reshape(-1, 1)) for name, value in zip(EVENT, jets, strict=True)
        }
        return Batch(tensor(x), self._condition(arrays, path), event, torch.from_numpy(mask))

    def encode(self, batch: Batch) -> dict[str, Array]:
        mask = cloud_mask(batch)
        jets = {
            name: value[:, 0].double() for name, value in batch.conditions(EVENT[:3]).values.items()
        }
        x = discretise(batch.x.float())
        values: dict[str, Tensor] = _momenta(x.double(), mask, jets)
        values |= {f"part_{name}": x[..., 3 + i] for i, name in enumerate((*TRACK, *FLAGS))}
        values |= {"part_deta": x[..., 0], "part_dphi": x[..., 1], "part_ptrel": x[..., 2]}
        energy = torch.sqrt(jets["mass"].square() + (jets["pt"] * torch.cosh(jets["eta"])).square())
        values |= {
            "jet_pt": jets["pt"],
            "jet_eta": jets["eta"],
            "jet_phi": torch.zeros_like(energy),
        }
        values |= {"jet_energy": energy, "jet_nparticles": mask.sum(1), "jet_mass": jets["mass"]}
        return {
            key: value.float().cpu().numpy()
            for key, value in {**values, **self._labels(batch)}.items()
        }

    def _labels(self, batch: Batch) -> dict[str, Tensor]:
        number = torch.zeros(len(batch), dtype=torch.long)
        if len(self.classes) > 1:
            number = batch.conditions(["jet_class"]).values["jet_class"][:, 0].long().cpu()
        names = [self.classes[i] for i in number.tolist()]
        return {
            f"label_{name}": torch.tensor([float(name == label) for label in names])
            for name in CLASSES
        }

    def _condition(self, arrays: dict[str, Array], path: Path) -> dict[str, Tensor]:
        labels = np.stack([arrays[f"label_{name}"].reshape(-1) for name in CLASSES], 1)
        if not (((labels == 0) | (labels == 1)).all() and (labels.sum(1) == 1).all()):
            raise FormatError(f"{path}: exactly one of the ten keys label_* must be 1 for each jet")
        names = [CLASSES[i] for i in labels.argmax(1)]
        unknown = sorted(set(names) - set(self.classes))
        if unknown:
            raise FormatError(
                f"{path}: the file holds jets of class {unknown[0]!r}, expected {', '.join(self.classes)}"
            )
        if len(self.classes) == 1:
            return {}
        return {
            "jet_class": torch.tensor([[self.classes.index(name)] for name in names]).reshape(-1, 1)
        }

    def _root(self) -> JetClassTree:
        return JetClassTree(self, self.tree)


def _is_root(path: Path | str) -> bool:
    return Path(path).suffix == ".root"


def discretise(x: Tensor) -> Tensor:
    """Type flags to the largest one and charges to the nearest of -1, 0, 1: ``(B, N, 13)`` to the same shape.

    Particles whose flags are all 0 (padding, or no type in the file) keep none.
    """
    flags = x[..., _FIRST_FLAG:]
    hard = functional.one_hot(flags.argmax(-1), flags.shape[-1]).to(x.dtype) * (flags != 0).any(
        -1, keepdim=True
    )
    charge = x[..., _CHARGE : _CHARGE + 1].round().clamp(-1, 1)
    return torch.cat([x[..., :_CHARGE], charge, hard], -1)


def _momenta(x: Tensor, mask: Tensor, jets: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Four-momenta [GeV] of particles in a jet at azimuth 0, each ``(B, N)``."""
    eta = jets["eta"][:, None]
    pt = x[..., 2] * jets["pt"][:, None]
    px, py = pt * torch.cos(x[..., 1]), pt * torch.sin(x[..., 1])
    pz = pt * torch.sinh(eta + torch.where(eta < 0, -1.0, 1.0) * x[..., 0])
    mass = x[..., _FIRST_FLAG:] @ torch.tensor(MASSES, dtype=x.dtype, device=x.device)
    # the mask is where the energy is positive, so that a particle of no momentum keeps a trace
    energy = torch.sqrt(px**2 + py**2 + pz**2 + mass**2).clamp_min(torch.finfo(torch.float32).tiny)
    columns = {"part_px": px, "part_py": py, "part_pz": pz, "part_energy": energy}
    return {key: torch.where(mask, value, 0.0) for key, value in columns.items()}


def toy_particles(spec: Spec, n: int, seed: int, classes: int) -> Batch:
    """Gaussian clouds with types: three in five are charged hadrons with tracks."""
    batch = toy_jets(spec, n, seed, classes)
    generator = torch.Generator().manual_seed(seed + 1)
    size = batch.x.shape[:2]
    kind = torch.multinomial(
        torch.tensor([0.6, 0.15, 0.22, 0.02, 0.01]), n * size[1], True, generator=generator
    )
    flags = functional.one_hot(kind.view(size), len(FLAGS)).float()
    charged = flags[..., [0, 3, 4]].sum(-1, keepdim=True)
    track = torch.randn(*size, 4, generator=generator) * torch.tensor([0.1, 0.01, 0.1, 0.01])
    track[..., [1, 3]] = track[..., [1, 3]].abs()
    charge = torch.where(torch.rand(*size, 1, generator=generator) < 0.5, -1.0, 1.0)
    mask = cloud_mask(batch)
    x = torch.cat([batch.x, charged * torch.cat([track, charge], -1), flags], -1) * mask[..., None]
    return replace(batch, x=x)
