"""Collisions as tables of the four-momenta of their outgoing partons: top pairs that decay to six quarks."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from simulacra.core import Spec
from simulacra.data.base import Loading, View
from simulacra.data.file_data import FileDataModule, Files, permutation
from simulacra.data.files import Published
from simulacra.formats.six_quarks import SixQuarks
from simulacra.physics.six_quarks import SixQuarkObservables

_SPLIT_SEED = 2019
_EMBEDDED = Published(
    ["ttbar_train.h5"],
    ["ttbar_test.h5"],
    "which come with the package: data.root=null",
    embedded="events",
)


class TopPairs(FileDataModule):
    """Rows of :mod:`simulacra.formats.six_quarks` from one's own files or the embedded sample.

    Args:
        loading, root, files, view: As of :class:`~simulacra.data.file_data.FileDataModule`; tables are held
            in memory.
    """

    def __init__(
        self,
        loading: Loading,
        root: str | None = None,
        files: Files | None = None,
        view: Callable[[Spec], View] | None = None,
    ) -> None:
        super().__init__(
            SixQuarks(), SixQuarkObservables, _EMBEDDED, loading, root, files, "never", view
        )

    @property
    def sample(self) -> str:
        """How the rows were made, and how to have more."""
        return (
            "top pairs at leading order by Pythia; more of them: simulacra produce simulator=pythia "
            "process=ttbar, and data.files.train=[...]"
        )

    def order(self, n: int) -> Tensor:
        """As of the base class."""
        return permutation(n, _SPLIT_SEED)
