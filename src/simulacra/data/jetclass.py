"""JetClass: jets of ten classes as clouds of up to 128 particles with tracks and types.

Files are found by the public names (``HToBB_*.root`` and so on, or the same as ``.h5``/``.hdf5``) at any
depth below the root. Those in a folder whose name begins with ``train``, ``val`` or ``test`` (the public
``train_100M``, ``val_5M``, ``test_20M``) are that part; where there is no test folder, a fixed permutation
sets aside a fifth, and where there is no validation folder, a fraction of the training part.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

from simulacra.core import Spec, UserError
from simulacra.data.base import View
from simulacra.data.cache import cache_root
from simulacra.data.files import Found, Published, content_hash, embedded_folder, locate
from simulacra.data.jetnet import announce, fixed_order
from simulacra.data.showers import TEST_FRACTION, ShowerDataModule
from simulacra.data.source import Part
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
_PARTS = ("train", "val", "test")


class JetClass(ShowerDataModule):
    """Jets from public files, own files or the embedded sample; see the module's docstring.

    Args:
        classes: Names of the labels; with several, ``jet_class`` is a condition. None for all ten, or for
            the five of the embedded sample where neither ``root`` nor ``files`` is given.
        root: Folder with the public files at any depth, or None for the embedded sample.
        files: Lists ``train`` and ``test`` of files below ``root`` (or of paths), in place of the public
            names.
        cache: Read through the sparse cache on disk: ``auto`` if a part is large, ``always`` or ``never``.
        batch_size: Jets per training batch and rank.
        eval_batch_size: Jets per batch in validation and test.
        workers: Loader processes per rank; 0 loads in the training process.
        seed: Seed of the order of jets.
        validation: Fraction of the training part that is kept for validation where there are no validation
            files.
        limit: Use at most this many training jets (None: all).
        view: Makes the form in which the model sees jets, or None for clouds.
    """

    def __init__(
        self,
        classes: Sequence[str] | None = None,
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
        own = root is not None or any((files or {}).values())
        wanted = tuple(classes) if classes is not None else CLASSES if own else EMBEDDED
        spec = jetclass(
            sorted(wanted, key=lambda name: CLASSES.index(name) if name in CLASSES else -1)
        )
        self.classes = tuple(name for name in CLASSES if name in wanted)
        self._val: tuple[Path, ...] = ()
        super().__init__(
            JetClassFormat(spec, self.classes),
            JetClassObservables,
            Published(
                [f"{PREFIXES[name]}_*.root" for name in self.classes], [], "Zenodo record 6619768"
            ),
            embedded="jetclass",
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

    @property
    def found(self) -> Found:
        """The files that are used."""
        if self._found is None:
            if any((self.files or {}).values()):
                self._found = locate(
                    self.native_spec.name, self.published, self.root, self.files, None
                )
            else:
                self._found = self._search()
        return self._found

    @property
    def provenance(self) -> dict[str, str]:
        """Files by name with their SHA-256."""
        known = super().provenance
        return known | {
            f"val/{path.name}": content_hash(path, cache_root() / "hashes") for path in self._val
        }

    def load(self) -> Mapping[str, Part]:
        """Parts ``train``, ``val`` and ``test``."""
        source, test_source = self._sources()
        order = fixed_order(len(source))
        if test_source is None:
            cut = round(TEST_FRACTION * len(order))
            test, order = Part(source, order[:cut]), order[cut:]
        else:
            test = Part(test_source, fixed_order(len(test_source)))
        if self._val:
            val_source = self._source(self._val)
            val, cut = Part(val_source, fixed_order(len(val_source))), 0
        else:
            cut = round(self.validation * len(order))
            val = Part(source, order[:cut])
        parts = {"train": Part(source, order[cut:]), "val": val, "test": test}
        announce(self, parts)
        return parts

    def write_toy(self, folder: Path | str, n: int, seed: int = 0) -> None:
        """Write toy HDF5 files of ``n`` jets of each class under the public names, for tests."""
        for number, name in enumerate(self.classes):
            toy = JetClassFormat(jetclass([name]), [name])
            toy.toy(Path(folder) / f"{PREFIXES[name]}_000.h5", n, seed + number)

    def _search(self) -> Found:
        root = embedded_folder("jetclass") if self.root is None else Path(self.root)
        if not root.is_dir():
            raise UserError(f"data.root={root} is not a folder")
        parts: dict[str, list[Path]] = {name: [] for name in _PARTS}
        found = [path for name in self.classes for path in root.rglob(f"{PREFIXES[name]}_*")]
        for path in sorted(path for path in found if path.suffix in _SUFFIXES):
            parts[_part(path.relative_to(root))].append(path)
        if not parts["train"]:
            names = ", ".join(self.published.train)
            raise UserError(
                f"there are no training files of jetclass below {root}: download {names} "
                f"({self.published.where}) and set data.root or the environment variable "
                "SIMULACRA_DATA to their folder"
            )
        self._val = tuple(parts["val"])
        return Found(tuple(parts["train"]), tuple(parts["test"]), embedded=self.root is None)


def _part(path: Path) -> str:
    folder = next((name for name in reversed(path.parts[:-1]) if name.startswith(_PARTS)), "train")
    return next(part for part in _PARTS if folder.startswith(part))
