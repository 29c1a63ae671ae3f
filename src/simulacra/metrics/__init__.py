"""Metrics with floors and errors, the classifier tests, and the evaluation that runs them all."""

from simulacra.metrics.result import EvaluationResult
from simulacra.metrics.suite import Evaluator, evaluate

__all__ = ["EvaluationResult", "Evaluator", "evaluate"]
