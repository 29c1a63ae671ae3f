"""JetClass: jets of ten classes as clouds of up to 128 particles with tracks and types.

Files are found by the public names (``HToBB_*.root`` and so on, or the same as ``.h5``/``.hdf5``) at any
depth below the root. Those in a folder whose name begins with ``train``, ``val`` or ``test`` (the public
``train_100M``, ``val_5M``, ``test_20M``) are that part; where there is no test folder, a fixed permutation
sets aside a fifth, and where there is no validation folder, a fraction of the training part.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path

from simulacra.core import Spec, UserError
from simulacra.data.base import Loading, View
from simulacra.data.file_data import Cache, Files
from simulacra.data.files import (
    PARTS,
    Found,
    Published,
    below,
    embedded_folder,
    locate,
    wanted_text,
)
from simulacra.data.jets import JetDataModule
from simulacra.formats.jetclass import JetClassFormat, jetclass
from simulacra.formats.jetclass_columns import CLASSES
from simulacra.physics.jetclass import JetClassObservables

PREFIXES = {
    "QCD": "ZJetsToNuNu",
    "Hbb": "HToBB",
    "Hcc": "HToCC",
    "Hgg": "HToGG",
    "H4q": "HToWW4Q",
    "Hqql": "HToWW2Q1L",
    "Zqq": "ZToQQ",
    "Wqq": "WToQQ",
    "Tbqq": "TTBar",
    "Tbl": "TTBarLep",
}
EMBEDDED = ("QCD", "Hbb", "Zqq", "Wqq", "Tbqq")
_SUFFIXES = (".root", ".h5", ".hdf5")


class JetClass(JetDataModule):
    """Jets from public files, own files or the embedded sample; see the module's docstring.

    Args:
        classes: Names of the labels; with several, ``jet_class`` is a condition. None for all ten, or for
            the five of the embedded sample where neither ``root`` nor ``files`` is given.
        loading, root, files, cache, view: As of :class:`~simulacra.data.file_data.FileDataModule`; the
            native form is a cloud.
        format: Makes the reader and writer from the spec and the classes; it knows the name of the tree.
    """

    def __init__(
        self,
        classes: Sequence[str] | None,
        loading: Loading,
        root: str | None = None,
        files: Files | None = None,
        cache: Cache = "auto",
        view: Callable[[Spec], View] | None = None,
        format: Callable[[Spec, Sequence[str]], JetClassFormat] = JetClassFormat,
    ) -> None:
        own = root is not None or any((files or {}).values())
        wanted = tuple(classes) if classes is not None else CLASSES if own else EMBEDDED
        spec = jetclass(
            sorted(wanted, key=lambda name: CLASSES.index(name) if name in CLASSES else -1)
        )
        self.classes = tuple(name for name in CLASSES if name in wanted)
        names = [f"{PREFIXES[name]}_*.root" for name in self.classes]
        published = Published(
            names,
            [],
            embedded="jetclass",
            record="zenodo:6619768",
            archives=["JetClass_Pythia_*.tar"],
        )
        super().__init__(
            format(spec, self.classes),
            JetClassObservables,
            published,
            loading,
            root,
            files,
            cache,
            view,
        )

    @cached_property
    def found(self) -> Found:
        """The files that are used."""
        if any((self.files or {}).values()):
            return locate(self.native_spec.name, self.published, self.root, self.files)
        return self._search()

    def write_toy(self, folder: Path | str, n: int, seed: int = 0) -> None:
        """Write toy HDF5 files of ``n`` jets of each class under the public names, for tests."""
        for number, name in enumerate(self.classes):
            toy = JetClassFormat(jetclass([name]), [name])
            toy.toy(Path(folder) / f"{PREFIXES[name]}_000.h5", n, seed + number)

    def _search(self) -> Found:
        root = embedded_folder("jetclass") if self.root is None else Path(self.root)
        if not os.path.isdir(root):
            raise UserError(f"data.root={root} is not a folder")
        parts: dict[str, list[Path]] = {name: [] for name in PARTS}
        wanted = (f"{PREFIXES[name]}_*{suffix}" for name in self.classes for suffix in _SUFFIXES)
        for path in below(root, *wanted):
            parts[_part(path.relative_to(root))].append(path)
        if not parts["train"]:
            raise UserError(
                f"there are no training files of jetclass below {root}: download "
                f"{wanted_text('jetclass', self.published)} and set data.root or the environment "
                "variable SIMULACRA_DATA to their folder"
            )
        named = {part: tuple(paths) for part, paths in parts.items()}
        return Found(named["train"], named["test"], self.root is None, named["val"])


def _part(path: Path) -> str:
    folder = next((name for name in reversed(path.parts[:-1]) if name.startswith(PARTS)), "train")
    return next(part for part in PARTS if folder.startswith(part))
