"""A table of every kind of column, with point masses, and its rows."""

from __future__ import annotations

import math
from typing import Any

import torch

from simulacra.core import Batch
from simulacra.formats.table_columns import columns_of
from simulacra.formats.table_files import TableFiles

COLUMNS: dict[str, dict[str, Any]] = {
    "pt": {"key": "jets", "index": 1, "unit": "GeV", "low": 10.0, "log": True},
    "eta": {"key": "jets", "index": 0},
    "phi": {"unit": "rad", "low": -math.pi, "high": math.pi, "periodic": True},
    "share": {"key": "groomed/share", "low": 0.0, "high": 0.5},
    "tracks": {"integer": True, "low": 0.0},
    "flavour": {"classes": [21, 1, -1]},
    "w": {"key": "weight", "role": "weight"},
    "energy": {"use": "condition", "unit": "GeV", "low": 1.0, "high": 100.0, "log": True},
    "mode": {"use": "condition", "classes": [0, 1]},
    "hits": {"use": "event", "integer": True},
    "kind": {"use": "event", "classes": ["1", "2"]},
}


def form(**changes: dict[str, Any] | None) -> TableFiles:
    """The format of the table, with some columns changed."""
    return TableFiles("toy", columns_of({**COLUMNS, **changes}))


def rows(n: int, seed: int = 0) -> Batch:
    """Correlated rows; a tenth of the shares are exactly 0 and a twentieth exactly 0.5."""
    g = torch.Generator().manual_seed(seed)
    energy = torch.exp(math.log(100.0) * torch.rand(n, generator=g))
    mode = torch.randint(2, (n,), generator=g)
    pt = 10 * torch.exp(torch.randn(n, generator=g).abs() * (0.5 + 0.1 * mode))
    eta = torch.randn(n, generator=g)
    phi = torch.remainder(3 + 0.7 * torch.randn(n, generator=g) + math.pi, 2 * math.pi) - math.pi
    share = 0.1 + 0.4 * torch.rand(n, generator=g)
    spike = torch.rand(n, generator=g)
    share = torch.where(spike < 0.1, 0.0, torch.where(spike > 0.95, 0.5, share))
    tracks = torch.poisson(2 * energy.log(), generator=g)
    flavour = torch.multinomial(torch.tensor([0.6, 0.3, 0.1]), n, True, generator=g).float()
    x = torch.stack([pt, eta, phi, share, tracks, flavour], 1)
    event = {
        "hits": (tracks + torch.poisson(torch.full((n,), 3.0), generator=g))[:, None],
        "kind": (eta[:, None] > 0).long(),
    }
    weight = 0.5 + torch.rand(n, generator=g)
    return Batch(x, {"energy": energy[:, None], "mode": mode[:, None]}, event, weight=weight)
