r"""Toys whose distributions are written down, so that what is learnt of them can be compared with the truth.

A toy is a table of named columns and a way to draw rows of it from a seed. Toys of other settings draw
other numbers, and so do the parts of one; two samples of the same settings need two seeds, or they are the
same rows.
"""

from __future__ import annotations

import hashlib
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import torch
from torch import Tensor

from simulacra.core import UserError
from simulacra.core.constructors import role
from simulacra.core.ranges import Count, Dropout, Interval, Positive, Share, Whole


@role
@dataclass(frozen=True)
class Toy(ABC):
    """A distribution of rows.

    Args:
        seed: Seed of the rows.
    """

    seed: Whole = 0

    @property
    @abstractmethod
    def columns(self) -> Mapping[str, Mapping[str, Any]]:
        """What each column is, see :func:`~simulacra.formats.table_columns.columns_of`."""

    @abstractmethod
    def draw(self, n: int, generator: torch.Generator) -> dict[str, Tensor]:
        """``n`` rows: values ``(n,)`` by name of the column, float64."""

    def sample(self, n: int, part: str) -> dict[str, Tensor]:
        """``n`` rows of a part, always the same."""
        return self.draw(n, seeded(f"{self!r} {part}"))


def seeded(text: str) -> torch.Generator:
    """A source of randomness that a text decides."""
    word = hashlib.sha256(text.encode()).digest()[:7]
    return torch.Generator().manual_seed(int.from_bytes(word, "little"))


def normal(n: int, columns: int, generator: torch.Generator) -> Tensor:
    """Standard normal numbers ``(n, columns)``, float64."""
    return torch.randn(n, columns, generator=generator, dtype=torch.float64)


@dataclass(frozen=True)
class ToyJets(Toy):
    r"""Jets of three numbers: multiplicity, logarithm of the mass and :math:`\tau_{21}`.

    .. math:: N \sim \mathrm{Poisson}(30), \quad \ln m = 4 + 0.35\, a + 0.012\, (N - 30), \quad
              \tau_{21} = \sigma(0.3 + 0.8\, b - 0.25\, (\ln m - 4)),

    Here :math:`a` and :math:`b` are standard normal.

    Args:
        seed: Seed of the rows.
        shift: What is added to :math:`a`, :math:`b` and, in its standard deviations, to the mean of N.
    """

    shift: Annotated[float, Interval(-5, 5)] = 0.0

    @property
    def columns(self) -> Mapping[str, Mapping[str, Any]]:
        """Multiplicity, logarithm of the mass [ln GeV] and subjettiness."""
        return {
            "n": {"integer": True, "low": 0.0},
            "ln_m": {},
            "tau21": {"low": 0.0, "high": 1.0},
        }

    def draw(self, n: int, generator: torch.Generator) -> dict[str, Tensor]:
        """See the base class."""
        mean = torch.full((n,), 30 + self.shift * math.sqrt(30), dtype=torch.float64)
        count = torch.poisson(mean, generator=generator)
        a, b = (normal(n, 2, generator) + self.shift).unbind(1)
        mass = 4 + 0.35 * a + 0.012 * (count - 30)
        return {
            "n": count,
            "ln_m": mass,
            "tau21": torch.sigmoid(0.3 + 0.8 * b - 0.25 * (mass - 4)),
        }


@dataclass(frozen=True)
class ToyUnfolding(Toy):
    """One number that is measured: normal at particle level, with normal noise at detector level.

    The particle level is the feature and the detector level the condition. With fakes or losses two event
    fields say which events have which: ``detected`` is 0 where there is no detector level, ``genuine`` 0
    where there is no particle level, and what there is not is 0.

    Args:
        seed: Seed of the rows.
        mean: Mean of the particle level.
        sd: Its standard deviation.
        smearing: Standard deviation of the noise.
        efficiency: Share of true events that are detected.
        fakes: Share of all events that are detected without being true, normal of width 2.
    """

    mean: float = 0.0
    sd: Positive = 1.0
    smearing: Positive = 0.5
    efficiency: Share = 1.0
    fakes: Dropout = 0.0

    @property
    def columns(self) -> Mapping[str, Mapping[str, Any]]:
        """Particle level, detector level and, where they differ between events, which of them there is."""
        levels: dict[str, Mapping[str, Any]] = {"particle": {}, "detector": {"use": "condition"}}
        if self.efficiency == 1 and not self.fakes:
            return levels
        names = ("detected", "genuine")
        return levels | {n: {"classes": [0, 1], "use": "event", "role": n} for n in names}

    def draw(self, n: int, generator: torch.Generator) -> dict[str, Tensor]:
        """See the base class."""
        one, two = normal(n, 2, generator).unbind(1)
        lost, fake = torch.rand(2, n, generator=generator, dtype=torch.float64).unbind(0)
        genuine = (fake >= self.fakes).double()
        detected = ((lost < self.efficiency) | (genuine == 0)).double()
        particle = (self.mean + self.sd * one) * genuine
        measured = torch.where(genuine > 0, particle + self.smearing * two, 2 * two) * detected
        found = {
            "particle": particle,
            "detector": measured,
            "detected": detected,
            "genuine": genuine,
        }
        return {name: found[name] for name in self.columns}


