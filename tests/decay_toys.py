"""Two-body decays of a moving resonance, whose law is known in closed form."""

from __future__ import annotations

import math

import torch

from simulacra.core import Batch, Field, Particle, Resonance, Spec

MASS, WIDTH = 80.4, 2.1
"""Of the resonance [GeV]."""
RANGE = (60.0, 100.0)
"""In which its masses lie [GeV]."""
SPREAD = (40.0, 40.0, 80.0)
"""Standard deviations of the components of its momentum [GeV]."""


def spec() -> Spec:
    """Two massless particles and what they come from."""
    names = [f"{particle}_{part}" for particle in ("q1", "q2") for part in ("e", "px", "py", "pz")]
    return Spec(
        "decays", "table", (8,), "", features=tuple(Field(name, "GeV") for name in names),
        particles=(Particle("q1", (0, 1, 2, 3), 0.0), Particle("q2", (4, 5, 6, 7), 0.0)),
        resonances=(Resonance("w", ("q1", "q2")),),
    )  # fmt: skip


def decays(n: int, seed: int) -> Batch:
    """A Breit-Wigner curve of masses, normal momenta, and decays that are even in all directions."""
    source = torch.Generator().manual_seed(seed)
    low, high = (math.atan(2 * (end - MASS) / WIDTH) for end in RANGE)
    uniform = torch.rand(n, 1, generator=source, dtype=torch.float64)
    mass = MASS + WIDTH / 2 * torch.tan(low + (high - low) * uniform)
    moved = torch.tensor(SPREAD) * torch.randn(n, 3, generator=source, dtype=torch.float64)
    energy = (mass.square() + moved.square().sum(1, keepdim=True)).sqrt()
    axis = torch.nn.functional.normalize(
        torch.randn(n, 3, generator=source, dtype=torch.float64), dim=1
    )
    rows = []
    for back_to_back in (axis, -axis):
        own = back_to_back * mass / 2  # at rest
        along = (moved * own).sum(1, keepdim=True)
        boosted = own + moved * (along / (energy + mass) + mass / 2) / mass
        rows += [(energy * mass / 2 + along) / mass, boosted]
    return Batch(torch.cat(rows, 1).float(), {})
