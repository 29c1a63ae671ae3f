"""Table-Flow: a normalising flow of splines of all columns of a table.

Generates: rows of any columns, continuous, whole or classes, with point masses and periodic ones, together
    with those event fields that are not given.
Conditions: the columns that are conditions, and any event field listed in ``given``; none are needed.
Representation: tables.
Reference: Durkan, Bekasov, Murray, Papamakarios 2019, arXiv:1906.04032, for the splines.

Note:
    The model is our own, so that no size of it is published. Its likelihood is that of the normal vectors,
    with the noise that fills the intervals of point masses and the radii of periodic columns, so that rows
    have no ``log_prob``. Any other :class:`~simulacra.dynamics.density.Density` may take the flow's place.
"""

from __future__ import annotations

from simulacra.models.tables.table import TableModel


class TableFlow(TableModel):
    """A density with an exact likelihood of all columns, by maximum likelihood."""