@dataclass(frozen=True)
class ToyGaussians(Toy):
    """Normal distributions of one width in the plane, evenly on a circle; of four, each in its quadrant.

    Args:
        seed: Seed of the rows.
        modes: How many there are.
        radius: Radius of the circle.
        width: Their standard deviation along both axes.
    """

    modes: Count = 4
    radius: Positive = 1.4142135623730951
    width: Positive = 0.2

    @property
    def columns(self) -> Mapping[str, Mapping[str, Any]]:
        """Both coordinates."""
        return {"x": {}, "y": {}}

    def draw(self, n: int, generator: torch.Generator) -> dict[str, Tensor]:
        """See the base class."""
        mode = torch.randint(self.modes, (n,), generator=generator)
        angle = 2 * math.pi * (mode.double() + 0.5) / self.modes
        centre = self.radius * torch.stack([angle.cos(), angle.sin()], 1)
        x, y = (centre + self.width * normal(n, 2, generator)).unbind(1)
        return {"x": x, "y": y}


@dataclass(frozen=True)
class ToyAffine(Toy):
    """A standard normal distribution in the plane, or its image under an affine map.

    Of all maps between both, one whose matrix is symmetric with eigenvalues above 0 moves events least: it
    is the gradient of a convex function (Brenier).

    Args:
        seed: Seed of the rows.
        matrix: Matrix of the map; None: the identity.
        offset: What it adds.

    Raises:
        UserError: If the matrix is not symmetric of size 2 with eigenvalues above 0, or no offset fits it.
    """

    matrix: Sequence[Sequence[float]] | None = None
    offset: Sequence[float] = (0.0, 0.0)

    def __post_init__(self) -> None:
        matrix = self._matrix
        sound = matrix.shape == (2, 2) and torch.equal(matrix, matrix.T)
        if not sound or float(torch.linalg.eigvalsh(matrix).min()) <= 0 or len(self.offset) != 2:
            raise UserError(
                "an affine toy needs a symmetric matrix of size 2 with eigenvalues above 0 and two numbers "
                f"as offset, got {self.matrix} and {list(self.offset)}"
            )

    @property
    def columns(self) -> Mapping[str, Mapping[str, Any]]:
        """Both coordinates."""
        return {"x": {}, "y": {}}

    def draw(self, n: int, generator: torch.Generator) -> dict[str, Tensor]:
        """See the base class."""
        x, y = self.map(normal(n, 2, generator)).unbind(1)
        return {"x": x, "y": y}

    def map(self, points: Tensor) -> Tensor:
        """Images of points ``(n, 2)``, float64."""
        return points.double() @ self._matrix + torch.tensor(self.offset, dtype=torch.float64)

    @property
    def _matrix(self) -> Tensor:
        rows = [[1.0, 0.0], [0.0, 1.0]] if self.matrix is None else [list(r) for r in self.matrix]
        if len({len(row) for row in rows}) > 1:
            return torch.zeros(0, 0, dtype=torch.float64)
        return torch.tensor(rows, dtype=torch.float64)


@dataclass(frozen=True)
class ToyPeaks(Toy):
    """Normal distributions of one width on a line, evenly spaced around 0.

    Args:
        seed: Seed of the rows.
        modes: How many there are.
        distance: Distance between neighbours.
        width: Their standard deviation.

    Reference: two of them, 8 widths apart, are the target of Butter et al., arXiv:2008.06545.
    """

    modes: Count = 2
    distance: Positive = 8.0
    width: Positive = 1.0

    @property
    def columns(self) -> Mapping[str, Mapping[str, Any]]:
        """The one coordinate."""
        return {"x": {}}

    def draw(self, n: int, generator: torch.Generator) -> dict[str, Tensor]:
        """See the base class."""
        mode = torch.randint(self.modes, (n,), generator=generator)
        centre = self.distance * (mode.double() - (self.modes - 1) / 2)
        return {"x": centre + self.width * normal(n, 1, generator)[:, 0]}


@dataclass(frozen=True)
class ToyWedge(Toy):
    """A ramp in the unit square, of density 2 x.

    Args:
        seed: Seed of the rows.

    Reference: Bellagente et al., arXiv:2104.04543, section 3.1.
    """

    @property
    def columns(self) -> Mapping[str, Mapping[str, Any]]:
        """Along the ramp and across it."""
        return {name: {"low": 0.0, "high": 1.0} for name in ("x", "y")}

    def draw(self, n: int, generator: torch.Generator) -> dict[str, Tensor]:
        """See the base class."""
        along, across = torch.rand(2, n, generator=generator, dtype=torch.float64).unbind(0)
        return {"x": along.sqrt(), "y": across}
