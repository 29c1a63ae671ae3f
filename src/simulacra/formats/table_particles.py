"""Which columns of a table are four-momenta, from a configuration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from simulacra.core import Particle, Resonance, UserError
from simulacra.core.momenta import check_decays
from simulacra.formats.table_columns import Column


def particles_of(
    settings: Mapping[str, Mapping[str, Any]],
    decays: Mapping[str, Sequence[str]],
    columns: Sequence[Column],
) -> tuple[tuple[Particle, ...], tuple[Resonance, ...]]:
    """Particles and the resonances that they come from.

    Args:
        settings: By name of a particle ``columns``, the names of those of its energy and of the three
            components of its momentum, and ``mass``, if it is the same in all events.
        decays: By name of a resonance the particles that it decays to.
        columns: All columns.

    Raises:
        UserError: For a setting or column that is not known, or what cannot be.
    """
    features = [column.name for column in columns if column.use == "feature" and not column.weighs]
    try:
        particles = tuple(_particle(name, dict(item), features) for name, item in settings.items())
        resonances = tuple(Resonance(name, tuple(parts)) for name, parts in decays.items())
        check_decays(particles, resonances, len(features))
    except ValueError as error:
        raise UserError(f"the table cannot hold these particles: {error}") from error
    return particles, resonances


def _particle(name: str, settings: dict[str, Any], features: Sequence[str]) -> Particle:
    unknown = sorted(set(settings) - {"columns", "mass"})
    if unknown:
        raise UserError(f"particle {name!r} has columns and a mass, not {', '.join(unknown)}")
    wanted = list(settings.get("columns", ()))
    missing = [column for column in wanted if column not in features]
    if missing or len(wanted) != 4:
        raise UserError(
            f"particle {name!r} needs the names of four features, energy and momentum, got {wanted}"
        )
    energy, *space = (features.index(column) for column in wanted)
    return Particle(name, (energy, space[0], space[1], space[2]), settings.get("mass"))
