"""Fully connected players of a game about rows of numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from simulacra.core.ranges import Count
from simulacra.nn.latent_vectors import Columns, MakeLatent
from simulacra.nn.mlp import MLP
from simulacra.nn.verdicts import Judge, Verdict, leaky


@dataclass(frozen=True)
class RowCanvas:
    """Numbers of a row.

    Args:
        made: Those that the generator makes.
        seen: Those that the critic sees.
    """

    made: int
    seen: int


class RowGenerator(nn.Module):
    """Latent vector to rows ``(B, made)``.

    Args:
        canvas: Numbers of a row.
        columns: What the conditions are.
        latent: Makes the latent vector.
        hidden: Widths of the hidden layers.
    """

    def __init__(
        self, canvas: RowCanvas, columns: Columns, latent: MakeLatent, hidden: Sequence[Count]
    ) -> None:
        super().__init__()
        self.latent = latent(columns)
        self.net = MLP(self.latent.width, canvas.made, hidden, leaky)

    def forward(
        self, n: int, cond: Tensor | None, generator: torch.Generator | None = None
    ) -> Tensor:
        """``n`` rows for conditions ``(n, C)``, or for none."""
        like = next(self.net.parameters())
        return self.net(self.latent(n, cond, like, generator))


class RowCritic(nn.Module):
    """Rows ``(B, seen)`` to a verdict.

    Args:
        canvas: Numbers of a row.
        columns: What the conditions are: it is asked for the class, and sees what is no class.
        hidden: Widths of the hidden layers.
    """

    def __init__(self, canvas: RowCanvas, columns: Columns, hidden: Sequence[Count]) -> None:
        super().__init__()
        self.others = list(columns.others)
        self.judge = Judge(canvas.seen + len(self.others), len(columns.classes), hidden)

    def forward(self, rows: Tensor, cond: Tensor | None) -> Verdict:
        """The verdict on rows under their conditions ``(B, C)``."""
        return self.judge(rows if cond is None else torch.cat([rows, cond[:, self.others]], 1))
