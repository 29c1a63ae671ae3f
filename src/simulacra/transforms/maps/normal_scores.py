r"""Normal scores of a shower's cells, each at the energy of its layer or shower.

A cell is empty with a probability :math:`1 - r`, and where it is hit its number has a distribution of its
own. Both move with the energy of the cell's group: at knots of its logarithm each cell has a share ``r`` of
hits and a table ``T`` of the values at evenly spaced normal scores of the hits alone, interpolated linearly
between knots and between entries. With the normal distribution :math:`\Phi`,

.. math:: \Phi(-z) = r\, \Phi(-T^{-1}(y)) \quad\text{of a hit}, \qquad
    \Phi(z) = (1 - r)\, u \quad\text{of an empty cell},

with ``u`` evenly distributed. So a network that has learnt nothing yet, whose cells are independent normal
numbers, already has every cell's distribution at every energy, how often it is empty too; it is left to learn
what cells have to do with each other.

A table is made of the hits whose energy is nearer to its knot than to the next ones, weighted likewise, moved
along the cell's mean as if they had the energy of the knot; where they are few, it tends to what hits of the
whole group are around the means of their cells. Beyond its ends it goes on as a straight line of its own mean
slope.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.special import log_ndtr, ndtr, ndtri

from simulacra.core import draws
from simulacra.core.ranges import Count
from simulacra.transforms.maps.cell_scaling import CellScaling

REACH = 3.5
"""Largest normal score of a table."""
SLOPE = 1.0
"""Smallest slope of a table beyond its ends, in units of the cells' numbers per normal score."""
STEP = 1e-4
"""What entries of a table differ by at least, in units of the cells' numbers."""
PRIOR = 10.0
"""Hits of its whole group that a cell's table is made of beside its own."""
RARE = 1e-5
"""Smallest share of hits, and of empty cells where there are any."""
TAIL = 1e-30
"""Smallest probability whose normal score is taken."""
EMPTY = -30.0
"""The number of an empty cell on the way back, and less the farther it is from a hit."""
KEPT = 60_000_000
"""Numbers of cells that tables are made of at most: events beyond are left out by chance."""


