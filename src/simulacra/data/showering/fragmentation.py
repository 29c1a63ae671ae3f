r"""Samples of jets whose splitting kernels have unknown coefficients: a row for each pair of samples.

A row holds coefficients of :class:`~simulacra.data.showering.kernels.QuarksAndGluons`, evenly distributed
in given ranges, and what is measured of a sample of quark jets and one of gluon jets that were showered
with them: mean numbers of splittings of the Cambridge/Aachen tree of the final state in cells of
:math:`\ln z` and of the logarithm of :math:`p \Delta`, with the share z of the softer
part, the momentum p of both and their distance.

The exact likelihood of the coefficients is known where one knows which parton has split, and how:

.. math:: \ln L(c) = \sum_{splittings} \ln \sum_k c_k P_k(z, y) - \frac{\alpha_s}{\pi} \sum_k c_k
          \sum_{partons} \int d\ln\theta \int dz\, P_k(z, y) .

It says more than final states do, so that no posterior is narrower in the mean than the one that belongs
to it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from simulacra.core import UserError
from simulacra.core.ranges import Count
from simulacra.data.showering.evolution import Evolution, Partons, Showers, run
from simulacra.data.showering.kernels import GLUON, QUARK, QuarksAndGluons
from simulacra.data.toy_samples import Toy, seeded
from simulacra.transforms.clustering import ANGLE, SHARE, Trees, cluster

SAMPLES = ("quark", "gluon")
JETS_AT_ONCE = 20_000
"""Jets that are showered together."""
NODES, LEVELS = 401, 200
"""Of integrals over the share and over the logarithm of the momentum times the angle."""


@dataclass(frozen=True)
class ToyFragmentation(Toy):
    """See the module's docstring.

    Args:
        seed: Seed of the rows.
        ranges: By name of a coefficient its two ends.
        evolution: How showers run.
        jets: Jets of each of both samples of a row.
        points: Partons of a jet that are looked at, the hardest ones.
        cells: Cells along the logarithms of the share and of the momentum times the angle.

    Raises:
        UserError: If a coefficient is not known, or a range is none.
    """

    ranges: Mapping[str, Sequence[float]] = None  # type: ignore[assignment]  # has no default of its own
    evolution: Evolution = None  # type: ignore[assignment]
    jets: Count = 200
    points: Count = 24
    cells: Sequence[Count] = (6, 4)

    def __post_init__(self) -> None:
        known = [term.name for term in self.kernels.terms]
        wrong = [
            name
            for name, ends in (self.ranges or {}).items()
            if name not in known or len(ends) != 2 or not 0 <= ends[0] < ends[1]
        ]
        if wrong or not self.ranges or self.evolution is None or len(self.cells) != 2:
            raise UserError(
                f"ranges are two rising numbers from 0 for some of {', '.join(known)}, and cells "
                f"two numbers, "
                f"got {dict(self.ranges or {})} and {list(self.cells)}"
            )

    @property
    def kernels(self) -> QuarksAndGluons:
        """Those of QCD."""
        return QuarksAndGluons()

    @property
    def columns(self) -> Mapping[str, Mapping[str, Any]]:
        """Coefficients, then numbers of splittings of quark jets and of gluon jets."""
        found: dict[str, Mapping[str, Any]] = {
            name: {"low": float(ends[0]), "high": float(ends[1])}
            for name, ends in self.ranges.items()
        }
        names = [
            f"{s}_{i}_{j}"
            for s in SAMPLES
            for i in range(self.cells[0])
            for j in range(self.cells[1])
        ]
        return found | {name: {"use": "condition", "low": 0.0} for name in names}

    def draw(self, n: int, generator: torch.Generator) -> dict[str, Tensor]:
        """See the base class."""
        coefficients, rows = [], []
        for asked, showers in self.simulated(n, generator):
            x, mask, _ = showers.clouds(self.points)
            counts = self.counted(cluster(x, mask), x[:, :, 2])
            rows.append(counts.unflatten(0, (len(asked), 2, self.jets)).mean(2).flatten(1))
            coefficients.append(asked)
        names = list(self.columns)
        values = torch.cat([torch.cat(coefficients), torch.cat(rows)], 1)
        return dict(zip(names, values.unbind(1), strict=True))

    def simulated(self, n: int, generator: torch.Generator) -> Iterator[tuple[Tensor, Showers]]:
        """Coefficients of some rows ``(m, K)``, and the showers of their jets, ``2 jets`` of each row."""
        ends = torch.tensor([list(ends) for ends in self.ranges.values()], dtype=torch.float64)
        size = max(1, JETS_AT_ONCE // (2 * self.jets))
        for start in range(0, n, size):
            m = min(size, n - start)
            unit = torch.rand(m, len(ends), generator=generator, dtype=torch.float64)
            asked = ends[:, 0] + unit * (ends[:, 1] - ends[:, 0])
            each = self.all_of(asked).repeat_interleave(2 * self.jets, 0)
            flavour = torch.tensor([QUARK, GLUON]).repeat_interleave(self.jets).repeat(m)
            yield asked, run(self.kernels, self.evolution, flavour, generator, each)

    def all_of(self, asked: Tensor) -> Tensor:
        """All coefficients ``(m, 8)`` of those that are asked for ``(m, K)``."""
        names = [term.name for term in self.kernels.terms]
        whole = torch.tensor(self.kernels.coefficients, dtype=torch.float64).repeat(len(asked), 1)
        whole[:, [names.index(name) for name in self.ranges]] = asked
        return whole

    def counted(self, trees: Trees, momentum: Tensor) -> Tensor:
        """Numbers of splittings of jets in all cells ``(B, cells)``; those beyond the ends count at the ends.

        Args:
            trees: Trees of the final states.
            momentum: Momenta of the final states ``(B, N)``, of which trees tell the sum.
        """
        evolution, b = self.evolution, len(momentum)
        rows = torch.arange(b)
        own = torch.zeros(b, trees.mother.shape[1] + 1, dtype=torch.float64)
        own[:, 0] = trees.jet[:, 2]
        scale = torch.ones_like(trees.splitting[..., 0])
        for k in range(trees.mother.shape[1]):
            mother, z = trees.mother[:, k], trees.splitting[:, k, SHARE]
            whole = own[rows, mother]
            scale[:, k] = whole
            own[rows, mother], own[:, k + 1] = (1 - z) * whole, z * whole
        hard = (scale * trees.splitting[..., ANGLE] / evolution.begin).clamp_min(1e-9).log()
        soft = trees.splitting[..., SHARE].clamp_min(1e-9).log()
        place = torch.zeros_like(trees.mother)
        lowest = (math.log(evolution.cut), math.log(evolution.narrowest / evolution.begin))
        highest = (-math.log(2), 0.0)
        for value, low, high, number in zip((soft, hard), lowest, highest, self.cells, strict=True):
            index = ((value - low) / (high - low) * number).floor().long().clamp(0, number - 1)
            place = place * number + index
        found = torch.zeros(b, self.cells[0] * self.cells[1], dtype=torch.float64)
        return found.scatter_add(1, place, trees.mask.double())

    def log_likelihoods(self, n: int, part: str, candidates: Tensor) -> Tensor:
        """Exact logarithms of the likelihoods of candidates ``(S, K)`` for the ``n`` rows of a part ``(n,
        S)``, up to what does not depend on them, from all splittings and their flavours.
        """
        whole = self.all_of(candidates)  # (S, 8)
        terms = self.kernels.terms
        table = Exposures(self.evolution, self.kernels)
        found = []
        for asked, showers in self.simulated(n, seeded(f"{self!r} {part}")):
            split, row = showers.splittings, showers.splittings.jet // (2 * self.jets)
            parts = torch.stack(
                [term.density(split.z, split.y) * (split.flavour == term.mother) for term in terms],
                1,
            )
            logs = torch.zeros(len(asked), len(whole), dtype=torch.float64)
            for r in range(len(asked)):
                logs[r] = (parts[row == r] @ whole.T).log().sum(0)
            partons = Partons.cat([showers.final, showers.split])
            lived = torch.zeros(len(asked), len(terms), dtype=torch.float64)
            lived.index_add_(0, partons.jet // (2 * self.jets), table(partons))
            found.append(logs - self.evolution.coupling / math.pi * lived @ whole.T)
        return torch.cat(found)


class Exposures:
    r"""Integrals :math:`\int d\ln\theta \int dz\, P_k` over the evolution of partons, from a table in
    :math:`\ln(p \theta / r \theta_0)`.

    Args:
        evolution: How the shower runs.
        kernels: What partons split by.
    """

    def __init__(self, evolution: Evolution, kernels: QuarksAndGluons) -> None:
        self.evolution, self.terms = evolution, kernels.terms
        edge = math.log((1 - evolution.cut) / evolution.cut)
        logit = torch.linspace(-edge, edge, NODES, dtype=torch.float64)
        z = logit.sigmoid()
        low = math.log(evolution.narrowest / evolution.begin) + 8 * math.log(evolution.cut)
        self.levels = torch.linspace(low, 0.0, LEVELS, dtype=torch.float64)
        y = 4 * z * (1 - z) * (2 * self.levels[:, None]).exp()  # (LEVELS, NODES)
        height = torch.stack([term.density(z.expand_as(y), y) for term in self.terms], 1)
        rate = torch.trapezoid(height * z * (1 - z), logit)  # (LEVELS, 8)
        steps = (rate[1:] + rate[:-1]) / 2 * self.levels.diff()[:, None]
        self.reached = torch.cat([torch.zeros(1, len(self.terms)).double(), steps.cumsum(0)])

    def __call__(self, partons: Partons) -> Tensor:
        """``(M, 8)``, 0 for terms of other flavours."""
        ends = [
            self._at((partons.momentum * angle / self.evolution.begin).log())
            for angle in (partons.angle, partons.end)
        ]
        own = torch.stack([partons.flavour == term.mother for term in self.terms], 1)
        idle = (partons.angle <= self.evolution.narrowest)[:, None]
        return torch.where(own & ~idle, ends[0] - ends[1], 0.0)

    def _at(self, level: Tensor) -> Tensor:
        """The table between its levels, along a straight line; below them the rate is that of the first."""
        step = self.levels[1] - self.levels[0]
        place = ((level - self.levels[0]) / step).clamp_max(LEVELS - 1)
        low = place.floor().clamp(0, LEVELS - 2).long()
        share = (place - low)[:, None]
        return self.reached[low] * (1 - share) + self.reached[low + 1] * share
