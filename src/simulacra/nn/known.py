"""What a network of diffusion is told beside its numbers: the time, conditions and layer energies as one
vector.

Each has a network of its own; those of conditions and layer energies are joined before they stand beside the
time's.

Reference: CaloScore v2, arXiv:2308.03847, section 3.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from simulacra.core import Layout
from simulacra.nn.fourier import Sinusoids


class Known(nn.Module):
    """See the module's docstring.

    Args:
        layout: What is described, and given what.
        part: Width of each of the two halves, an even number.
        activation: Makes the activation.

    Attributes:
        width: Width of what is made, ``part`` without a context and twice that with one.
    """

    def __init__(self, layout: Layout, part: int, activation: Callable[[], nn.Module]) -> None:
        super().__init__()
        self.splits = [n for n in (layout.given, len(layout.layers)) if n and layout.context]
        self.width = 2 * part if self.splits else part
        self.time = nn.Sequential(Sinusoids(part), *_mlp(part, part, activation))
        self.given = nn.ModuleList(
            nn.Sequential(*_mlp(inputs, part, activation)) for inputs in self.splits
        )
        joined = len(self.splits) * part
        self.join = nn.Sequential(nn.Linear(joined, part), activation()) if self.splits else None

    def forward(self, t: Tensor, context: Tensor | None) -> Tensor:
        """Numbers ``(B,)`` that tell the time and contexts ``(B, C)`` to ``(B, width)``."""
        time: Tensor = self.time(t)
        if self.join is None or context is None:
            return time
        parts = context.split(self.splits, dim=-1)
        made = [net(part) for net, part in zip(self.given, parts, strict=True)]
        return torch.cat([time, self.join(torch.cat(made, -1))], -1)


def _mlp(inputs: int, outputs: int, activation: Callable[[], nn.Module]) -> list[nn.Module]:
    return [
        nn.Linear(inputs, 2 * outputs),
        activation(),
        nn.Linear(2 * outputs, outputs),
        activation(),
    ]
