r"""Noise that makes discrete or empty values continuous, for training only.

Exact zeros are a point mass that no density model can follow. :class:`ZeroFill` spreads them below a floor
that no real value lies under, on a logarithmic scale, so that cutting at the floor undoes it exactly;
:class:`EmptyNoise` spreads them evenly and leaves all other values as they are;
:class:`UniformNoise` adds a width far below the floor. Noise is drawn where training mode or a generator asks
for it; otherwise the centre is used.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from simulacra.core import draws
from simulacra.core.constructors import role


@role
class ZeroFill(nn.Module):
    r"""Replace values below a floor with log-scale noise, :math:`x \to f e^{-s |n|}`, ``n`` standard normal
    (or uniform).

    Args:
        spread: ``s``; the fill lies within about ``exp(-2 s)`` of the floor.
        uniform: Draw ``|n|`` uniform in (0, 1): log-uniform between ``f exp(-s)`` and ``f``.
    """

    def __init__(self, spread: float = 1.0, uniform: bool = False) -> None:
        super().__init__()
        self.spread, self.uniform = spread, uniform
        self.centre = 0.5 if uniform else 0.6744897501960817  # medians of |n|

    def forward(
        self, x: Tensor, floor: Tensor | float, generator: torch.Generator | None = None
    ) -> Tensor:
        """Logarithm ``ln(x / floor)`` where ``x >= floor``, else negative noise; same shape as ``x``."""
        if self.training or generator is not None:
            draw = draws.uniform if self.uniform else draws.normal
            noise = draw(x.shape, x, generator).abs()
        else:
            noise = torch.full_like(x, self.centre)
        real = x >= floor
        log = torch.log(torch.where(real, x / floor, 1.0))
        return torch.where(real, log, -self.spread * noise.clamp(min=1e-6))

    def inverse(self, y: Tensor, floor: Tensor | float, high: float = 80.0) -> Tensor:
        """Values with 0 below the floor."""
        return torch.where(y < 0, 0.0, floor * torch.exp(y.clamp(max=high)))


class UniformNoise(nn.Module):
    """Add ``U(0, width)``; :meth:`inverse` sets what lies below ``width`` to zero.

    Args:
        width: Width, far below the smallest real value.
    """

    def __init__(self, width: float) -> None:
        super().__init__()
        self.width = width

    def forward(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Noisy copy in training mode or with a generator, else ``x`` plus half the width."""
        if self.training or generator is not None:
            return x + self.width * draws.uniform(x.shape, x, generator)
        return x + 0.5 * self.width

    def inverse(self, x: Tensor) -> Tensor:
        """Zero below the width, else ``x``: not exact above it, as noise never is."""
        return torch.where(x < self.width, 0.0, x)


class EmptyNoise(nn.Module):
    """Zeros become ``U(0, width)``, all else stays as it is, so that cutting at the width undoes it exactly.

    Args:
        width: Width, below the smallest value that is not 0; 0 for no noise.
    """

    def __init__(self, width: float) -> None:
        super().__init__()
        self.width = width

    def forward(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Noisy zeros in training mode or with a generator, else half the width in their place."""
        if self.width == 0:
            return x
        noise: Tensor | float = 0.5
        if self.training or generator is not None:
            noise = draws.uniform(x.shape, x, generator)
        return torch.where(x > 0, x, self.width * noise)

    def inverse(self, x: Tensor) -> Tensor:
        """Zero below the width, else ``x``."""
        return torch.where(x < self.width, 0.0, x)
