r"""Maximum mean discrepancy: distances of samples by kernels, which a network can make small.

With a kernel :math:`k` and expectations over all pairs, also those of an event with itself,

.. math:: D = E[k(x, x')] + E[k(y, y')] - 2 E[k(x, y)] \ge 0 .

Kernels are functions of the distance :math:`r = |x - y|`: :class:`Gaussian` is :math:`e^{-r^2 / 2 s^2}` and
:class:`BreitWigner`, whose tails reach further, :math:`1 / (1 + 4 r^2 / s^2)`, of full width :math:`s` at
half maximum. A sum over several widths pulls from afar and resolves what is near.

References: Gretton et al., JMLR 13 (2012) 723, equation 5; kernels for masses from arXiv:1907.03764,
section 2.3; sorted windows from arXiv:2005.05334, section 3.3.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from simulacra.core import UserError, weighted_mean
from simulacra.core.constructors import constructor, role
from simulacra.core.ranges import NotNegative, Positive


@role
class Kernel(ABC):
    """A sum of kernels over widths.

    Args:
        widths: What ``s`` is in each.

    Raises:
        UserError: If there are none.
    """

    def __init__(self, widths: Sequence[Positive]) -> None:
        if not widths:
            raise UserError(f"{type(self).__name__} needs at least one width")
        self.widths = tuple(widths)

    def __call__(self, square: Tensor) -> Tensor:
        """Values at squared distances, of their shape."""
        return torch.stack([self.of_one(square / width**2) for width in self.widths]).sum(0)

    @abstractmethod
    def of_one(self, square: Tensor) -> Tensor:
        """The kernel of width 1."""


class Gaussian(Kernel):
    """See the module's docstring."""

    def of_one(self, square: Tensor) -> Tensor:
        """See :meth:`Kernel.of_one`."""
        return torch.exp(-square / 2)


class BreitWigner(Kernel):
    """See the module's docstring."""

    def of_one(self, square: Tensor) -> Tensor:
        """See :meth:`Kernel.of_one`."""
        return 1 / (1 + 4 * square)


def mmd(
    x: Tensor,
    y: Tensor,
    kernel: Callable[[Tensor], Tensor],
    weight: Tensor | None = None,
    other: Tensor | None = None,
) -> Tensor:
    """The discrepancy :math:`D`, a scalar.

    Args:
        x: Events ``(B, K)``.
        y: Events ``(B', K)``.
        kernel: Of squared distances.
        weight: Event weights ``(B,)`` of ``x``, or None.
        other: Event weights ``(B',)`` of ``y``, or None.
    """
    p, q = _shares(x, weight), _shares(y, other)
    parts = []
    for a, own, b, its, sign in ((x, p, x, p, 1), (y, q, y, q, 1), (x, p, y, q, -2)):
        parts.append(sign * (own @ kernel((a[:, None] - b[None]).square().sum(-1)) @ its))
    return torch.stack(parts).sum()


def mmd_rbf(x: Tensor, y: Tensor, alphas: Sequence[float], weight: Tensor | None = None) -> Tensor:
    r"""Sum of :math:`D` over Gaussian kernels :math:`e^{-\alpha r^2}`, a scalar.

    Args:
        x: Events ``(B, K)``.
        y: Events ``(B', K)``, all alike.
        alphas: Inverse squared widths of the kernels.
        weight: Event weights ``(B,)`` of ``x``, or None.
    """
    return mmd(x, y, Gaussian([(2 * alpha) ** -0.5 for alpha in alphas]), weight)


@constructor
@dataclass(frozen=True)
class Matching:
    """Makes quantities of generated events follow those of true ones, one quantity at a time.

    What is minimised is the sum of the discrepancies of the quantities, times a weight. It looks at each
    quantity by itself, so that how they depend on each other or on anything else is left to a critic.

    Args:
        weight: Weight of the term; 0: there is none.
        kernel: What the discrepancies are measured with.
    """

    weight: NotNegative
    kernel: Kernel

    def __call__(self, made: Tensor, real: Tensor, weight: Tensor | None = None) -> Tensor:
        """The term, a scalar.

        Args:
            made: Quantities of generated events ``(B, K)``.
            real: Those of true events ``(B, K)``.
            weight: Event weights ``(B,)`` of both, or None.
        """
        pairs = zip(made.split(1, dim=1), real.split(1, dim=1), strict=True)
        return (
            self.weight
            * torch.stack([mmd(x, y, self.kernel, weight, weight) for x, y in pairs]).sum()
        )


def sorted_window_mmd(
    x: Tensor,
    y: Tensor,
    *,
    window: int,
    stride: int,
    hits: int,
    alpha: float,
    weight: Tensor | None = None,
) -> Tensor:
    r"""Discrepancy of the energies of cells of like rank, the mean over windows and events, a scalar.

    The kernel is :math:`e^{-\alpha r^2}`. The cells of each shower are sorted, the strongest first, and
    compared within windows of ranks.

    Args:
        x: Cells ``(B, V)``.
        y: Cells of the same events ``(B, V)``.
        window: Ranks in a window; all, where there are fewer.
        stride: Ranks between the starts of two windows.
        hits: Strongest cells that are looked at.
        alpha: Inverse squared width of the kernel, in inverse squared energies.
        weight: Event weights ``(B,)``, or None.

    Raises:
        UserError: If ``window``, ``stride`` or ``hits`` is not positive.
    """
    if min(window, stride, hits) < 1:
        raise UserError(
            f"windows of hits need window, stride and hits from 1, got {window}, {stride} and {hits}"
        )
    first, second = (_windows(cells, window, stride, hits).unbind(1) for cells in (x, y))  # (B, k)

    def mean(a: Tensor, b: Tensor) -> Tensor:
        apart = a[:, :, None] - b[:, None, :]
        return torch.exp(-alpha * apart.square()).mean((1, 2))

    found = [mean(a, a) + mean(b, b) - 2 * mean(a, b) for a, b in zip(first, second, strict=True)]
    return weighted_mean(torch.stack(found, dim=1), weight)


def _windows(cells: Tensor, window: int, stride: int, hits: int) -> Tensor:
    ranked = cells.flatten(1).sort(dim=1, descending=True).values[:, :hits]
    return ranked.unfold(1, min(window, ranked.shape[1]), stride)


def _shares(x: Tensor, weight: Tensor | None) -> Tensor:
    """How much each event counts ``(B,)``, in all 1."""
    own = x.new_ones(len(x)) if weight is None else weight.to(x)
    return own / own.sum()
