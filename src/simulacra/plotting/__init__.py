"""Figures: arrays and axes in, figure out."""

from simulacra.plotting.figures import figures

__all__ = ["figures"]
