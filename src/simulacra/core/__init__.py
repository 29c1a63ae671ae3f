"""Data types that every part shares: no ``torch.nn``, no input or output."""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulacra.core.lazy import lazily

if TYPE_CHECKING:
    from simulacra.core.batch import Batch, Conditions, Latent
    from simulacra.core.errors import FormatError, IncompatibleError, UserError
    from simulacra.core.geometry import Geometry, Layer, regular_grid
    from simulacra.core.layout import Layout, Levels
    from simulacra.core.momenta import Particle, Resonance
    from simulacra.core.spec import Field, Prior, Role, Spec
    from simulacra.core.weights import (
        check_weight,
        counted_mean,
        event_mean,
        refuse_weights,
        weighted_mean,
    )

__all__ = [
    "Batch",
    "Conditions",
    "Field",
    "FormatError",
    "Geometry",
    "IncompatibleError",
    "Latent",
    "Layer",
    "Layout",
    "Levels",
    "Particle",
    "Prior",
    "Resonance",
    "Role",
    "Spec",
    "UserError",
    "check_weight",
    "counted_mean",
    "event_mean",
    "refuse_weights",
    "regular_grid",
    "weighted_mean",
]

# errors, ranges and files need no torch, and the command line neither
__getattr__ = lazily(
    __name__,
    {
        "batch": "Batch Conditions Latent",
        "errors": "FormatError IncompatibleError UserError",
        "geometry": "Geometry Layer regular_grid",
        "layout": "Layout Levels",
        "momenta": "Particle Resonance",
        "spec": "Field Prior Role Spec",
        "weights": "check_weight counted_mean event_mean refuse_weights weighted_mean",
    },
)


def __dir__() -> list[str]:
    return sorted(__all__)
