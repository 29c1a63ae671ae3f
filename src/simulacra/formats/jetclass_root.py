"""JetClass as ROOT trees: jagged branches ``part_*`` and flat ``jet_*``, ``label_*`` of one tree.

Reading pads the particles to the length of the spec (the hardest ones are kept: they come first), and what
they mean is up to :class:`~simulacra.formats.jetclass.JetClassFormat`. ROOT files need uproot and awkward,
the extra ``[root]``.
"""

from __future__ import annotations

import contextlib
import lzma
import struct
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from simulacra.core import Batch, FormatError, UserError
from simulacra.core.files import cannot_write
from simulacra.formats.base import FileInfo, Format, Writer
from simulacra.formats.hdf5 import WEIGHT, Array, Hdf5Format, check_far, check_finite
from simulacra.formats.jetclass_columns import GENERATED, column_names, is_generated
from simulacra.formats.jetnet import cloud_mask
from simulacra.formats.opening import first_line, guard, look, other_kind

PROVENANCE = "provenance"
_TREES = ("TTree", "TNtuple", "TNtupleD", "TChain", "ROOT::RNTuple")
_LISTED = 20  # names that a message lists
_RAISED = (
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    AssertionError,
    RuntimeError,
    ArithmeticError,
    EOFError,
    zlib.error,
    lzma.LZMAError,
    struct.error,
)
"""What uproot raises where bytes are not what they should be, besides its own kind."""


class JetClassTree(Format):
    """Reader and writer of ROOT files.

    Args:
        columns: The same data as padded arrays: its columns, its checks, its events.
        tree: Name of the tree, with ``/`` behind folders.
    """

    def __init__(self, columns: Hdf5Format, tree: str) -> None:
        super().__init__(columns.spec)
        self.padded, self.tree = columns, tree

    def header(self, path: Path | str) -> FileInfo:
        with _open(Path(path)) as file:
            return self._header(file, Path(path))

    def read(self, path: Path | str, start: int = 0, stop: int | None = None) -> Batch:
        path = Path(path)
        with _open(path) as file:
            info = self._header(file, path)
            arrays = self._arrays(
                file, path, list(info.shapes), start, info.n if stop is None else min(stop, info.n)
            )
        if self.padded.cleaning is not None:
            arrays = self.padded.cleaned(arrays, path, start, self.padded.cleaning)
        return self.padded.decode(arrays, path)

    def writer(
        self, path: Path | str, attributes: Mapping[str, str | int | float] | None = None
    ) -> TreeWriter:
        return TreeWriter(path, self.padded, self.tree, attributes or {})

    def toy(self, path: Path | str, n: int, seed: int = 0) -> FileInfo:
        return self.padded.toy(path, n, seed)

    def _header(self, file: Any, path: Path) -> FileInfo:
        known = {name.split(";")[0]: kind for name, kind in file.classnames().items()}
        if self.tree not in known:
            raise FormatError(
                f"{path}: the tree {self.tree!r} is missing, found {sorted(known)[:_LISTED]}: choose one "
                "with data.format.tree"
            )
        if known[self.tree] not in _TREES:
            raise FormatError(
                f"{path}: {self.tree!r} is of class {known[self.tree]!r}, expected a tree: choose one with "
                "data.format.tree"
            )
        tree = file[self.tree]
        found, n = set(tree.keys()), int(tree.num_entries)
        if n == 0:
            raise FormatError(f"{path}: the file holds no events")
        names = column_names(is_generated(_provenance(file)), found)
        missing = [name for name in names if name not in found]
        if missing:
            raise FormatError(f"{path}: branch {missing[0]!r} is missing, found {sorted(found)}")
        if WEIGHT in found:
            raise FormatError(
                f"{path}: a ROOT tree takes no weights, but has the branch {WEIGHT!r}: make it an HDF5 file"
            )
        arrays = self._arrays(file, path, ["jet_pt", "jet_eta"], 0, n)
        ranges = {
            key[4:]: (float(value.min()), float(value.max())) for key, value in arrays.items()
        }
        for name, (low, high) in ranges.items():
            check_far(path, f"jet_{name}", self.spec.field(name), low, high)
        size = self.spec.shape[0]
        return FileInfo(
            path,
            n,
            {name: (n, size) if name.startswith("part_") else (n,) for name in names},
            ranges,
        )

    def _arrays(
        self, file: Any, path: Path, names: list[str], start: int, stop: int
    ) -> dict[str, Array]:
        with np.errstate(all="ignore"):  # what becomes infinite is refused
            return self._checked(file, path, names, start, stop)

    def _checked(
        self, file: Any, path: Path, names: list[str], start: int, stop: int
    ) -> dict[str, Array]:
        import awkward

        arrays = {}
        branches = file[self.tree].arrays(names, entry_start=start, entry_stop=stop)
        for name in names:
            values = branches[name]
            if name.startswith("part_"):
                if values.ndim != 2:
                    raise FormatError(
                        f"{path}: branch {name!r} is flat, expected one list of particles per jet"
                    )
                values = awkward.fill_none(
                    awkward.pad_none(values, self.spec.shape[0], clip=True), 0
                )
            elif values.ndim != 1:
                raise FormatError(f"{path}: branch {name!r} is jagged, expected one number per jet")
            found = np.ma.filled(awkward.to_numpy(values), 0)
            if found.dtype.kind not in "fiub":
                raise FormatError(
                    f"{path}: branch {name!r} holds values of type {found.dtype}, expected numbers"
                )
            if len(found) != stop - start:
                raise FormatError(
                    f"{path}: branch {name!r} holds {len(found):,} of the {stop - start:,} entries that the "
                    "tree says it has: the file is damaged, get it again"
                )
            arrays[name] = found.astype(np.float32)
            check_finite(path, name, arrays[name], start)
        return arrays


