"""Observables of every kind of data: pure functions of batches in physical units."""

from simulacra.physics.base import Axis, Image, ObservableSet, Profile, ResponseBin

__all__ = ["Axis", "Image", "ObservableSet", "Profile", "ResponseBin"]
