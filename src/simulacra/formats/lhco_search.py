"""Dijets of the LHC Olympics (arXiv:2101.08320) as the table in which resonances are searched for.

Columns are the mass of the lighter jet, the difference to that of the heavier one [TeV] and the subjettiness
ratio of each, lighter first; the mass of both jets [TeV] is a condition, and whether an event is signal an
event field. They are derived from a features file (:mod:`simulacra.formats.lhco`) on reading. What is written
has these columns alone, under their names, and is read again as it stands.

A jet of one particle has no second axis: its ratio, which is not defined, counts as 0, the value of a jet of
two.

Reference: Hallin et al., arXiv:2109.00546, for the columns.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from simulacra.core import Field
from simulacra.core.dijets import dijets
from simulacra.formats.hdf5 import open_hdf5
from simulacra.formats.hdf5_data import present
from simulacra.formats.hdf5_writer import WEIGHT
from simulacra.formats.lhco import LABELS, VALUES, LhcoFeatures
from simulacra.formats.table import Cells
from simulacra.formats.table_columns import Column, table_spec
from simulacra.formats.table_hdf5 import TableHdf5


def search_columns() -> tuple[Column, ...]:
    """The columns, in the order of the publication."""
    features = (
        Field("m_light", "TeV", low=0.0),
        Field("m_difference", "TeV", low=0.0),
        Field("tau21_light", low=0.0),
        Field("tau21_heavy", low=0.0),
    )
    mass = Field("m_jj", "TeV", low=0.0, role="mass")
    signal = Field("signal", classes=LABELS, role="class")
    return (
        *(Column(field, field.name) for field in features),
        Column(mass, mass.name, use="condition"),
        Column(signal, signal.name, use="event"),
    )


class LhcoSearch(TableHdf5):
    """Reader of both kinds of file and writer of the second, see the module's docstring."""

    def __init__(self) -> None:
        super().__init__(table_spec("lhco_search", search_columns()), search_columns())
        self.given = LhcoFeatures()

    def measure(
        self, path: Path, columns: Sequence[Column]
    ) -> tuple[int, dict[str, tuple[int, ...]]]:
        """See the base class."""
        if derived(path):
            return self.given.measure(path, self.given.columns_of(path))
        return super().measure(path, columns)

    def cells(
        self, path: Path, start: int, stop: int, step: int, columns: Sequence[Column]
    ) -> Iterator[Cells]:
        """See the base class."""
        if not derived(path):
            yield from super().cells(path, start, stop, step, columns)
            return
        wanted = self.given.columns_of(path)
        for part in self.given.cells(path, start, stop, step, wanted):
            yield self._derived(part, path, start)
            start += step

    def _derived(self, part: Cells, path: Path, start: int) -> Cells:
        """Columns of the table from those of a features file, which are checked."""
        batch = self.given.decode(part, path, start)
        names = [field.name for field in self.given.spec.features]
        found = dijets(dict(zip(names, batch.x.unbind(1), strict=True)))
        cells = {name: values.nan_to_num(0.0).float().numpy() for name, values in found.items()}
        cells["signal"] = batch.cond["label"][:, 0].numpy()
        if batch.weight is not None:
            cells[WEIGHT] = batch.weight.numpy()
        return cells


def derived(path: Path) -> bool:
    """Whether a file is one of features, from which the columns are derived."""
    with open_hdf5(path) as file:
        return present(file, path, VALUES)