class TreeWriter(Writer):
    """Streams batches into a tree.

    Args:
        path: Where the file shall be.
        columns: Translates batches to padded arrays.
        tree: Name of the tree.
        attributes: Provenance, stored as text under ``provenance``, one ``key: value`` per line.
    """

    def __init__(
        self,
        path: Path | str,
        columns: Hdf5Format,
        tree: str,
        attributes: Mapping[str, str | int | float],
    ) -> None:
        super().__init__(path)
        self.padded, self.tree, self.attributes = columns, tree, dict(attributes)

    def _append(self, batch: Batch) -> None:
        """Write jets; the padding is left out."""
        import awkward

        mask = cloud_mask(batch).cpu().numpy()
        counts = mask.sum(1)
        arrays = {
            key: awkward.unflatten(values[mask], counts) if key.startswith("part_") else values
            for key, values in self.padded.encode(batch).items()
        }
        try:
            self.file[self.tree].extend(arrays)
        except OSError as error:
            raise cannot_write(self.path, error) from error

    def _open(self) -> None:
        uproot = _uproot()
        self.file = uproot.recreate(self.temporary)
        types = {
            name: "var * float32" if shape else "float32"
            for name, shape in self.padded.columns().items()
        }
        self.file.mktree(self.tree, types)

    def _close(self) -> None:
        self.file[PROVENANCE] = "\n".join(
            f"{key}: {value}" for key, value in {**self.attributes, **GENERATED}.items()
        )
        self.file.close()

    def _discard(self) -> None:
        self.file.close()


def _uproot() -> Any:
    try:
        import awkward  # noqa: F401  # uproot needs it for jagged branches
        import uproot
    except ImportError as error:
        raise UserError("ROOT files need uproot and awkward: install simulacra[root]") from error
    return uproot


@contextlib.contextmanager
def _open(path: Path) -> Iterator[Any]:
    uproot = _uproot()
    start = look(path, "ROOT")
    if not start.startswith(b"root"):
        raise other_kind(path, "ROOT", start)
    kinds = (*_RAISED, uproot.DeserializationError)
    with guard(path, kinds, _damaged, "uproot", "awkward"), uproot.open(path) as file:
        yield file


def _damaged(error: Exception) -> str:
    return f"the ROOT file is truncated or damaged, get it again ({first_line(error)})"


def _provenance(file: Any) -> dict[str, object]:
    names = {name.split(";")[0]: kind for name, kind in file.classnames().items()}
    if names.get(PROVENANCE) != "TObjString":
        return {}
    lines = (line.partition(": ") for line in str(file[PROVENANCE]).splitlines())
    return {key: value for key, _, value in lines}
