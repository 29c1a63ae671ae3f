"""simulacra: generative models of particle detectors and collisions, one command for any model,
data set and trainer.

In a notebook: :func:`dataset`, :func:`load`, :func:`evaluate`, :mod:`simulacra.metrics`.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from simulacra import metrics
    from simulacra.api import anomaly_score, dataset, evaluate, load
    from simulacra.core import Batch, Conditions, UserError

__all__ = [
    "Batch",
    "Conditions",
    "UserError",
    "__version__",
    "anomaly_score",
    "dataset",
    "evaluate",
    "load",
    "metrics",
]

__version__ = version("simulacra")

_PLACES = {
    "Batch": "simulacra.core",
    "Conditions": "simulacra.core",
    "UserError": "simulacra.core",
    "anomaly_score": "simulacra.api",
    "dataset": "simulacra.api",
    "evaluate": "simulacra.api",
    "load": "simulacra.api",
}


def __getattr__(name: str) -> Any:
    """Import what is asked for: torch takes a second, and the package itself should not."""
    if name == "metrics":
        return import_module("simulacra.metrics")
    if name not in _PLACES:
        raise AttributeError(f"module 'simulacra' has no attribute {name!r}")
    return getattr(import_module(_PLACES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
