r"""What a post-processor of the cells of a shower learns from.

A post-processor ``P`` makes of a generated shower ``y`` another one, which should stay like it and have the
cells that a true shower ``x`` has, wherever they lie. With energies :math:`e_{(k)}` sorted from the largest,

.. math:: \langle (P(y) - y)^2 \rangle, \qquad D_\alpha(P(y), x) \text{ within windows of ranks}, \qquad
          \langle |P(y)_{(k)} - x_{(k)}|^p \rangle, \qquad \langle (\bar P(y) - \bar x)^2 \rangle,

where bars are means over the events of a batch, cell by cell. A loss of cells where they lie,
:math:`(P(y) - x)^2`, would be least for the mean of all showers that may stand behind ``y``, and such a mean
has no cells that a single particle has crossed.

References: Buhmann et al., arXiv:2005.05334, section 3.3; Buhmann et al., arXiv:2112.09709.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import Tensor

from simulacra.core import weighted_mean
from simulacra.core.constructors import role
from simulacra.core.ranges import Count, NotNegative, Positive
from simulacra.core.weights import event_mean
from simulacra.dynamics.discrepancy import sorted_window_mmd


@role
@dataclass(frozen=True)
class CellLoss(ABC):
    """One term; ``factor`` is its weight in the sum.

    Args:
        factor: Weight of the term.
    """

    factor: NotNegative

    @abstractmethod
    def __call__(
        self, found: Tensor, given: Tensor, true: Tensor, weight: Tensor | None = None
    ) -> Tensor:
        """A scalar, without the factor.

        Args:
            found: Cells after processing [MeV] ``(B, *)``.
            given: Cells before it.
            true: Cells of the true showers.
            weight: Event weights ``(B,)``, or None.
        """


@dataclass(frozen=True)
class Kept(CellLoss):
    """Squared distance from what was given [MeV^2]."""

    def __call__(
        self, found: Tensor, given: Tensor, true: Tensor, weight: Tensor | None = None
    ) -> Tensor:
        """See :class:`CellLoss`."""
        return weighted_mean((found - given).square(), weight)


@dataclass(frozen=True)
class WindowDiscrepancy(CellLoss):
    """Discrepancy of the sorted cells within windows, see :mod:`simulacra.dynamics.discrepancy`.

    Args:
        factor: See the base class.
        window: Ranks in a window.
        stride: Ranks between the starts of two windows.
        hits: Cells that are looked at, the strongest.
        alpha: Of the kernel [1/MeV^2].
    """

    window: Count
    stride: Count
    hits: Count
    alpha: Positive

    def __call__(
        self, found: Tensor, given: Tensor, true: Tensor, weight: Tensor | None = None
    ) -> Tensor:
        """See :class:`CellLoss`."""
        return sorted_window_mmd(
            found.flatten(1), true.flatten(1), window=self.window, stride=self.stride,
            hits=self.hits, alpha=self.alpha, weight=weight,
        )  # fmt: skip


@dataclass(frozen=True)
class RankDistance(CellLoss):
    """Power of the distance of cells of like rank [MeV^power], which is that of their spectra.

    Args:
        factor: See the base class.
        power: 1: absolute, 2: squared.
        hits: Cells that are looked at, the strongest.
    """

    power: Positive
    hits: Count

    def __call__(
        self, found: Tensor, given: Tensor, true: Tensor, weight: Tensor | None = None
    ) -> Tensor:
        """See :class:`CellLoss`."""
        first, second = (_strongest(cells, self.hits) for cells in (found, true))
        return weighted_mean((first - second).abs().pow(self.power), weight)


@dataclass(frozen=True)
class MeanImage(CellLoss):
    """Squared distance of the mean showers of a batch, the mean over cells [MeV^2]."""

    def __call__(
        self, found: Tensor, given: Tensor, true: Tensor, weight: Tensor | None = None
    ) -> Tensor:
        """See :class:`CellLoss`."""
        return event_mean(found - true, weight).square().mean()


def _strongest(cells: Tensor, hits: int) -> Tensor:
    return cells.flatten(1).sort(dim=1, descending=True).values[:, :hits]
