"""Numbers with errors that are found in true and in generated events, and figures of their difference."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from simulacra.metrics.engine.columns import spread
from simulacra.metrics.engine.score import Figure


@dataclass(frozen=True)
class Estimate:
    r"""A number with its error.

    Args:
        value: The number.
        error: One standard deviation.
        plain: A number that says the same and whose fluctuation is that of a Gaussian, in which differences
            are counted in :math:`\sigma`; None: the number itself.
        plain_error: Its error.
    """

    value: float
    error: float
    plain: float | None = None
    plain_error: float = math.nan

    @classmethod
    def root(cls, free: Tensor, bound: float) -> Estimate:
        """The root of a square.

        Args:
            free: The square and its replicas ``(1 + R,)``, which may be negative.
            bound: The square as it is if it may not be.
        """
        value, error = math.sqrt(bound), spread(free[1:])
        return cls(value, math.sqrt(bound + error) - value, float(free[0]), error)

    def pull(self, truth: Estimate) -> float:
        r"""Difference from the truth in :math:`\sigma`; NaN without errors."""
        rows = [
            (item.value, item.error) if item.plain is None else (item.plain, item.plain_error)
            for item in (self, truth)
        ]
        error = math.hypot(rows[0][1], rows[1][1])
        return (rows[0][0] - rows[1][0]) / error if error > 0 else math.nan


def estimate(replicas: Tensor) -> Estimate:
    """From a number and its replicas ``(1 + R,)``."""
    return Estimate(float(replicas[0]), spread(replicas[1:]))


def difference(
    truth: Estimate,
    generated: Estimate,
    ideal: Estimate | None,
    relative: bool,
    draws: int | None,
    most: float,
) -> Figure:
    r"""Absolute difference from the truth, over the truth's number if it is ``relative``.

    Its details are both numbers with errors, that of the ideal sampler, and the difference in :math:`\sigma`
    with its sign.
    """
    scale = 1 / truth.value if relative and truth.value else math.nan if relative else 1.0
    value, error = generated.value - truth.value, math.hypot(truth.error, generated.error)
    if relative and truth.value:
        error = math.hypot(generated.error, truth.error * generated.value * scale)
    rows = {"truth": truth, "generated": generated, "ideal": ideal}
    details = {"sigma": generated.pull(truth)}
    for name, item in rows.items():
        if item is not None:
            details |= {name: item.value, f"{name}/error": item.error}
    return Figure(abs(value * scale), error * abs(scale), draws=draws, most=most, details=details)
