"""Tables of quantities per event, whose columns and files come from the configuration.

Files are HDF5, CSV or Parquet, as their suffix says.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from simulacra.core import Spec
from simulacra.data.base import Loading, View
from simulacra.data.file_data import Files
from simulacra.data.files import Published
from simulacra.data.rows import Rows
from simulacra.formats.table_columns import columns_of
from simulacra.formats.table_files import TableFiles
from simulacra.formats.table_particles import particles_of
from simulacra.physics.base import ObservableSet
from simulacra.physics.table import TableObservables

OWN = Published([], [])
"""Of a table that nobody has published."""


class TableData(Rows):
    """See the module's docstring.

    Args:
        title: Name of the data set in its spec, in messages and checkpoints.
        columns: By name of a quantity, where it stands in the files and what it is: see
            :func:`~simulacra.formats.table_columns.columns_of`.
        loading, observables, published, root, files, view: As of
            :class:`~simulacra.data.file_data.FileDataModule`; a table of one's own has no public files.
        particles, resonances: Which columns are four-momenta, and of what: see
            :func:`~simulacra.formats.table_particles.particles_of`.
    """

    def __init__(
        self,
        title: str,
        columns: Mapping[str, Mapping[str, Any] | None],
        loading: Loading,
        observables: Callable[[Spec], ObservableSet] = TableObservables,
        published: Published = OWN,
        root: str | None = None,
        files: Files | None = None,
        view: Callable[[Spec], View] | None = None,
        particles: Mapping[str, Mapping[str, Any]] | None = None,
        resonances: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        known = columns_of(columns)
        form = TableFiles(title, known, *particles_of(particles or {}, resonances or {}, known))
        super().__init__(form, observables, published, loading, root, files, view)
