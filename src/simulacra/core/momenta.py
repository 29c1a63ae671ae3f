"""Four-momenta among the columns of a table, and what is computed from them.

A :class:`Particle` says which columns are its energy and momentum, a :class:`Resonance` which particles it
decays to. Both are plain data of a :class:`~simulacra.core.spec.Spec`, so that a model knows no column by its
name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Particle:
    """A particle whose four-momentum a table holds.

    Args:
        name: What it is called.
        columns: Features that are its energy and the three components of its momentum, all in one unit.
        mass: Its mass in that unit; None where it differs from event to event.
    """

    name: str
    columns: tuple[int, int, int, int]
    mass: float | None = None

    def __post_init__(self) -> None:
        if len(set(self.columns)) < 4 or min(self.columns) < 0:
            raise ValueError(
                f"particle {self.name!r} needs four columns of its own, got {self.columns}"
            )
        if self.mass is not None and self.mass < 0:
            raise ValueError(f"particle {self.name!r} has the mass {self.mass}, it is at least 0")


@dataclass(frozen=True)
class Resonance:
    """A short-lived particle, whose mass is that of the sum of the four-momenta of what it decays to.

    Args:
        name: What it is called.
        particles: Names of the particles.
    """

    name: str
    particles: tuple[str, ...]


def check_decays(
    particles: Sequence[Particle], resonances: Sequence[Resonance], features: int
) -> None:
    """Refuse particles and resonances that a table of so many features cannot hold.

    Raises:
        ValueError: For a column that is not there or belongs to two particles, a name that stands twice, or
            a resonance of less than two particles or of unknown ones.
    """
    columns = [column for particle in particles for column in particle.columns]
    if len(set(columns)) < len(columns) or max(columns, default=-1) >= features:
        raise ValueError(
            f"particles have the columns {columns}: they need columns of their own among {features}"
        )
    names = [particle.name for particle in particles]
    for given in (names, [resonance.name for resonance in resonances]):
        if len(set(given)) < len(given):
            raise ValueError(f"names stand twice among {given}")
    for resonance in resonances:
        parts = resonance.particles
        if len(set(parts)) < max(2, len(parts)) or not set(parts) <= set(names):
            raise ValueError(
                f"resonance {resonance.name!r} decays to {parts}: it needs at least two of {names}"
            )


def mass(momentum: Tensor) -> Tensor:
    """Mass ``(*)`` of four-momenta ``(*, 4)``, in their unit.

    A squared mass below zero counts as zero, and there the gradient is zero, too.
    """
    energy, space = momentum[..., 0], momentum[..., 1:]
    square = energy.square() - space.square().sum(-1)
    positive = square > 0
    return torch.where(positive, torch.where(positive, square, 1.0).sqrt(), 0.0)


def transverse(momentum: Tensor) -> Tensor:
    """Transverse momentum ``(*)`` of four-momenta ``(*, 4)``, in their unit."""
    return momentum[..., 1:3].norm(dim=-1)
