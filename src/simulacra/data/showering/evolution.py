r"""An angular-ordered shower of massless partons by the veto algorithm, all jets at once.

A parton that was made at the angle :math:`\theta_0` splits at an angle :math:`\theta \le r\,\theta_0` with
the rate of :mod:`simulacra.data.showering.kernels`, and no more below :math:`\theta_{min}`; shares stay
between :math:`z_{cut}` and :math:`1 - z_{cut}`. Daughters with shares :math:`z` and :math:`1 - z` lie at a
distance :math:`\theta` from each other, at an even azimuth, around the place of their mother: momentum and
the momentum-weighted direction are conserved exactly in the plane of small angles.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from simulacra.core import UserError
from simulacra.core.constructors import constructor
from simulacra.core.ranges import Interval, Margin, Positive
from simulacra.data.showering.kernels import Kernels


@constructor
@dataclass(frozen=True)
class Evolution:
    """How a shower runs.

    Args:
        coupling: ``alpha_s``, fixed.
        widest: Angle at which the first parton was made [rad].
        narrowest: Angle below which nothing splits [rad].
        ordering: ``r``, at most 1: how much narrower than its own making a parton may split.
        cut: Smallest share of a daughter.
        both: Whether both daughters split on, or the first alone: the parton with the share ``z`` then emits
            the other ones, which stay as they are.

    Raises:
        UserError: If the narrowest angle is not below the widest one times the ordering.
    """

    coupling: Positive
    widest: Annotated[float, Interval(0, 1, above=True)]
    narrowest: Positive
    ordering: Annotated[float, Interval(0, 1, above=True)]
    cut: Margin
    both: bool = True

    def __post_init__(self) -> None:
        if self.narrowest >= self.begin:
            raise UserError(
                f"a shower between {self.widest:g} and {self.narrowest:g} rad with ordering "
                f"{self.ordering:g} has no room for a splitting"
            )

    @property
    def begin(self) -> float:
        """Widest angle of a splitting [rad]."""
        return self.widest * self.ordering

    def hardness(self, z: Tensor, momentum: Tensor, angle: Tensor) -> Tensor:
        """``y`` of a splitting of a parton with a share of the jet's momentum: the squared mass over its
        largest value, at even shares of the whole momentum and the widest angle of a splitting.
        """
        return 4 * z * (1 - z) * (momentum * angle / self.begin).square()


@dataclass(frozen=True)
class Partons:
    """Partons of ``n`` jets, one a row.

    Args:
        jet: Number of the jet, int64 ``(M,)``.
        flavour: Int64 ``(M,)``.
        momentum: Share of the jet's momentum.
        place: Direction relative to the jet's axis [rad], ``(M, 2)``.
        angle: Angle at which it may split at most [rad].
        end: Angle at which it has split, or the narrowest one.
    """

    jet: Tensor
    flavour: Tensor
    momentum: Tensor
    place: Tensor
    angle: Tensor
    end: Tensor

    def __getitem__(self, rows: Tensor) -> Partons:
        return Partons(*(getattr(self, name)[rows] for name in self.__dataclass_fields__))

    @staticmethod
    def cat(parts: list[Partons]) -> Partons:
        """One after the other."""
        names = Partons.__dataclass_fields__
        return Partons(*(torch.cat([getattr(part, name) for part in parts]) for name in names))


@dataclass(frozen=True)
class Splittings:
    """Splittings of ``n`` jets, one a row.

    Args:
        jet: Number of the jet, int64 ``(M,)``.
        flavour: Flavour of the mother, int64 ``(M,)``.
        z: Share of the first daughter.
        y: Hardness.
    """

    jet: Tensor
    flavour: Tensor
    z: Tensor
    y: Tensor


@dataclass(frozen=True)
class Showers:
    """What a shower has come to.

    Args:
        final: Partons that have not split.
        split: Those that have.
        splittings: How, in the order of ``split``.
        n: Number of jets.
    """

    final: Partons
    split: Partons
    splittings: Splittings
    n: int

    def clouds(self, points: int) -> tuple[Tensor, Tensor, Tensor]:
        """Final partons as clouds ``(n, points, 3)`` of both directions [rad] and the share of the momentum,
        the hardest first, their mask ``(n, points)``, and whether a jet has no more than so many ``(n,)``;
        the softest ones of others are left out.
        """
        final = self.final
        order = torch.argsort(final.momentum, descending=True, stable=True)
        order = order[torch.argsort(final.jet[order], stable=True)]
        jet = final.jet[order]
        counts = torch.bincount(jet, minlength=self.n)
        rank = torch.arange(len(jet)) - (counts.cumsum(0) - counts)[jet]
        kept = rank < points
        x = torch.zeros(self.n, points, 3, dtype=torch.float64)
        rows = torch.cat([final.place, final.momentum[:, None]], 1)[order]
        x[jet[kept], rank[kept]] = rows[kept]
        return x, torch.arange(points) < counts[:, None], counts <= points


def run(
    kernels: Kernels,
    evolution: Evolution,
    flavour: Tensor,
    generator: torch.Generator,
    coefficients: Tensor | None = None,
) -> Showers:
    """Shower jets.

    Args:
        kernels: What partons split by.
        evolution: How the shower runs.
        flavour: Flavour of the first parton of each jet, int64 ``(n,)``.
        generator: Source of randomness.
        coefficients: Those of the terms for each jet ``(n, K)``; None: those of the kernels.
    """
    n = len(flavour)
    if coefficients is None:
        own = torch.tensor(kernels.coefficients, dtype=torch.float64)
        coefficients = own.expand(n, -1)
    begin = evolution.begin
    one = torch.ones(n, dtype=torch.float64)
    active = Partons(
        torch.arange(n), flavour, one, torch.zeros(n, 2, dtype=torch.float64), begin * one,
        begin * one,
    )  # fmt: skip
    final, split, how = [], [], []
    while len(active.jet):
        active, z, accepted, over = _propose(kernels, evolution, active, coefficients, generator)
        final.append(active[over])
        mothers = active[accepted]
        share = z[accepted]
        y = evolution.hardness(share, mothers.momentum, mothers.end)
        split.append(mothers)
        how.append(Splittings(mothers.jet, mothers.flavour, share, y))
        daughters, resting = _daughters(
            kernels, evolution, mothers, share, y, coefficients, generator
        )
        final.append(resting)
        active = Partons.cat([active[~(over | accepted)], daughters])
    joined = [
        torch.cat([getattr(item, name) for item in how]) for name in ("jet", "flavour", "z", "y")
    ]
    return Showers(Partons.cat(final), Partons.cat(split), Splittings(*joined), n)


def _propose(
    kernels: Kernels,
    evolution: Evolution,
    active: Partons,
    coefficients: Tensor,
    generator: torch.Generator,
) -> tuple[Partons, Tensor, Tensor, Tensor]:
    """The next angle of each parton, a share, whether it splits so, and whether it has come to its end."""
    bounds = torch.zeros_like(active.momentum)
    for k, term in enumerate(kernels.terms):
        bounds += coefficients[active.jet, k] * term.bound * (active.flavour == term.mother)
    logit = math.log((1 - evolution.cut) / evolution.cut)
    rate = evolution.coupling / math.pi * bounds * 2 * logit  # g integrates to 2 ln((1 - c) / c)
    first, second, third = torch.rand(3, len(bounds), generator=generator, dtype=torch.float64)
    end = active.end * torch.exp(torch.log1p(-first) / rate)
    over = end < evolution.narrowest
    end = end.clamp_min(evolution.narrowest)
    z = torch.sigmoid(logit * (2 * second - 1))  # of density g
    y = evolution.hardness(z, active.momentum, end)
    height = torch.zeros_like(z)
    for k, term in enumerate(kernels.terms):
        own = coefficients[active.jet, k] * (active.flavour == term.mother)
        height += own * term.density(z, y)
    accepted = (third * bounds * (1 / z + 1 / (1 - z)) < height) & ~over
    moved = Partons(active.jet, active.flavour, active.momentum, active.place, active.angle, end)
    return moved, z, accepted, over


def _daughters(
    kernels: Kernels,
    evolution: Evolution,
    mothers: Partons,
    z: Tensor,
    y: Tensor,
    coefficients: Tensor,
    generator: torch.Generator,
) -> tuple[Partons, Partons]:
    """Daughters that split on, and those that do not."""
    terms = kernels.terms
    weights = torch.stack(
        [
            coefficients[mothers.jet, k] * (mothers.flavour == term.mother) * term.density(z, y)
            for k, term in enumerate(terms)
        ],
        1,
    )
    level, turn = torch.rand(2, len(z), generator=generator, dtype=torch.float64)
    summed = weights.cumsum(1)
    chosen = (summed <= level[:, None] * summed[:, -1:]).sum(1).clamp_max(len(terms) - 1)
    flavours = torch.tensor([term.daughters for term in terms])[chosen]
    azimuth = 2 * math.pi * turn
    across = mothers.end[:, None] * torch.stack([azimuth.cos(), azimuth.sin()], 1)
    begin = mothers.end * evolution.ordering
    made = []
    for side, share, lever in ((0, z, 1 - z), (1, 1 - z, -z)):
        place = mothers.place + lever[:, None] * across
        momentum = mothers.momentum * share
        made.append(Partons(mothers.jet, flavours[:, side], momentum, place, begin, begin))
    line, emitted = made
    nothing = emitted[torch.zeros(0, dtype=torch.long)]
    return (Partons.cat(made), nothing) if evolution.both else (line, emitted)
