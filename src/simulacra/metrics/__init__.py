"""Metrics with floors and errors, the classifier tests, and the evaluation that runs them all."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

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

_PLACES = {
    "engine.result": "EvaluationResult",
    "engine.suite": "Evaluator evaluate",
    "samples": "Measurement boosted fpd kpd prdc separation w1",
}
"""Modules with their public names."""
_MODULE = {name: module for module, names in _PLACES.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    """Import what is asked for: tables and pages of figures need no judge, which takes a second."""
    if name not in _MODULE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(import_module(f"{__name__}.{_MODULE[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted(__all__)
