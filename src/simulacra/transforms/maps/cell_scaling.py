"""Standardisation of a shower's cells, by statistics of the training events that the transform keeps.

Cells come in groups, such as layers, that share an energy: that of the layer, or of the whole shower where
all cells are one group. Most cells of a shower are empty, and their number decides means and widths unless
they are left out: :class:`AllCells` has one mean and one width for all cells, with or without the empty ones,
:class:`EachCell` those of every cell by itself, where a cell that is hardly ever hit has a width that is
bounded from below; :class:`Unscaled` has none.
:class:`~simulacra.transforms.maps.normal_scores.NormalScores` makes every cell normal at the energy of its
group.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from simulacra.core.constructors import role
from simulacra.core.ranges import Positive
from simulacra.transforms.maps.elementwise import Moments


@role
class CellScaling(nn.Module, ABC):
    """Numbers of cells ``(B, V)`` to others of about unit width, given logarithms ``(B, G)`` of the energies
    of their groups.
    """

    @abstractmethod
    def collect(self, y: Tensor, energies: Tensor, hit: Tensor, empty: Tensor) -> None:
        """Take in training events; ``empty`` and ``hit``, bool ``(B, V)``, mark cells that are empty, and
        those that are neither empty nor saturated.
        """

    def settle(self) -> None:
        """Set the statistics from all that was collected."""

    @abstractmethod
    def forward(
        self,
        y: Tensor,
        energies: Tensor,
        empty: Tensor,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """See the class; noise, where there is any, in training mode or with a generator."""

    @abstractmethod
    def inverse(self, z: Tensor, energies: Tensor) -> Tensor:
        """Undo :meth:`forward`."""


class MeanAndWidth(CellScaling):
    """``(y - mean) / std``.

    Args:
        features: Number of means, 1 or ``V``.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, features: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("std", torch.ones(features))
        self._moments = Moments()

    def settle(self) -> None:
        """See :meth:`CellScaling.settle`."""
        mean, std = self._moments.result()
        self.mean.copy_(mean)
        self.std.copy_(std)
        self._moments = Moments()

    def forward(
        self,
        y: Tensor,
        energies: Tensor,
        empty: Tensor,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """See the class."""
        return (y - self.mean) / self.std

    def inverse(self, z: Tensor, energies: Tensor) -> Tensor:
        """See :meth:`CellScaling.inverse`."""
        return z * self.std + self.mean


class AllCells(MeanAndWidth):
    """One mean and one standard deviation for all cells.

    Args:
        groups: Numbers of cells of the groups.
        hits: Whether empty and saturated cells are left out of the statistics.
    """

    def __init__(self, groups: Sequence[int], hits: bool) -> None:
        super().__init__(1)
        self.hits = hits

    def collect(self, y: Tensor, energies: Tensor, hit: Tensor, empty: Tensor) -> None:
        """See :meth:`CellScaling.collect`."""
        self._moments.add((y[hit] if self.hits else y.flatten())[:, None])


class EachCell(MeanAndWidth):
    """Mean and standard deviation of each cell.

    Args:
        groups: Numbers of cells of the groups.
        least: Smallest standard deviation, in units of the cells: without it a cell that is hit once in a
            thousand showers would be thirty standard deviations away then.
    """

    def __init__(self, groups: Sequence[int], least: Positive) -> None:
        super().__init__(sum(groups))
        self.least = least

    def collect(self, y: Tensor, energies: Tensor, hit: Tensor, empty: Tensor) -> None:
        """See :meth:`CellScaling.collect`; empty cells count."""
        self._moments.add(y)

    def settle(self) -> None:
        """See :meth:`CellScaling.settle`."""
        super().settle()
        self.std.clamp_(min=self.least)


class Unscaled(CellScaling):
    """Cells as they are.

    Args:
        groups: Numbers of cells of the groups.
    """

    def __init__(self, groups: Sequence[int]) -> None:
        super().__init__()

    def collect(self, y: Tensor, energies: Tensor, hit: Tensor, empty: Tensor) -> None:
        """Nothing is collected."""

    def forward(
        self,
        y: Tensor,
        energies: Tensor,
        empty: Tensor,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Nothing changes."""
        return y

    def inverse(self, z: Tensor, energies: Tensor) -> Tensor:
        """Nothing changes."""
        return z


MakeScaling = Callable[[Sequence[int]], CellScaling]
"""From the numbers of cells of the groups."""
