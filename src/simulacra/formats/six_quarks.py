r"""Top pairs that decay to six quarks, as a table of their four-momenta (arXiv:1907.03764).

24 columns ``<quark>_<component>`` in GeV, with the components ``e``, ``px``, ``py``, ``pz`` of, in order,

- ``b``: the down-type quark of :math:`t \to W^+ b`,
- ``q1``, ``q2``: the up-type quark and the down-type antiquark of :math:`W^+ \to q \bar q'`,
- ``bbar``: the antiquark of :math:`\bar t \to W^- \bar b`,
- ``q3``, ``q4``: the up-type antiquark and the down-type quark of :math:`W^- \to \bar q q'`.

So both halves have the same order under the exchange of particles and antiparticles. The masses of b quarks
are Pythia's; those of light quarks are those of their flavours. Files are HDF5, CSV or Parquet.
"""

from __future__ import annotations

from simulacra.core import Field, Particle, Resonance
from simulacra.formats.table_columns import Column
from simulacra.formats.table_files import TableFiles

QUARKS = ("b", "q1", "q2", "bbar", "q3", "q4")
COMPONENTS = ("e", "px", "py", "pz")
MASSES = {"b": 4.8, "bbar": 4.8}
"""Of those quarks that have the same in all events [GeV]."""
RESONANCES = (
    Resonance("w_plus", ("q1", "q2")),
    Resonance("w_minus", ("q3", "q4")),
    Resonance("top", ("b", "q1", "q2")),
    Resonance("antitop", ("bbar", "q3", "q4")),
)


class SixQuarks(TableFiles):
    """Reader and writer of such tables."""

    def __init__(self) -> None:
        super().__init__("events", six_quark_columns(), six_quark_particles(), RESONANCES)
        self.spec = self.spec.with_(simulator="Pythia")


def six_quark_columns() -> tuple[Column, ...]:
    """The 24 columns."""
    fields = [
        Field(f"{quark}_{component}", "GeV", low=0.0 if component == "e" else None)
        for quark in QUARKS
        for component in COMPONENTS
    ]
    return tuple(Column(field, field.name) for field in fields)


def six_quark_particles() -> tuple[Particle, ...]:
    """The quarks, each with its four columns."""
    return tuple(
        Particle(quark, (4 * i, 4 * i + 1, 4 * i + 2, 4 * i + 3), MASSES.get(quark))
        for i, quark in enumerate(QUARKS)
    )
