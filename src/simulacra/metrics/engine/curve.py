"""Curves that a score leaves to be drawn: one quantity over another, of true and of generated events."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulacra.physics.base import Axis

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Series:
    """Points with errors, and what was fitted to them.

    Args:
        x: Abscissas ``(K,)``.
        y: Values ``(K,)``.
        error: Their errors ``(K,)``.
        line: Abscissas and values of a fit ``((n,), (n,))``, or None: points are joined.
    """

    x: Array
    y: Array
    error: Array
    line: tuple[Array, Array] | None = None


@dataclass(frozen=True)
class Curve:
    """One panel.

    Args:
        axis: Label and unit of the abscissa, and whether it is logarithmic.
        label: Text of the values.
        unit: Their unit.
        reference: Of the truth.
        generated: Of generated events, at the same abscissas as those of the truth.
        further: Other series by name.
    """

    axis: Axis
    label: str
    unit: str
    reference: Series
    generated: Series
    further: Mapping[str, Series]

    @property
    def pulls(self) -> Array:
        """Differences of generated events from the truth ``(K,)`` in standard deviations; NaN where neither
        has an error.
        """
        error = np.hypot(self.reference.error, self.generated.error)
        with np.errstate(divide="ignore", invalid="ignore"):
            found: Array = np.where(
                error > 0, (self.generated.y - self.reference.y) / error, np.nan
            )
        return found
