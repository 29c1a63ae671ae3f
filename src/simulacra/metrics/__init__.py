"""Metrics with floors and errors, the classifier tests, and the evaluation that runs them all."""

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
