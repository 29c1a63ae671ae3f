"""simulacra: generative models of particle detectors and collisions, one command for any model,
data set and trainer.
"""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from simulacra.core import Batch
    from simulacra.training.generative import GenerativeModule
    from simulacra.training.module import Module

__version__ = version("simulacra")


def load(path: str | Path, *, allow: tuple[str, ...] = ()) -> Module:
    """A trained model, ready to be used, from its checkpoint alone; see
    :func:`simulacra.training.checkpoint.load`.
    """
    from simulacra.training import checkpoint  # torch takes a second; the package itself should not

    return checkpoint.load(path, allow=allow)


def anomaly_score(module: GenerativeModule, batch: Batch, reference: Batch | None = None) -> Tensor:
    """How unusual events are for a model with a likelihood, ``(B,)``, the higher the more; see
    :func:`simulacra.evaluation.anomaly.anomaly_score`.
    """
    from simulacra.evaluation import anomaly

    return anomaly.anomaly_score(module, batch, reference)
