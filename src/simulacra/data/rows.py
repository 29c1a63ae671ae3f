"""Tables in files of one format, held in memory."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from simulacra.core import Spec
from simulacra.data.base import Loading, View
from simulacra.data.file_data import FileDataModule, Files, permutation
from simulacra.data.files import Published
from simulacra.formats.base import Format
from simulacra.physics.base import ObservableSet

_SPLIT_SEED = 2024


class Rows(FileDataModule):
    """See the module's docstring.

    Args:
        format, observables, published, loading, root, files, view: As of
            :class:`~simulacra.data.file_data.FileDataModule`.
    """

    def __init__(
        self,
        format: Format,
        observables: Callable[[Spec], ObservableSet],
        published: Published,
        loading: Loading,
        root: str | None = None,
        files: Files | None = None,
        view: Callable[[Spec], View] | None = None,
    ) -> None:
        super().__init__(format, observables, published, loading, root, files, "never", view)

    @property
    def sample(self) -> str:
        """What the rows are, and what to use in their place."""
        return self.published.about

    def order(self, n: int) -> Tensor:
        """As of the base class."""
        return permutation(n, _SPLIT_SEED)
