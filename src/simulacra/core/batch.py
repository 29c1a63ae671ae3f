"""Values that travel between loaders, modules, metrics and files.

Outside a module every number is in the physical unit that the data set's
:class:`~simulacra.core.spec.Spec` names; only a :class:`Latent` holds normalised values, and it
never leaves a module.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn, Protocol

import numpy as np
import torch
from torch import Tensor

from simulacra.core.errors import UserError
from simulacra.core.numbers import numbers
from simulacra.core.weights import check_weight, weighted_mean

Index = slice | Tensor | Sequence[int]


def _map(values: Mapping[str, Tensor], function: Callable[[Tensor], Tensor]) -> dict[str, Tensor]:
    return {name: function(value) for name, value in values.items()}


@dataclass(frozen=True)
class Conditions:
    """What a generator is asked for.

    Args:
        n: Number of events; explicit, since some data sets have no condition.
        values: One tensor ``(n, dim)`` per field, physical units, int64 for classes.
    """

    n: int
    values: dict[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, value in self.values.items():
            if value.ndim != 2 or value.shape[0] != self.n:
                raise UserError(
                    f"condition {name!r} has shape {tuple(value.shape)}, expected ({self.n}, dim)"
                )

    @classmethod
    def of(cls, values: Mapping[str, object], n: int | None = None) -> Conditions:
        """Conditions from scalars, lists, arrays or tensors.

        Args:
            values: By name one value for all events, or one per event: ``(n,)``, or ``(n, dim)`` where a
                field has several components.
            n: Number of events, or None: as many as the values are, one where all are scalars.

        Raises:
            UserError: If values are no numbers, not finite, or not as many as the events.

        Examples:
            >>> Conditions.of({"incident_energy": [1000.0, 2000.0], "class": 3}).values["class"]
            tensor([[3],
                    [3]])
        """
        found = {name: numbers(value, f"condition {name!r}") for name, value in values.items()}
        lengths = {name: len(value) for name, value in found.items() if value.ndim}
        events = next(iter(lengths.values()), 1) if n is None else n
        for name, length in lengths.items():
            if length != events or found[name].ndim > 2:
                raise UserError(
                    f"condition {name!r} has the shape {tuple(found[name].shape)}: {events} events take "
                    f"one value for all, ({events},) or ({events}, components)"
                )
        for name, value in found.items():
            if not bool(torch.isfinite(value).all()):
                raise UserError(f"condition {name!r} holds NaN or infinite values")
        columns = {
            name: value.reshape(-1, 1) if value.ndim < 2 else value for name, value in found.items()
        }
        return cls(
            events,
            {
                name: (value.float() if value.is_floating_point() else value).expand(
                    events, value.shape[1]
                )
                for name, value in columns.items()
            },
        )

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, index: Index) -> Conditions:
        n = len(torch.arange(self.n)[index])
        return Conditions(n, _map(self.values, lambda value: value[index]))

    def to(self, device: torch.device | str) -> Conditions:
        """Copy on a device."""
        return Conditions(self.n, _map(self.values, lambda value: value.to(device)))

    @staticmethod
    def cat(parts: Sequence[Conditions]) -> Conditions:
        """One after the other."""
        names = parts[0].values
        return Conditions(
            sum(p.n for p in parts), {k: torch.cat([p.values[k] for p in parts]) for k in names}
        )


class FileFormat(Protocol):
    """A public file format, such as ``simulacra.dataset("ds1_photons").format``."""

    def write(self, path: Path | str, batch: Batch) -> None:
        """Write events as a file."""


@dataclass(frozen=True)
class Batch:
    """Events in physical units.

    Args:
        x: Values ``(B, *spec.shape)``.
        cond: Conditions by name, each ``(B, dim)``.
        event: Further truths per event by name, each ``(B, dim)``.
        mask: True for real points of a cloud, bool ``(B, N)``; ``x`` is exactly 0 where it is
            False.
        weight: Event weights ``(B,)``, finite, or None for unit weights.
    """

    x: Tensor
    cond: dict[str, Tensor] = field(default_factory=dict)
    event: dict[str, Tensor] = field(default_factory=dict)
    mask: Tensor | None = None
    weight: Tensor | None = None

    def __len__(self) -> int:
        return self.x.shape[0]

    def __getitem__(self, index: Index) -> Batch:
        if isinstance(index, range) and index.step > 0:  # no copy
            index = slice(index.start, index.stop, index.step)
        return self._apply(lambda value: value[index])

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Batch:
        """Copy on a device."""
        return self._apply(lambda value: value.to(device, non_blocking=non_blocking))

    def clone(self) -> Batch:
        """Copy in memory of its own, of tensors that gradients can be asked of, whatever these come from."""
        return self._apply(torch.clone)

    def pin_memory(self) -> Batch:
        """Copy in page-locked memory, called by loaders with ``pin_memory``."""
        return self._apply(lambda value: value.pin_memory())

    def numpy(self) -> dict[str, np.ndarray[Any, np.dtype[Any]]]:
        """Arrays by name: ``x``, the conditions and event fields, and ``mask`` and ``weight`` where there are
        any.

        Raises:
            UserError: If a field has one of these names.

        Examples:
            >>> Batch(torch.zeros(2, 3), {"energy": torch.ones(2, 1)}).numpy()["energy"].shape
            (2, 1)
        """
        own = {"x": self.x, "mask": self.mask, "weight": self.weight}
        taken = own.keys() & {*self.cond, *self.event}
        if taken:
            raise UserError(f"a field of the events is called {min(taken)!r}, as a part of them is")
        tensors = {**own, **self.cond, **self.event}
        return {
            name: value.detach().cpu().numpy()
            for name, value in tensors.items()
            if value is not None
        }

    def __array__(self, dtype: object = None, copy: bool | None = None) -> NoReturn:
        """Events are several arrays.

        Raises:
            UserError: Always; the message says how to get at them.
        """
        raise UserError(
            "a Batch is several arrays: batch.numpy() gives all by name, batch.x.numpy() the values alone"
        )

    def awkward(self, names: Sequence[str] | None = None) -> Any:
        """The real points of each event of a cloud as a jagged array of the package awkward.

        Args:
            names: Names of the features, e.g. ``[field.name for field in spec.features]``, which become
                those of a record; None: an array of events, points and features.

        Raises:
            UserError: If the events are no clouds, the package is missing, or names are not one per feature.

        Examples:
            >>> x = torch.tensor([[[1.0, 2.0], [0.0, 0.0]]])
            >>> Batch(x, mask=torch.tensor([[True, False]])).awkward(["eta", "phi"]).eta.tolist()
            [[1.0]]
        """
        try:
            import awkward
        except ImportError as error:
            raise UserError(
                "jagged arrays need the package awkward: install simulacra[root]"
            ) from error
        if self.mask is None or self.x.ndim != 3:
            raise UserError(
                f"events of shape {tuple(self.x.shape[1:])} without a mask are no clouds of points"
            )
        points = self.x[self.mask].detach().cpu().numpy()  # (points, F)
        counts = self.mask.sum(1).cpu().numpy()
        if names is None:
            return awkward.unflatten(points, counts)
        if len(names) != points.shape[1]:
            raise UserError(
                f"points have {points.shape[1]} features, got {len(names)} names: {list(names)}"
            )
        columns = zip(names, points.T, strict=True)
        return awkward.zip({name: awkward.unflatten(values, counts) for name, values in columns})

    def save(self, path: Path | str, format: FileFormat) -> None:
        """Write the events, in native form, as a file of a public format, all of it or nothing.

        Args:
            path: The file; an earlier one is replaced.
            format: The format of a data set, ``simulacra.dataset(NAME).format``.

        Raises:
            UserError: If the format cannot hold the events, or the file cannot be written.

        Examples:
            >>> import simulacra
            >>> data = simulacra.dataset("ds1_photons")
            >>> data.batch(10).save("ten.hdf5", format=data.format)
            >>> data.format.header("ten.hdf5").n
            10
        """
        if isinstance(format, str):
            raise UserError(
                f"the format is an object, that of a data set: simulacra.dataset({format!r}).format"
            )
        format.write(path, self)

    def conditions(self, names: Sequence[str] | None = None) -> Conditions:
        """The fields a generator is given: by default all conditions, else those named, from
        ``cond`` or ``event``.
        """
        known = {**self.event, **self.cond}
        wanted = list(self.cond) if names is None else names
        missing = [name for name in wanted if name not in known]
        if missing:
            raise UserError(f"the events lack {missing}: they have {sorted(known)}")
        n = self.x.shape[0]  # its length would be a fixed number in an exported graph
        return Conditions(n, {name: known[name] for name in wanted})

    def weight_or_one(self) -> Tensor:
        """Event weights ``(B,)``, ones where there are none."""
        return torch.ones(len(self), device=self.x.device) if self.weight is None else self.weight

    def validate(self, signed: bool = False) -> None:
        """Check what holds for every data set.

        Args:
            signed: Whether event weights may be negative.

        Raises:
            UserError: For lengths that differ, NaN or infinity, values outside the mask, or weights that
                are none.
        """
        tensors = {"x": self.x, **self.cond, **self.event}
        for name, value in tensors.items():
            if value.shape[0] != len(self):
                raise UserError(
                    f"field {name!r} has {value.shape[0]} entries for {len(self)} events"
                )
            if value.is_floating_point() and not _finite(value):
                raise UserError(
                    f"field {name!r} holds {int((~torch.isfinite(value)).sum())} NaN or infinite values"
                )
        for name, value in (*self.cond.items(), *self.event.items()):
            if value.ndim != 2:
                raise UserError(
                    f"field {name!r} has shape {tuple(value.shape)}, expected ({len(self)}, dim)"
                )
        if self.mask is not None:
            if self.mask.dtype != torch.bool or self.mask.shape != self.x.shape[:2]:
                raise UserError(
                    f"the mask is {self.mask.dtype} {tuple(self.mask.shape)}, expected bool (B, N)"
                )
            if bool((self.x[~self.mask] != 0).any()):
                raise UserError("points outside the mask must be exactly 0")
        if self.weight is not None:
            check_weight(self.weight, len(self), signed)

    @staticmethod
    def cat(parts: Sequence[Batch]) -> Batch:
        """One after the other; where some parts have weights, the events of the others weigh one.

        Raises:
            UserError: If the parts do not hold the same fields.
        """
        first = parts[0]
        masks = [part.mask for part in parts if part.mask is not None]
        for part in parts:
            if part.cond.keys() != first.cond.keys() or part.event.keys() != first.event.keys():
                raise UserError(
                    f"events with the fields {sorted({**first.cond, **first.event})} and "
                    f"{sorted({**part.cond, **part.event})} cannot be joined: all need the same"
                )
        if masks and len(masks) < len(parts):
            raise UserError("events with a mask and events without one cannot be joined")
        weighted = any(part.weight is not None for part in parts)
        return Batch(
            torch.cat([part.x for part in parts]),
            {name: torch.cat([part.cond[name] for part in parts]) for name in first.cond},
            {name: torch.cat([part.event[name] for part in parts]) for name in first.event},
            torch.cat(masks) if masks else None,
            torch.cat([part.weight_or_one() for part in parts]) if weighted else None,
        )

    def _apply(self, function: Callable[[Tensor], Tensor]) -> Batch:
        return Batch(
            function(self.x),
            _map(self.cond, function),
            _map(self.event, function),
            None if self.mask is None else function(self.mask),
            None if self.weight is None else function(self.weight),
        )


@dataclass(frozen=True)
class Latent:
    """Normalised values inside a module.

    Args:
        x: One tensor per stage, e.g. ``{"shower": (B, D)}`` or ``{"jet": (B, 3), "points": (B, N,
            F)}``.
        cond: All given fields, scaled and concatenated ``(B, C)``, or None where nothing is given.
        mask: True for real points ``(B, N)``, or None.
        weight: Event weights ``(B,)``, or None for unit weights.
    """

    x: dict[str, Tensor]
    cond: Tensor | None = None
    mask: Tensor | None = None
    weight: Tensor | None = None

    def __len__(self) -> int:
        return next(iter(self.x.values())).shape[0]

    def __getitem__(self, index: Index) -> Latent:
        return Latent(
            _map(self.x, lambda value: value[index]),
            None if self.cond is None else self.cond[index],
            None if self.mask is None else self.mask[index],
            None if self.weight is None else self.weight[index],
        )

    def mean(self, values: Tensor) -> Tensor:
        """Mean of ``(B, *)`` over the weighted events and all other axes, a scalar."""
        return weighted_mean(values, self.weight)


def _finite(values: Tensor) -> bool:
    """Whether all values are: then their sum is, and it takes a tenth of the time; one that overflows says
    nothing.
    """
    return math.isfinite(float(values.sum())) or bool(torch.isfinite(values).all())
