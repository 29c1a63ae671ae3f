"""What a module remembers of how it was made: configuration, trained range and provenance, plain
types only.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from simulacra.core import Conditions, Prior, UserError
from simulacra.core.plain import check_plain
from simulacra.core.strict import read as typed

FORMAT_VERSION = 2
"""Version of the ``simulacra`` entry of a checkpoint; readers refuse older and newer ones. Since 2 models are
composed of parts."""

log = logging.getLogger(__name__)


@dataclass
class Record:
    """Origin of a module.

    Args:
        config: Resolved configuration of the run.
        trained_range: Smallest and largest value of each field in the training events.
        provenance: Data files with hashes, package versions, git commit.
        conditions: Conditions of some training events, as they occur together; None where they are not known,
            as in checkpoints that do not remember them.
        learnt: Hashes of the rows that were learnt from by name of the sample, each sorted; empty where they
            are not remembered. Rows are known again by :func:`simulacra.core.rows.known`.
    """

    config: dict[str, Any] = field(default_factory=dict)
    trained_range: dict[str, tuple[float, float]] = field(default_factory=dict)
    provenance: dict[str, str] = field(default_factory=dict)
    conditions: Conditions | None = None
    learnt: dict[str, Tensor] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain types."""
        return {
            "format_version": FORMAT_VERSION,
            "config": self.config,
            "trained_range": {name: list(bounds) for name, bounds in self.trained_range.items()},
            "provenance": self.provenance,
            "trained_conditions": None if self.conditions is None else self.conditions.values,
            "learnt": self.learnt,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Record:
        """Inverse of :meth:`to_dict`.

        Raises:
            UserError: If an entry is missing or of another type than it should be, or the configuration is
                not plain.
        """
        config = values.get("config")
        if not isinstance(config, dict):
            raise UserError(f"its config is a {type(config).__name__}, expected a table")
        check_plain(config, "its config")
        ranges = typed(
            dict[str, tuple[float, float]], values.get("trained_range"), "its trained_range"
        )
        for name, (low, high) in ranges.items():
            if low > high:
                raise UserError(f"its trained_range of {name} runs from {low:g} down to {high:g}")
        provenance = typed(dict[str, str], values.get("provenance"), "its provenance")
        cond, rows = _remembered(values.get("trained_conditions")), _rows(values.get("learnt"))
        return cls(config, ranges, provenance, cond, rows)

    def draw(
        self, n: int, names: Sequence[str], generator: torch.Generator | None = None
    ) -> Conditions | None:
        """``n`` conditions as in training, with replacement; fields of one event stay together.

        Returns:
            The fields ``names``; None where they are not remembered.
        """
        known = self.conditions
        if known is None or not all(name in known.values for name in names):
            return None
        rows = torch.randint(len(known), (n,), generator=generator)
        return Conditions(n, {name: known.values[name][rows] for name in names})

    def warn_outside(self, cond: Conditions) -> None:
        """One warning per field that is asked for outside the trained range."""
        for name, value in cond.values.items():
            if name not in self.trained_range:
                continue
            low, high = self.trained_range[name]
            slack = 1e-6 * max(abs(low), abs(high))
            outside = int(((value < low - slack) | (value > high + slack)).sum())
            if outside:
                log.warning(
                    "%d of %d values of %s lie outside the trained range %g to %g",
                    outside,
                    len(cond),
                    name,
                    low,
                    high,
                )

    def narrow(self, prior: Prior) -> Prior:
        """The part of a prior that lies in the trained range."""
        if prior.name not in self.trained_range or prior.kind == "constant":
            return prior
        low, high = self.trained_range[prior.name]
        if prior.kind != "discrete":
            return replace(prior, values=(max(prior.values[0], low), min(prior.values[1], high)))
        slack = 1e-6 * max(abs(low), abs(high))
        weights = prior.weights or (1.0,) * len(prior.values)
        kept = [
            (v, w)
            for v, w in zip(prior.values, weights, strict=True)
            if low - slack <= v <= high + slack
        ]
        return replace(prior, values=tuple(v for v, _ in kept), weights=tuple(w for _, w in kept))


def _rows(values: object) -> dict[str, Tensor]:
    """Hashes of rows that were learnt from, from a checkpoint.

    Raises:
        UserError: If they are none.
    """
    refused = UserError("its entry 'learnt' holds no sorted hashes of rows by name of the sample")
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise refused
    for name, rows in values.items():
        sound = isinstance(name, str) and isinstance(rows, Tensor) and rows.ndim == 1
        if not sound or rows.dtype != torch.int64 or rows.layout != torch.strided:
            raise refused
        if bool((rows.diff() < 0).any()):
            raise refused
    return dict(values)


def _remembered(values: object) -> Conditions | None:
    """Conditions of training events from a checkpoint.

    Raises:
        UserError: If they are not one column of finite numbers per event and component.
    """
    if values is None:
        return None
    refused = UserError(
        "its trained_conditions are no columns of finite numbers, one row per event"
    )
    if not isinstance(values, dict):
        raise refused
    rows = -1
    for name, column in values.items():
        if not isinstance(name, str) or not isinstance(column, Tensor) or column.ndim != 2:
            raise refused
        if column.dtype not in (torch.float32, torch.int64) or column.layout != torch.strided:
            raise refused
        if not len(column) or (rows not in (-1, len(column))):
            raise refused
        if not bool(torch.isfinite(column).all()):
            raise refused
        rows = len(column)
    return Conditions(rows, dict(values)) if values else None
