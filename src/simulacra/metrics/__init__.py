"""Metrics with floors and errors, the classifier tests, and the evaluation that runs them all."""

from simulacra.metrics.engine.result import EvaluationResult
from simulacra.metrics.engine.suite import Evaluator, evaluate

__all__ = ["EvaluationResult", "Evaluator", "evaluate"]
