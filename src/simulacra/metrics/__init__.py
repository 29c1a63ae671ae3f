"""Metrics with floors and errors, the classifier tests, and the evaluation that runs them all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulacra.core.lazy import lazily

if TYPE_CHECKING:
    from simulacra.metrics.engine.result import EvaluationResult
    from simulacra.metrics.engine.suite import Evaluator, evaluate
    from simulacra.metrics.samples import Measurement, boosted, fpd, kpd, prdc, separation, w1

__all__ = [
    "EvaluationResult",
    "Evaluator",
    "Measurement",
    "boosted",
    "evaluate",
    "fpd",
    "kpd",
    "prdc",
    "separation",
    "w1",
]

# tables and pages of figures need no judge, which takes a second
__getattr__ = lazily(
    __name__,
    {
        "engine.result": "EvaluationResult",
        "engine.suite": "Evaluator evaluate",
        "samples": "Measurement boosted fpd kpd prdc separation w1",
    },
)


def __dir__() -> list[str]:
    return sorted(__all__)
