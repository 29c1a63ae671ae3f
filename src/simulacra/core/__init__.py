"""Data types that every part shares: no ``torch.nn``, no input or output."""

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
