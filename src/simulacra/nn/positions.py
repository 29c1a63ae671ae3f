r"""Where tokens stand, as numbers added to them or as phases of their queries and keys.

With ``(p_1, p_2, p_3)`` the numbers of a token along depth, rows and columns, a third of the columns each is

.. math:: \cos \omega_k p_a, \quad \sin \omega_k p_a,

for fixed frequencies :math:`\omega_k` that fall geometrically from 1 towards :math:`10^{-4}`, or for learned
ones of :math:`p_a / n_a` in [0, 1) with ``n`` the tokens along the axis. *Rotary phases* turn pairs of
columns of queries and keys by :math:`\omega_k p_a`, so that only distances between tokens enter.

References: Vaswani et al. 2017, arXiv:1706.03762, section 3.5; Su et al. 2021, arXiv:2104.09864; learned
frequencies: arXiv:2405.09629.
"""

from __future__ import annotations

import math
from collections.abc import Collection

import torch
from torch import Tensor, nn

from simulacra.core import UserError
from simulacra.nn.patches import Patches


class SinusoidalPositions(nn.Module):
    """Fixed frequencies; see the module's docstring.

    Args:
        patches: The tokens.
        width: Numbers of a token, a multiple of 6.
        without: Axes, of 0 to 2, that are left out: their columns are 0.

    Raises:
        UserError: If the width does not divide.
    """

    places: Tensor

    def __init__(self, patches: Patches, width: int, without: Collection[int] = ()) -> None:
        super().__init__()
        angle = patches.places()[..., None] * _falling(_sixth(width))  # (N, 3, K)
        known = torch.tensor([float(axis not in without) for axis in range(3)])
        found = torch.cat([angle.cos(), angle.sin()], -1) * known[:, None]
        self.register_buffer("places", found.flatten(1), persistent=False)

    def forward(self) -> Tensor:
        """``(N, width)``."""
        return self.places


class LearnedFrequencies(nn.Module):
    """Learned frequencies, the same along each axis; see the module's docstring.

    They start at whole multiples of pi.

    Args:
        patches: The tokens.
        width: Numbers of a token, a multiple of 6.

    Raises:
        UserError: If the width does not divide.
    """

    shares: Tensor

    def __init__(self, patches: Patches, width: int) -> None:
        super().__init__()
        self.frequencies = nn.Parameter(math.pi * torch.arange(1.0, 1 + _sixth(width)))
        self.register_buffer("shares", patches.places() / patches.extents(), persistent=False)

    def forward(self) -> Tensor:
        """``(N, width)``."""
        angle = self.shares[..., None] * self.frequencies
        return torch.cat([angle.cos(), angle.sin()], -1).flatten(1)


class Rotary(nn.Module):
    """Phases of queries and keys along three axes; see the module's docstring.

    Columns that three axes cannot share are not turned.

    Args:
        patches: The tokens.
        width: Columns of a head, at least 6.
        closed: Whether the axis that closes on itself has whole numbers of turns, so that moving all tokens
            along it changes no distance.

    Raises:
        UserError: If a head is too narrow.
    """

    cos: Tensor
    sin: Tensor

    def __init__(self, patches: Patches, width: int, closed: bool) -> None:
        super().__init__()
        if width < 6:
            raise UserError(
                f"phases along three axes need heads of at least 6 columns, got {width}"
            )
        places, pairs = patches.places(), width // 6
        angles = places[..., None] * _falling(pairs)  # (N, 3, K)
        if closed and patches.periodic is not None:
            axis = patches.periodic
            turns = places[:, axis] * 2 * math.pi / patches.extents()[:, axis]
            angles[:, axis] = turns[:, None] * torch.arange(1, 1 + pairs)
        for name, value in (("cos", angles.cos()), ("sin", angles.sin())):
            self.register_buffer(name, value.flatten(1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Turn queries or keys ``(B, heads, N, width)``."""
        return turned(x, self.cos, self.sin)


class LineRotary(nn.Module):
    """Phases of tokens that stand in a line of any length; see the module's docstring.

    Args:
        width: Columns of a head, an even number.

    Raises:
        UserError: If the width is odd.
    """

    frequencies: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        if width % 2:
            raise UserError(f"phases turn pairs of columns, and a head has {width}")
        self.register_buffer("frequencies", _falling(width // 2), persistent=False)

    def forward(self, first: int, n: int) -> tuple[Tensor, Tensor]:
        """Cosines and sines ``(n, width / 2)`` of the places from ``first`` on, for :func:`turned`."""
        places = torch.arange(first, first + n, device=self.frequencies.device)
        angles = places.to(self.frequencies)[:, None] * self.frequencies
        return angles.cos(), angles.sin()


def turned(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Queries or keys ``(..., N, width)`` with their first pairs of columns turned by angles ``(N, K)``."""
    pairs = cos.shape[-1]
    one, other, rest = x.split([pairs, pairs, x.shape[-1] - 2 * pairs], dim=-1)
    return torch.cat([one * cos - other * sin, one * sin + other * cos, rest], dim=-1)


def _falling(n: int) -> Tensor:
    """``n`` frequencies from 1 towards 1e-4."""
    return 10.0 ** (-4 * torch.arange(n) / n)


def _sixth(width: int) -> int:
    if width % 6:
        raise UserError(f"positions along three axes need a width that 6 divides, got {width}")
    return width // 6
