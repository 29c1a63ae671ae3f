"""Two quantities at particle and detector level, all normal, so that posteriors are known."""

from __future__ import annotations

import torch
from torch import Tensor

from simulacra.core import Batch, Spec
from simulacra.formats.table_columns import columns_of
from simulacra.formats.table_files import TableFiles

SMEAR = 0.5
NOISE = (SMEAR, 1.0)
MIXED = torch.tensor([[1.0, 0.0], [0.6, 0.8]])
"""Particle level is this times two independent normal numbers."""


def form(columns: int = 2) -> TableFiles:
    """The format of a table with as many quantities."""
    names = ["a", "b"][:columns]
    particle = {name: {} for name in names}
    detector = {f"{name}_seen": {"use": "condition"} for name in names}
    weight = {"w": {"key": "weight", "role": "weight"}}
    return TableFiles("levels", columns_of({**particle, **detector, **weight}))


def spec(columns: int = 2) -> Spec:
    """Its spec."""
    return form(columns).spec


def rows(n: int, seed: int = 0, mean: float = 0.0, scale: float = 1.0, columns: int = 2) -> Batch:
    """Rows; ``mean`` and ``scale`` are those of the first quantity at particle level."""
    g = torch.Generator().manual_seed(seed)
    z = torch.randn(n, 2, generator=g) @ MIXED.T
    z[:, 0] = mean + scale * z[:, 0]
    x = z + torch.tensor(NOISE) * torch.randn(n, 2, generator=g)
    seen = {f"{name}_seen": x[:, [i]] for i, name in enumerate(["a", "b"][:columns])}
    return Batch(z[:, :columns], seen)


def posterior(cond: Tensor) -> tuple[Tensor, Tensor]:
    """Mean ``(n, 2)`` and covariance ``(2, 2)`` of both quantities, given what is seen ``(n, 2)``."""
    prior = MIXED @ MIXED.T
    gain = prior @ torch.linalg.inv(prior + torch.diag(torch.tensor(NOISE).square()))
    return cond @ gain.T, prior - gain @ prior
