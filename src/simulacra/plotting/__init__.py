"""Figures: arrays and axes in, figure out."""

from simulacra.plotting.figures import figures, panels

__all__ = ["figures", "panels"]
