"""Columns of a table: where a quantity stands in a file, and what it is.

A column is a feature of the table, a condition or an event field; one with the role ``weight`` holds the
event weights and is none of these.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from simulacra.core import Field, Particle, Resonance, Spec, UserError

Use = Literal["feature", "condition", "event"]
SAMPLE_BATCH = 8192
"""Rows that are generated at once unless the user says otherwise."""


@dataclass(frozen=True)
class Column:
    """One quantity of a table.

    Args:
        field: Its name, unit, range and kind.
        key: Where it stands: a data set of an HDF5 file, with ``/`` below groups, or a column's title.
        index: Which column of an HDF5 data set ``(N, k)``; None for one of a single column.
        use: Whether it is a feature of the table, a condition or an event field.
    """

    field: Field
    key: str
    index: int | None = None
    use: Use = "feature"

    @property
    def name(self) -> str:
        """Name of the quantity."""
        return self.field.name

    @property
    def title(self) -> str:
        """Title of the column in files whose columns have one name each: ``key`` or ``key[index]``."""
        return self.key if self.index is None else f"{self.key}[{self.index}]"

    @property
    def weighs(self) -> bool:
        """Whether it holds the event weights."""
        return self.field.role == "weight"

    @property
    def numeric(self) -> bool:
        """Whether its cells are numbers; the names of classes may be text."""
        try:
            self.values()
        except ValueError:
            return False
        return True

    def values(self) -> NDArray[np.float64]:
        """The names of the classes as numbers.

        Raises:
            ValueError: If they are none.
        """
        return np.array([float(name) for name in self.field.classes or ()])


def columns_of(settings: Mapping[str, Mapping[str, Any] | None]) -> tuple[Column, ...]:
    """Columns from a configuration: by name ``key`` (None: the name), ``index``, ``use`` and the arguments
    of :class:`~simulacra.core.Field`; a column that is None is left out.

    Raises:
        UserError: For an unknown setting, a column that cannot be, two at the same place, or no feature.
    """
    columns = tuple(
        _column(name, dict(item)) for name, item in settings.items() if item is not None
    )
    titles = [column.title for column in columns]
    twice = sorted({title for title in titles if titles.count(title) > 1})
    if twice:
        raise UserError(f"two columns of the table stand in the same place: {', '.join(twice)}")
    if sum(column.weighs for column in columns) > 1:
        raise UserError("a table has one column of weights at most")
    if not any(column.use == "feature" and not column.weighs for column in columns):
        raise UserError("a table needs at least one column that is a feature")
    return columns


def _column(name: str, settings: dict[str, Any]) -> Column:
    known = {item.name for item in fields(Field)} - {"name", "dim"} | {"key", "index", "use"}
    unknown = sorted(set(settings) - known)
    if unknown:
        raise UserError(
            f"column {name!r} of the table has no setting {', '.join(unknown)}: "
            f"it has {', '.join(sorted(known))}"
        )
    place = {key: settings.pop(key) for key in ("key", "index", "use") if key in settings}
    use = place.get("use", "feature")
    if use not in get_args(Use):
        raise UserError(f"column {name!r} is used as {', '.join(get_args(Use))}, got {use!r}")
    classes = settings.pop("classes", None)
    labels = None if classes is None else tuple(str(label) for label in classes)
    if settings.get("role") == "weight" and settings.get("low") is None:
        settings["low"] = 0.0  # negative weights are for those who ask for them
    try:
        field = Field(name, classes=labels, **settings)
    except ValueError as error:
        raise UserError(f"column {name!r} cannot be: {error}") from error
    return Column(field, place.get("key") or name, place.get("index"), use)


def table_spec(
    name: str,
    columns: Sequence[Column],
    particles: Sequence[Particle] = (),
    resonances: Sequence[Resonance] = (),
) -> Spec:
    """What a table of these columns promises, some of which may be four-momenta."""
    parts = {
        use: tuple(c.field for c in columns if c.use == use and not c.weighs)
        for use in get_args(Use)
    }
    lowest = [column.field.low for column in columns if column.weighs]
    return Spec(
        name=name,
        kind="table",
        shape=(len(parts["feature"]),),
        unit="",
        features=parts["feature"],
        conditions=parts["condition"],
        event=parts["event"],
        sample_batch=SAMPLE_BATCH,
        signed=any(low is not None and low < 0 for low in lowest),
        particles=tuple(particles),
        resonances=tuple(resonances),
    )
