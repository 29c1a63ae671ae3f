"""Images of sensors that fire together, for tests: toy events and what is compared."""

from __future__ import annotations

import torch
from torch import Tensor

from simulacra.core import Batch, Field, Spec

SENSORS, ROWS, COLS = 4, 7, 16


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def toy_spec(sensors: int = SENSORS, rows: int = ROWS, cols: int = COLS) -> Spec:
    return Spec(
        "toy", "image", (sensors, rows, cols), "ADU", features=(Field("charge", "ADU", low=0.0, high=255.0),),
        threshold=7.0, cut=7.0, sample_batch=64,
    )  # fmt: skip


def toy_events(n: int, seed: int) -> Batch:
    """Sensors of different occupancy that vary together from event to event; log-normal charges."""
    source = generator(seed)
    level = torch.linspace(0.1, 0.4, SENSORS)
    shared = torch.exp(0.4 * torch.randn(n, 1, generator=source)).clamp(max=2.2)
    rate = (level * shared)[..., None, None]
    fired = torch.rand(n, SENSORS, ROWS, COLS, generator=source) < rate
    charge = torch.exp(3.3 + 0.5 * torch.randn(fired.shape, generator=source)).round().clamp(7, 255)
    return Batch(torch.where(fired, charge, 0.0))


def occupancies(batch: Batch) -> Tensor:
    return (batch.x > 0).double().mean((2, 3))