class NormalScores(CellScaling):
    """See the module's docstring.

    Args:
        groups: Numbers of cells of the groups.
        knots: Energies at which each cell has a table, at least 2.
        levels: Entries of a table, at least 3.
    """

    knots: Tensor
    often: Tensor
    values: Tensor
    group: Tensor

    def __init__(self, groups: Sequence[int], knots: Count, levels: Count) -> None:
        super().__init__()
        cells = sum(groups)
        self.groups = tuple(groups)
        self.register_buffer("knots", torch.arange(float(knots)).repeat(len(groups), 1))
        self.register_buffer("often", torch.ones(knots, cells))
        start = torch.linspace(-REACH, REACH, levels)
        self.register_buffer("values", start.repeat(knots, cells, 1))
        of = torch.arange(len(groups)).repeat_interleave(torch.tensor(self.groups))
        self.register_buffer("group", of, persistent=False)
        self._kept: list[tuple[Tensor, ...]] = []
        self._seen = 0

    @property
    def levels(self) -> int:
        """Entries of a table."""
        return self.values.shape[-1]

    @property
    def width(self) -> float:
        """Normal scores between two entries of a table."""
        return 2 * REACH / (self.levels - 1)

    def collect(self, y: Tensor, energies: Tensor, hit: Tensor, empty: Tensor) -> None:
        """See :meth:`CellScaling.collect`."""
        chance = torch.Generator().manual_seed(self._seen)
        self._seen += 1
        draw = torch.rand(len(y), generator=chance)
        self._kept.append((draw, y.cpu(), energies.cpu(), empty.cpu()))
        if sum(part[1].numel() for part in self._kept) > 2 * KEPT:
            self._kept = [self._chosen()]

    def settle(self) -> None:
        """See :meth:`CellScaling.settle`."""
        _, y, energies, empty = self._chosen()
        self._kept, self._seen = [], 0
        self.knots.copy_(_knots(energies, self.knots.shape[1]))
        weights = self._hats(energies.to(self.knots))
        levels = self.levels
        shares = ndtr(torch.linspace(-REACH, REACH, levels)).to(self.values)
        start = 0
        for number, cells in enumerate(self.groups):
            part = slice(start, start + cells)
            hit = (~empty[:, part]).to(shares)
            self.often[:, part] = _often(hit, weights[:, number])
            self.values[:, part] = _tables(y[:, part].to(shares), hit, weights[:, number], shares)
            start += cells
        self.values.add_(STEP * torch.arange(levels, device=self.values.device))

    def forward(
        self,
        y: Tensor,
        energies: Tensor,
        empty: Tensor,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """See the class; without noise empty cells are in the middle of theirs."""
        table, share = self._between(energies)
        often = self._at(self.often, table, share)
        noise: Tensor | float = 0.5
        if self.training or generator is not None:
            noise = draws.uniform(y.shape, y, generator)
        z = ndtri(((1 - often) * noise).clamp(1e-7, 1 - 1e-7))
        hit = ~empty
        score = self._score(y[hit], table[hit], share[hit])
        return z.masked_scatter(hit, _joined(score, often[hit]).to(z))

    def inverse(self, z: Tensor, energies: Tensor) -> Tensor:
        """See :meth:`CellScaling.inverse`."""
        table, share = self._between(energies)
        score, ratio = (part.to(z) for part in _parted(z, self._at(self.often, table, share)))
        place = (score + REACH) / self.width
        left = place.detach().floor().clamp(0, self.levels - 2)
        within = (place - left).clamp(0, 1)
        beyond = place - left - within
        at = left.nan_to_num().long()
        low, high = self._entry(table, share, at), self._entry(table, share, at + 1)
        first, last = (self._entry(table, share, 0 * at + end) for end in (0, self.levels - 1))
        y = low + within * (high - low) + beyond * self._rise(first, last)
        return torch.where(ratio > 1, EMPTY - ratio.clamp(min=1).log(), y)

    def _score(self, y: Tensor, table: Tensor, share: Tensor) -> Tensor:
        """Normal scores of hits ``(N,)`` among the hits of their cells."""
        rows, cells = self.values.flatten(0, 1), len(self.group)
        tables = torch.lerp(rows[table], rows[table + cells], share[:, None])
        left = (tables[:, 1:-1] <= y[:, None]).sum(-1, keepdim=True)
        low, high = tables.gather(-1, left)[:, 0], tables.gather(-1, left + 1)[:, 0]
        within = ((y - low) / (high - low)).clamp(0, 1)
        beyond = (y - low - within * (high - low)) / self._rise(tables[:, 0], tables[:, -1])
        return (left[:, 0] + within + beyond) * self.width - REACH

    def _at(self, values: Tensor, table: Tensor, share: Tensor) -> Tensor:
        """What cells have at the knots, ``(K, V)``, at the energies of events ``(B, V)``."""
        flat = values.flatten()
        return torch.lerp(flat[table], flat[table + len(self.group)], share)

    def _entry(self, table: Tensor, share: Tensor, number: Tensor) -> Tensor:
        """An entry of each table ``(B, V)``."""
        entries, at = self.values.flatten(), table * self.levels + number
        return torch.lerp(entries[at], entries[at + self.values[0].numel()], share)

    def _rise(self, first: Tensor, last: Tensor) -> Tensor:
        """From one entry to the next beyond the ends of a table: that of the whole table."""
        return ((last - first) / (self.levels - 1)).clamp(min=SLOPE * self.width)

    def _between(self, energies: Tensor) -> tuple[Tensor, Tensor]:
        """Number of each cell's table at the knot below, and how far the energy is to the next ``(B, V)``."""
        knot = (energies[..., None] >= self.knots[:, 1:-1]).sum(-1)
        past = self._past(energies).gather(-1, knot[..., None])[..., 0]
        cells = torch.arange(len(self.group), device=knot.device)
        return knot[:, self.group] * len(cells) + cells, past[:, self.group]

    def _past(self, energies: Tensor) -> Tensor:
        """How far energies ``(B, G)`` are from each knot to the next, in [0, 1], ``(B, G, K - 1)``."""
        steps = (energies[..., None] - self.knots[:, :-1]) / self.knots.diff(dim=1)
        return steps.clamp(0, 1)

    def _hats(self, energies: Tensor) -> Tensor:
        """Weights of the knots ``(B, G, K)``, which sum to 1."""
        past = self._past(energies)
        ends = torch.ones_like(past[..., :1])
        return torch.cat([ends, past], -1) - torch.cat([past, 0 * ends], -1)

    def _chosen(self) -> tuple[Tensor, ...]:
        """As many of the events collected as are kept."""
        if not self._kept:
            raise ValueError("no statistics: fit saw no events")
        parts = [torch.cat(part) for part in zip(*self._kept, strict=True)]
        best = parts[0].argsort()[: max(1, KEPT // parts[1].shape[1])].sort().values
        return tuple(part[best] for part in parts)


def _joined(score: Tensor, often: Tensor) -> Tensor:
    """Scores of hits among all events from those among the hits, which are so often; exact in both tails."""
    score, often = score.double(), often.double()
    above, below = often * _tail(score), (1 - often) + often * _tail(-score)
    return _where(above, below)


def _parted(z: Tensor, often: Tensor) -> tuple[Tensor, Tensor]:
    """The way back, and how much more likely a score beyond ``z`` is than a hit: an empty cell above 1."""
    z, often = z.double(), often.double()
    above, rest = _tail(z) / often, (_tail(-z) - (1 - often)) / often
    below = torch.where(z > 0, 1 - above, rest)  # the one that is not a small difference
    return _where(above, below), above


def _tail(z: Tensor) -> Tensor:
    """Probability of a normal number above ``z``, with all digits on both sides."""
    return log_ndtr(-z).exp()


def _where(above: Tensor, below: Tensor) -> Tensor:
    """The score that has the one probability above it and the other below, from the smaller of them."""
    high, low = (ndtri(part.clamp(TAIL, 0.6)) for part in (above, below))
    return torch.where(above < 0.5, -high, low)


def _knots(energies: Tensor, count: int) -> Tensor:
    """Knots ``(G, K)`` half-way between quantiles and even steps, from the smallest energy to the largest."""
    share = torch.linspace(0, 1, count, dtype=torch.float64)
    order = energies.double().sort(0).values
    at = (share * (len(order) - 1)).round().long()
    low, high = order[0], order[-1]
    even = low + share[:, None] * (high - low)
    return (0.5 * (order[at] + even) + 1e-3 * torch.arange(count)[:, None]).T


def _often(hit: Tensor, weights: Tensor) -> Tensor:
    """Shares of hits ``(K, n)`` of cells ``(N, n)`` whose events weigh ``(N, K)``."""
    weights = weights + 1e-3 / len(weights)  # a knot without events has the share of all
    share = (weights.T @ hit) / weights.sum(0)[:, None]
    always = hit.amin(0) > 0
    return torch.where(always, 1.0, share.clamp(RARE, 1 - RARE))


def _tables(y: Tensor, hit: Tensor, weights: Tensor, shares: Tensor) -> Tensor:
    """Quantiles ``(K, n, Q)`` of the hits among cells ``(N, n)`` whose events weigh ``(N, K)``."""
    knots = weights.shape[1]
    # means of each cell's hits, linear between knots; where there are none, as at the next knot
    steps = torch.eye(knots).to(y).diff(dim=0)
    pairs = (weights[:, :, None] * weights[:, None, :]).flatten(1)
    square = (hit.T @ pairs).unflatten(1, (knots, knots)) + steps.T @ steps
    square = square + 1e-6 * torch.eye(knots).to(y)
    means = torch.linalg.solve(square, (hit * y).T @ weights)  # (n, K)
    rest = torch.where(hit > 0, y - weights @ means.T, torch.inf).T.contiguous()
    rest, order = rest.sort(1)  # hits first
    hits = hit.T.gather(1, order)
    rest = rest.masked_fill(hits == 0, 0.0)
    every, of = rest[hits > 0].sort()
    found = []
    for mean, weight in zip(means.T, (weights + 1e-3 / len(weights)).T, strict=True):
        each = weight[order] * hits
        own = _quantiles(rest, each, hits.sum(1), shares)
        common = _quantiles(
            every[None], each[hits > 0][of][None], every.new_full((1,), len(every)), shares
        )
        known = each.sum(1, keepdim=True)
        found.append(mean[:, None] + torch.lerp(common, own, known / (known + PRIOR)))
    return torch.stack(found)


def _quantiles(values: Tensor, weights: Tensor, counts: Tensor, shares: Tensor) -> Tensor:
    """Quantiles ``(n, Q)`` of rows of ordered values ``(n, N)``, of which the first ones count ``(n,)``."""
    if not values.shape[1]:
        return values.new_zeros(len(values), len(shares))
    sums = weights.cumsum(1)
    middles = (sums - 0.5 * weights) / sums[:, -1:].clamp(min=TAIL)
    right = torch.searchsorted(middles, shares.expand(len(values), -1).contiguous())
    last = (counts[:, None].long() - 1).clamp(min=0)
    ends = [(right - 1).clamp(min=0), right.minimum(last)]
    before, after = (middles.gather(1, end) for end in ends)
    low, high = (values.gather(1, end) for end in ends)
    between = ((shares - before) / (after - before).clamp(min=1e-12)).clamp(0, 1)
    return low + between * (high - low)
