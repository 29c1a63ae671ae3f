"""Standardisation of a shower's cells, by statistics of the training events that the transform keeps.

Most cells of a shower are empty, and their number decides means and widths unless they are left out:
:class:`AllCells` has one mean and one width for all cells, with or without the empty ones, :class:`EachCell`
those of every cell by itself, where a cell that is hardly ever hit has a width that is bounded from below;
:class:`Unscaled` has none.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor

from simulacra.core.ranges import Positive
from simulacra.transforms.maps.elementwise import Moments, Standardise


class CellScaling(Standardise):
    """``(y - mean) / std`` of cells ``(B, V)``, whose statistics are collected batch by batch."""

    @abstractmethod
    def collect(self, moments: Moments, y: Tensor, hit: Tensor) -> None:
        """Take in cells ``(B, V)``; ``hit``, bool, marks those that are neither empty nor saturated."""


class AllCells(CellScaling):
    """One mean and one standard deviation for all cells.

    Args:
        cells: ``V``.
        hits: Whether empty and saturated cells are left out of the statistics.
    """

    def __init__(self, cells: int, hits: bool) -> None:
        super().__init__(1)
        self.cells, self.hits = cells, hits

    def collect(self, moments: Moments, y: Tensor, hit: Tensor) -> None:
        """See :meth:`CellScaling.collect`."""
        moments.add((y[hit] if self.hits else y.flatten())[:, None])

    def log_scale(self) -> Tensor:
        """See :class:`~simulacra.transforms.maps.elementwise.Streamed`; every cell counts."""
        return self.cells * torch.log(self.std).sum()


class EachCell(CellScaling):
    """Mean and standard deviation of each cell.

    Args:
        cells: ``V``.
        least: Smallest standard deviation, in units of the cells: without it a cell that is hit once in a
            thousand showers would be thirty standard deviations away then.
    """

    def __init__(self, cells: int, least: Positive) -> None:
        super().__init__(cells)
        self.least = least

    def collect(self, moments: Moments, y: Tensor, hit: Tensor) -> None:
        """See :meth:`CellScaling.collect`; empty cells count."""
        moments.add(y)

    def set(self, moments: Moments) -> None:
        """See :class:`~simulacra.transforms.maps.elementwise.Streamed`."""
        super().set(moments)
        self.std.clamp_(min=self.least)


class Unscaled(CellScaling):
    """Cells as they are.

    Args:
        cells: ``V``.
    """

    def __init__(self, cells: int) -> None:
        super().__init__(1)

    def collect(self, moments: Moments, y: Tensor, hit: Tensor) -> None:
        """Nothing is collected."""

    def set(self, moments: Moments) -> None:
        """Mean 0 and width 1 stay."""


MakeScaling = Callable[[int], CellScaling]
"""From the number of cells."""
