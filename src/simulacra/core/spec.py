"""What a data set promises: shapes, units, geometry, conditions and their prior, known before a
file is opened.

A :class:`Spec` is plain data: it survives ``to_dict`` / ``from_dict`` unchanged and is stored in
every checkpoint, so that a checkpoint samples, thresholds and validates with no data file present.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields, replace
from dataclasses import field as declared
from typing import Literal

import torch
from torch import Tensor

from simulacra.core.batch import Batch
from simulacra.core.errors import UserError
from simulacra.core.geometry import Geometry
from simulacra.core.momenta import Particle, Resonance, check_decays
from simulacra.core.strict import read

Kind = Literal["grid", "layers", "cloud", "image", "table"]
LARGEST = 2**31
"""Values of one event, at most: more than a computer holds in a batch."""
Role = Literal["energy", "class", "count", "weight", "share", "rate", "detected", "genuine", "mass"]
"""What a field is to shared code, which asks for roles and never for names: the incident energy, the class of
an event, the number of its points, its weight, a point's share in its event, which sum to about one, a factor
on the mean number of hits, whether it has a detector level, and whether a particle level, the mass of what
decays in it."""


@dataclass(frozen=True)
class Field:
    """A quantity with its unit and allowed range.

    Args:
        name: Name of the quantity, the key in ``Batch.cond`` or ``Batch.event`` (or of a feature
            column of a cloud).
        unit: Unit, empty for a pure number.
        dim: Number of components.
        low: Smallest value, or None for no bound.
        high: Largest value, or None for no bound.
        log: Whether the quantity spans decades, so that networks and bins use its logarithm.
        classes: Names of the classes of a categorical field, whose values are int64 class numbers
            ``(B, 1)``.
        periodic: Whether ``high`` is the same place as ``low``, as of an angle; needs both bounds.
        role: What the quantity is to shared code, or None.
        integer: Whether values are whole numbers, as of a count.
    """

    name: str
    unit: str = ""
    dim: int = 1
    low: float | None = None
    high: float | None = None
    log: bool = False
    classes: tuple[str, ...] | None = None
    periodic: bool = False
    role: Role | None = None
    integer: bool = False

    def __post_init__(self) -> None:
        if self.dim < 1:
            raise ValueError(
                f"field {self.name!r} has {self.dim} components, it needs at least one"
            )
        if self.periodic and (self.low is None or self.high is None):
            raise ValueError(f"field {self.name!r} is periodic, so it needs both bounds")
        if self.classes is not None and (self.dim != 1 or len(self.classes) < 1):
            raise ValueError(
                f"field {self.name!r} has classes, so it needs dim 1 and at least one class"
            )
        if self.log and (self.low is None or self.low <= 0):
            raise ValueError(
                f"field {self.name!r} is logarithmic, so it needs a positive lower bound, got {self.low}"
            )

    @property
    def width(self) -> int:
        """Columns that the field takes as a network input: one per class, two per component that is periodic,
        else one per component.
        """
        if self.classes is not None:
            return len(self.classes)
        return 2 * self.dim if self.periodic else self.dim

    def nearest(self, x: Tensor) -> Tensor:
        """The allowed values that are nearest to real numbers; whole numbers and classes are rounded.

        NaN stays NaN, but for a class, which cannot be one.
        """
        if self.classes is not None:
            return x.round().clamp(0, len(self.classes) - 1).long()
        low = -torch.inf if self.low is None else self.low
        high = torch.inf if self.high is None else self.high
        return (x.round() if self.integer else x).clamp(low, high)


@dataclass(frozen=True)
class Prior:
    """How one condition is distributed, so that events can be drawn with no data file.

    Args:
        name: Name of the condition.
        kind: ``"discrete"`` (``values`` with ``weights``), ``"uniform"`` or ``"loguniform"``
            (``values = (low, high)``), ``"constant"`` (the same components ``values`` for every event).
        values: Values or bounds, in the field's unit.
        weights: Relative frequencies of discrete values, equal if empty.
    """

    name: str
    kind: Literal["discrete", "uniform", "loguniform", "constant"]
    values: tuple[float, ...]
    weights: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        ranged = self.kind in ("uniform", "loguniform")
        if ranged and (len(self.values) != 2 or self.values[0] > self.values[1]):
            raise ValueError(f"prior of {self.name!r} needs (low, high), got {self.values}")
        if not self.values or (self.weights and len(self.weights) != len(self.values)):
            raise ValueError(
                f"prior of {self.name!r} has {len(self.values)} values and {len(self.weights)} weights"
            )
        if self.weights and (min(self.weights) < 0 or sum(self.weights) <= 0):
            raise ValueError(
                f"prior of {self.name!r} has weights {self.weights}: they are frequencies"
            )
        if self.kind == "loguniform" and self.values[0] <= 0:
            raise ValueError(
                f"loguniform prior of {self.name!r} needs values above 0: {self.values}"
            )

    def draw(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """``n`` values, float32 ``(n, 1)``, of a constant ``(n, components)``, on the CPU."""
        if self.kind == "constant":
            return torch.tensor(self.values, dtype=torch.float32).repeat(n, 1)
        if self.kind == "discrete":
            weights = torch.tensor(self.weights or [1.0] * len(self.values), dtype=torch.float64)
            index = torch.multinomial(weights, n, replacement=True, generator=generator)
            return torch.tensor(self.values, dtype=torch.float64)[index].float()[:, None]
        unit = torch.rand(n, 1, generator=generator, dtype=torch.float64)
        low, high = self.values
        if self.kind == "uniform":
            return (low + (high - low) * unit).float()
        return torch.exp(math.log(low) + (math.log(high) - math.log(low)) * unit).float()


@dataclass(frozen=True)
class Spec:
    """Contract between data, model, metric and file; see the module's docstring.

    Args:
        name: Name of the data set (and, after a ``+``, of the view it is seen through).
        kind: ``"grid"`` events ``(L, rows, cols)``, ``"layers"`` ragged layers as flat ``(V,)``,
            ``"cloud"`` points ``(N, F)`` with a mask, ``"image"`` stacks ``(S, H, W)``, ``"table"``
            rows ``(F,)``.
        shape: Shape of one event.
        unit: Unit of the values (of the last feature for clouds of cells).
        features: The columns of a cloud or a table.
        conditions: What a generator may be asked for.
        event: Truths that a file also holds per event and that a generator makes unless they are
            given.
        geometry: Where the cells are (of a cloud those that its points are read out in), or None.
        threshold: Readout threshold: every non-zero cell is at or above it, and samples are cut
            there [``unit``].
        cut: Where the public evaluation cuts both truth and generated cells, at least ``threshold``
            [``unit``].
        prior: Distribution of each condition.
        sample_batch: Events that are generated at once unless the user says otherwise.
        signed: Whether event weights may be negative.
        response: Range in which the median of visible over incident energy lies, both in one unit; None
            where nothing is known of it. Events outside of it are remarked on, not refused.
        particles: Those whose four-momenta are features of a table.
        resonances: What such particles come from.
        simulator: What makes the true events, for legends: ``Geant4``, ``Pythia``; empty: not known.
    """

    name: str
    kind: Kind
    shape: tuple[int, ...]
    unit: str
    features: tuple[Field, ...] = ()
    conditions: tuple[Field, ...] = ()
    event: tuple[Field, ...] = ()
    geometry: Geometry | None = None
    threshold: float = 0.0
    cut: float = 0.0
    prior: tuple[Prior, ...] = ()
    sample_batch: int = 1024
    signed: bool = False
    response: tuple[float, float] | None = declared(default=None, compare=False)
    particles: tuple[Particle, ...] = declared(default=(), compare=False)
    resonances: tuple[Resonance, ...] = declared(default=(), compare=False)
    simulator: str = declared(default="", compare=False)

    def __post_init__(self) -> None:
        if not self.shape or min(self.shape) < 1 or self.n_voxels > LARGEST:
            raise ValueError(
                f"spec {self.name!r} has shape {self.shape}, it needs at least one value and takes up to "
                f"{LARGEST:,}"
            )
        if self.sample_batch < 1:
            raise ValueError(
                f"spec {self.name!r} has sample_batch {self.sample_batch}, it is at least 1"
            )
        names = [field.name for field in (*self.conditions, *self.event)]
        if len(set(names)) != len(names):
            raise ValueError(f"spec {self.name!r} names a field twice: {names}")
        if self.kind in ("cloud", "table") and len(self.features) != self.shape[-1]:
            raise ValueError(
                f"spec {self.name!r} has {len(self.features)} features for shape {self.shape}"
            )
        voxels = self.n_voxels if self.geometry is None else self.geometry.n_voxels
        if self.kind in ("grid", "layers", "image") and voxels != self.n_voxels:
            raise ValueError(f"spec {self.name!r}: shape {self.shape}, geometry {voxels} voxels")
        if self.cut < self.threshold:
            raise ValueError(
                f"spec {self.name!r}: cut {self.cut} is below the threshold {self.threshold}"
            )
        check_decays(self.particles, self.resonances, len(self.features))
        unknown = {prior.name for prior in self.prior} - {field.name for field in self.conditions}
        if unknown:
            raise ValueError(
                f"spec {self.name!r} has a prior for {sorted(unknown)}, which it does not condition on"
            )

    @property
    def n_voxels(self) -> int:
        """Values per event."""
        return math.prod(self.shape)

    def field(self, name: str) -> Field:
        """The condition or event field of that name.

        Raises:
            UserError: If there is none.
        """
        for field in (*self.conditions, *self.event):
            if field.name == name:
                return field
        known = ", ".join(field.name for field in (*self.conditions, *self.event)) or "none"
        raise UserError(
            f"data set {self.name} has no condition or event field {name!r}: it has {known}"
        )

    @property
    def roles(self) -> dict[Role, Field]:
        """Fields by role: the first with each, conditions before event fields before features."""
        fields = (*self.conditions, *self.event, *self.features)
        return {field.role: field for field in reversed(fields) if field.role is not None}

    def by_role(self, role: Role) -> Field:
        """The field that has the role.

        Raises:
            UserError: If there is none.
        """
        if role not in self.roles:
            known = ", ".join(self.roles) or "none"
            raise UserError(
                f"data set {self.name} has no field with the role '{role}': it has {known}"
            )
        return self.roles[role]

    def with_(self, **changes: object) -> Spec:
        """A copy with some fields replaced."""
        return replace(self, **changes)  # type: ignore[arg-type]  # dataclasses.replace checks the names

    def validate(self, batch: Batch) -> None:
        """Check a batch in physical units against the spec.

        Raises:
            UserError: For a wrong shape, a missing field, NaN or infinity, a negative cell, values
                outside the mask, a class that is none, weights that are none.
        """
        batch.validate(self.signed)
        if tuple(batch.x.shape[1:]) != self.shape:
            raise UserError(
                f"{self.name} events have shape {self.shape}, got {tuple(batch.x.shape[1:])}"
            )
        if self.kind == "cloud" and batch.mask is None:
            raise UserError(f"{self.name} events are clouds, but the batch has no mask")
        if self.kind in ("grid", "layers", "image") and len(batch) and float(batch.x.min()) < 0:
            raise UserError(
                f"{self.name} events hold a negative {self.unit} value: {float(batch.x.min()):.6g}"
            )
        for group, wanted in ((batch.cond, self.conditions), (batch.event, self.event)):
            for field in wanted:
                if field.name not in group:
                    raise UserError(
                        f"{self.name} events need the field {field.name!r}, which the batch lacks"
                    )
                if group[field.name].shape[1] != field.dim:
                    raise UserError(
                        f"field {field.name!r} of {self.name} has {field.dim} components, "
                        f"got {group[field.name].shape[1]}"
                    )
                if field.classes is not None and not torch.equal(
                    field.nearest(group[field.name]).to(group[field.name]), group[field.name]
                ):
                    raise UserError(
                        f"field {field.name!r} of {self.name} is the number of a class, from 0 to "
                        f"{len(field.classes) - 1}, and other values are among its events"
                    )

    def to_dict(self) -> dict[str, object]:
        """Plain types only: strings, numbers, tuples and dicts."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        for key in ("features", "conditions", "event", "prior", "particles", "resonances"):
            values[key] = [asdict(item) for item in values[key]]
        values["geometry"] = None if self.geometry is None else self.geometry.to_dict()
        return values

    @classmethod
    def from_dict(cls, values: object) -> Spec:
        """Inverse of :meth:`to_dict`.

        Raises:
            UserError: If entries are missing or unknown, as for a spec written by another version, or are of
                another type than they should be.
        """
        found: Spec = read(cls, values, "the spec")
        return found
