"""Units: every tensor outside a module is in the unit that its :class:`~simulacra.core.spec.Spec`
names.

Energies are ``MeV`` or ``GeV``, lengths ``mm``, angles ``rad`` or ``deg``, pixel charges ``ADU``,
pure numbers ``""``.
"""

from __future__ import annotations

import math

_FACTORS = {
    "keV": 1e-3,
    "MeV": 1.0,
    "GeV": 1e3,
    "TeV": 1e6,
    "mm": 1.0,
    "cm": 10.0,
    "rad": 1.0,
    "deg": math.pi / 180.0,
}
_KINDS = {
    "keV": "energy",
    "MeV": "energy",
    "GeV": "energy",
    "TeV": "energy",
    "mm": "length",
    "cm": "length",
}
_KINDS |= {"rad": "angle", "deg": "angle"}


def factor(source: str, target: str) -> float:
    """Number by which a value in ``source`` units is multiplied to read in ``target`` units.

    Raises:
        ValueError: If the two are not units of the same quantity.
    """
    if source == target:
        return 1.0
    if source not in _FACTORS or target not in _FACTORS or _KINDS[source] != _KINDS[target]:
        raise ValueError(f"cannot convert from unit {source!r} to {target!r}")
    return _FACTORS[source] / _FACTORS[target]
