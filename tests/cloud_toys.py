"""Showers as clouds in five layers, made up."""

from __future__ import annotations

import torch
from torch import Tensor

from simulacra.core import Batch, Field, Spec

POSITIONS = torch.tensor([3.0, 4.5, 8.0, 9.0, 20.0])
ENERGY = Field("incident_energy", "GeV", low=1.0, high=10.0, role="energy")


def spec(depth: str = "depth") -> Spec:
    features = (Field("x", "mm"), Field(depth), Field("z", "mm"), Field("e", "GeV", low=0.0))
    event = (Field("leak", "GeV", low=0.0),)
    return Spec("toy", "cloud", (24, 4), "GeV", features, (ENERGY,), event)


def events(n: int = 200, seed: int = 0) -> Batch:
    """Showers of 1 to 24 points (the first has 24, the second 1, the third none), last layer mostly empty."""
    g = torch.Generator().manual_seed(seed)
    number = torch.randint(1, 25, (n, 1), generator=g)
    number[:3, 0] = torch.tensor([24, 1, 0])
    mask = torch.arange(24) < number
    chance = torch.tensor([0.2, 0.4, 0.3, 0.09, 0.01]).expand(n, -1)
    layer = torch.multinomial(chance, 24, replacement=True, generator=g)
    plane = torch.randn(n, 24, 2, generator=g) * 3 + torch.tensor([0.0, 40.0])
    energy = torch.exp(2 * torch.randn(n, 24, generator=g) - 3)
    x = torch.stack([plane[..., 0], POSITIONS[layer], plane[..., 1], energy], -1) * mask[..., None]
    incident = 1 + 9 * torch.rand(n, 1, generator=g)
    leak = torch.rand(n, 1, generator=g) + 0.1
    return Batch(x, {"incident_energy": incident}, {"leak": leak}, mask)


def by_layer(batch: Batch) -> tuple[Tensor, Tensor]:
    """Points and energy of every layer of clouds."""
    assert batch.mask is not None
    at = (batch.x[..., 1:2] == POSITIONS) & batch.mask[..., None]
    return at.sum(1), (at * batch.x[..., 3:].double()).sum(1)
