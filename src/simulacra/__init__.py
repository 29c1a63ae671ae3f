"""simulacra: generative models of particle detectors and collisions, one command for any model,
data set and trainer.

In a notebook: :func:`dataset`, :func:`load`, :func:`evaluate`, :mod:`simulacra.metrics`.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING

from simulacra.core.lazy import lazily

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

# torch takes a second, and the package itself should not
__getattr__ = lazily(
    __name__,
    {
        "core": "Batch Conditions UserError",
        "api": "anomaly_score dataset evaluate load",
        "metrics": "",
    },
)


def __dir__() -> list[str]:
    return sorted(__all__)
