r"""LHC Olympics R&D events (arXiv:2101.08320): two jets each as features, and all their particles.

The features file is a table of pandas (``pandas.read_hdf(path)``): group ``df`` with the columns pxj1, pyj1,
pzj1, mj1 [GeV], tau1j1, tau2j1, tau3j1 of the leading jet, the same of the second, and the label, 1 for
signal, in ``df/block0_values`` ``(N, 15)``. Nothing of pandas is needed to read or write it.

A file of events (:class:`LhcoEvents`) is a features file that also has ``particles`` ``(N, 700, 3)``:
transverse momentum [GeV], pseudorapidity and azimuth of up to 700 objects by falling momentum, zeros behind.

Note:
    The public file of particles holds the same numbers as a table of 2,101 columns, without the features.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import h5py
import numpy as np
import torch

from simulacra.core import Batch, Field, FormatError, Spec, UserError
from simulacra.formats.base import FileInfo
from simulacra.formats.hdf5 import Array, Hdf5Format, Hdf5Writer, tensor
from simulacra.formats.table_columns import Column, table_spec
from simulacra.formats.table_hdf5 import TableHdf5

VALUES, PARTICLES = "df/block0_values", "particles"
LABELS = ("0", "1")
"""Background and signal."""
N_PARTICLES = 700


def _feature_fields() -> list[Field]:
    momenta = [("px", None), ("py", None), ("pz", None), ("m", 0.0)]
    momenta += [(f"tau{order}", 0.0) for order in (1, 2, 3)]
    return [Field(f"{name}j{jet}", "GeV", low=low) for jet in (1, 2) for name, low in momenta]


def lhco_columns() -> tuple[Column, ...]:
    """The columns of a features file; the label is a condition."""
    features = _feature_fields()
    label = Field("label", classes=LABELS, role="class")
    return (
        *(Column(field, VALUES, number) for number, field in enumerate(features)),
        Column(label, VALUES, len(features), "condition"),
    )


def lhco_events() -> Spec:
    """What a file of particles and features promises."""
    return Spec(
        name="lhco_events",
        kind="cloud",
        shape=(N_PARTICLES, 3),
        unit="",
        features=(
            Field("pt", "GeV", low=0.0),
            Field("eta"),
            Field("phi", "rad", low=-np.pi, high=np.pi, periodic=True),
        ),
        conditions=(Field("label", classes=LABELS, role="class"),),
        event=tuple(_feature_fields()),
        sample_batch=256,
        simulator="Pythia and Delphes",
    )


class FrameWriter(Hdf5Writer):
    """Streams columns into what pandas takes for a DataFrame of its own, in its layout ``fixed``."""

    format: LhcoFeatures | LhcoEvents

    def _close(self) -> None:
        _frame(self.file, [column.name for column in lhco_columns()], self.n)
        super()._close()


class LhcoFeatures(TableHdf5):
    """Reader and writer of features files, as rows of a table."""

    def __init__(self) -> None:
        super().__init__(table_spec("lhco", lhco_columns()), lhco_columns())

    def writer(
        self, path: Path | str, attributes: Mapping[str, str | int | float] | None = None
    ) -> Hdf5Writer:
        return FrameWriter(path, self, attributes or {})


class LhcoEvents(Hdf5Format):
    """Reader and writer of events as clouds of particles, whose features are event fields."""

    def __init__(self) -> None:
        super().__init__(lhco_events())
        self.table = LhcoFeatures()

    def columns(self, file: h5py.File | None = None) -> dict[str, tuple[int, ...]]:
        return {PARTICLES: self.spec.shape, VALUES: (len(self.table.table),)}

    def fields(self, file: h5py.File | None = None) -> dict[str, str]:
        return {}

    def decode(self, arrays: dict[str, Array], path: Path) -> Batch:
        points, values = arrays[PARTICLES], arrays[VALUES]
        if (points[..., 0] < 0).any() or (points[points[..., 0] == 0] != 0).any():
            raise FormatError(
                f"{path}: key {PARTICLES!r} needs momenta at or above 0, and zeros behind the particles"
            )
        rows = self.table.decode({c.name: values[:, c.index or 0] for c in self.table.table}, path)
        event = {field.name: rows.x[:, i : i + 1] for i, field in enumerate(self.spec.event)}
        return Batch(tensor(points), rows.cond, event, torch.from_numpy(points[..., 0] > 0))

    def encode(self, batch: Batch) -> dict[str, Array]:
        if batch.mask is None:
            raise UserError("events are written as clouds with a mask: this batch has none")
        found = batch.conditions([field.name for field in self.spec.event]).values
        rows = Batch(torch.cat([found[field.name] for field in self.spec.event], 1), batch.cond)
        return {PARTICLES: batch.x.float().cpu().numpy(), **self.table.encode(rows)}

    def writer(
        self, path: Path | str, attributes: Mapping[str, str | int | float] | None = None
    ) -> Hdf5Writer:
        return FrameWriter(path, self, attributes or {})

    def toy(self, path: Path | str, n: int, seed: int = 0) -> FileInfo:
        rows, generator = self.table.toy_rows(n, seed), torch.Generator().manual_seed(seed)
        count = torch.randint(1, N_PARTICLES + 1, (n, 1), generator=generator)
        mask = torch.arange(N_PARTICLES) < count
        momenta = 0.5 + torch.rand(n, N_PARTICLES, generator=generator).neg().add(1).log().neg()
        x = torch.stack(
            [
                momenta.sort(1, descending=True).values,
                torch.randn(n, N_PARTICLES, generator=generator),
                np.pi * (2 * torch.rand(n, N_PARTICLES, generator=generator) - 1),
            ],
            -1,
        )
        event = {field.name: rows.x[:, i : i + 1] for i, field in enumerate(self.spec.event)}
        self.write(path, Batch(x * mask[..., None], rows.cond, event, mask), {"generator": "toy"})
        return self.header(path)


def _frame(file: h5py.File, names: Sequence[str], n: int) -> None:
    """Say of ``df/block0_values`` what pandas and PyTables look for (the layout of pandas' ``fixed``)."""
    group, columns = file["df"], np.array(names, dtype=np.bytes_)
    _label(file, CLASS="GROUP", VERSION="1.0", PYTABLES_FORMAT_VERSION="2.1", TITLE="")
    _label(group, CLASS="GROUP", VERSION="1.0", TITLE="", encoding="UTF-8", errors="strict")
    _label(group, pandas_type="frame")
    group.attrs.update({"ndim": 2, "nblocks": 1})
    for name, values in (
        ("axis0", columns),
        ("axis1", np.arange(n)),
        ("block0_items", columns),
        ("block0_values", None),
    ):
        data = group[name] if values is None else group.create_dataset(name, data=values)
        _label(data, CLASS="CARRAY", VERSION="1.1", TITLE="")
        data.attrs["transposed"] = np.uint8(1)
        if values is not None:
            _label(group, **{f"{name}_variety": "regular"})
            text = values.dtype.kind == "S"
            _label(data, kind="string" if text else "integer", name="N.", nan_rep="")


def _label(item: h5py.Group | h5py.Dataset, **texts: str) -> None:
    """Attributes as PyTables asks for: of fixed length, in UTF-8; an empty one has no length."""
    for name, text in texts.items():
        kind = h5py.string_dtype("utf-8", max(len(text), 1))
        if text:
            item.attrs.create(name, text, dtype=kind)
        else:
            item.attrs[name] = h5py.Empty(kind)
