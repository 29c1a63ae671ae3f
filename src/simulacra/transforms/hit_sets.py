r"""Pixel sensors as correlated numbers of hits and sets of clusters: no network ever sees an image.

The number :math:`n_s` of hits in sensor :math:`s` at the background rate :math:`r` becomes

.. math:: z = L(r)^{-1} \Big(\ln \frac{n_s + 1/2}{r} - m_s\Big)_s, \qquad
   L L^T = C(r) = A + \mathrm{diag}(d_s) / r,

where :math:`m_s` are means, :math:`A` is what fluctuates with the whole event and :math:`d_s / r` what
fluctuates in a sensor by itself: with a Poisson number of clusters of :math:`k` hits at rate 1
:math:`d_s = \langle k^2 \rangle / (\langle k \rangle \langle n_s \rangle)`. So the numbers follow the rate
beyond the range of training, and what is left to learn is about normal and uncorrelated.

Hits that touch (:mod:`simulacra.core.clusters`) are a cluster; one of more than ``points`` hits is cut into
pieces in the order of its rows. A cluster has a seed, its largest charge, and the number of its hits: their
row, column and number come as normal scores over all clusters of the fit, its hits as rows and columns
relative to the seed's and the normal score of the charge. Whole numbers are spread uniformly in
training, over a unit or, around the seed, part of one. Clusters are told apart by their sensor and see
how densely it is hit.

Back, hits are snapped to their cells, charges to whole ADU; what falls into one cell adds up to the largest
charge that a cell can hold. Events that were normalised come back as they are.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from simulacra.core import Batch, Conditions, Field, Latent, Spec, draws
from simulacra.core.clusters import connected
from simulacra.core.ranges import Count, Whole
from simulacra.transforms.base import Batches, Transform
from simulacra.transforms.maps.quantile import QuantileMap

FIT_HITS = 500_000
"""Hits whose clusters set scales, at most; the numbers of hits of all events do."""
WITHIN = 0.4
"""Part of a cell over which a hit is spread in training: what is generated may miss by the rest of it."""
NARROWEST = 1e-4
"""Smallest variance of logarithms of numbers of hits."""


class HitSets(Transform):
    """See the module's docstring.

    Latent stages: ``counts`` ``(B, S)``; ``clusters`` ``(B, M, 6)``, normal scores of row, column and number
    of hits, then that number (0: padding), the sensor and how densely it is hit; ``points`` ``(B, M, K, 3)``,
    their hits; ``hits`` ``(B, N, 4)``, sensor, row, column and charge [ADU] of all hits, which the mask of
    the latent tells from padding, where they are to come back: not in training.

    Args:
        spec: Images ``(S, rows, cols)`` of whole charges, whose first feature says the largest.
        given: Fields that the generator is given.
        reach: Distance up to which hits are one cluster, see :mod:`simulacra.core.clusters`.
        points: ``K``, hits of a cluster at most.
        seen: Sensors of an event whose clusters a training step sees, drawn at random; outside of training
            all are seen.
    """

    offset: Tensor
    shared: Tensor
    own: Tensor
    density: Tensor
    size: Tensor
    scale: Tensor

    def __init__(
        self, spec: Spec, given: Sequence[Field], reach: Whole, points: Count, seen: Count
    ) -> None:
        super().__init__(given)
        self.sensors, self.rows, self.cols = spec.shape
        self.reach, self.points, self.seen = reach, points, min(seen, self.sensors)
        self.rate = next((field.name for field in given if field.role == "rate"), None)
        self.threshold, self.largest = spec.threshold, spec.features[0].high or 0.0
        self.seeds, self.charges = QuantileMap(3), QuantileMap(1)
        self.register_buffer("offset", torch.zeros(self.sensors))
        self.register_buffer("shared", torch.eye(self.sensors))
        self.register_buffer("own", torch.zeros(self.sensors))
        self.register_buffer("density", torch.tensor([0.0, 1.0]))  # mean and standard deviation
        self.register_buffer("size", torch.ones(self.sensors))  # mean hits of a cluster
        self.register_buffer("scale", torch.ones(2))  # of rows and columns from the seed

    def fit_statistics(self, batches: Batches) -> None:
        """Scales of numbers from all events, those of clusters from the first :data:`FIT_HITS` hits."""
        counts, rates, clusters, hits = [], [], [], []
        seen = 0
        for batch in batches:
            counts.append(self.count(batch.x))
            rates.append(self._rate(batch.conditions(self.conditions.names)))
            if seen < FIT_HITS:
                found = self._clusters(batch.x, range(self.sensors))
                clusters.append(found[0])
                hits.append(found[1])
                seen += len(found[1])
        lump = self._fit_clusters(torch.cat(clusters), torch.cat(hits))
        self._fit_counts(torch.cat(counts).double(), torch.cat(rates).double(), lump)

    def _fit_counts(self, counts: Tensor, rate: Tensor, lump: Tensor) -> None:
        """From hits ``(n, S)`` of events at rates ``(n,)``, and the mean square of the hits of a cluster
        over their mean ``(S,)``.
        """
        value = ((counts + 0.5) / rate[:, None]).log()
        left = value - value.mean(0)
        shared = left.T @ left / len(left)
        mean = (counts / rate[:, None]).mean(0).clamp_min(0.5)
        inverse = (1 / rate).mean()
        own = (lump / mean).minimum(shared.diagonal() / inverse)
        size, axes = torch.linalg.eigh(shared - torch.diag(own * inverse))
        self.offset.copy_(value.mean(0))
        self.shared.copy_((axes * size.clamp_min(NARROWEST)) @ axes.T)
        self.own.copy_(own)
        share = counts / (self.rows * self.cols)
        self.density.copy_(torch.stack([share.mean(), share.std(correction=0).clamp_min(1e-6)]))

    def _fit_clusters(self, clusters: Tensor, hits: Tensor) -> Tensor:
        """From clusters and hits as of :meth:`_clusters`; returns the mean square of the hits of a
        cluster over their mean in each sensor, float64 ``(S,)``.
        """
        if not len(clusters):
            return torch.ones(self.sensors, dtype=torch.float64)
        generator = torch.Generator().manual_seed(0)
        spread = draws.uniform((len(clusters), 3), clusters.double(), generator)
        self.seeds.fit(clusters[:, 2:5].double() + spread)
        charge = hits[:, 3:].double()
        self.charges.fit(charge + draws.uniform(charge.shape, charge, generator))
        away = hits[:, 1:3].double().square().mean(0) + 1 / 12
        self.scale.copy_(away.sqrt())
        size = clusters[:, 4].double()
        number, total, square = (
            torch.bincount(clusters[:, 1], size**power, minlength=self.sensors)
            for power in range(3)
        )
        self.size.copy_((total / number.clamp_min(1)).clamp_min(1))
        return (square / total.clamp_min(1)).clamp_min(1)

    def count(self, x: Tensor) -> Tensor:
        """Hits per sensor ``(B, S)`` of images."""
        return (x > 0).flatten(2).sum(2)

    def scores(self, counts: Tensor, cond: Conditions) -> Tensor:
        """What the density of the numbers of hits ``(B, S)`` describes."""
        rate = self._rate(cond)[:, None]
        left = ((counts + 0.5) / rate).log().to(self.offset) - self.offset
        return torch.linalg.solve_triangular(self._spread(rate), left[..., None], upper=False)[
            ..., 0
        ]

    def numbers(self, scores: Tensor, cond: Conditions) -> Tensor:
        """Inverse of :meth:`scores`: whole numbers, at most one per cell."""
        rate = self._rate(cond)[:, None]
        value = (self._spread(rate) @ scores[..., None])[..., 0] + self.offset
        found = torch.nan_to_num(value, 0.0).clamp(-20, 20).exp() * rate - 0.5
        return found.round().clamp(0, self.rows * self.cols).long()

    def _spread(self, rate: Tensor) -> Tensor:
        """``L`` of the module's docstring, ``(B, S, S)``, for rates ``(B, 1)``."""
        lower: Tensor = torch.linalg.cholesky(self.shared + torch.diag_embed(self.own / rate))
        return lower

    def _rate(self, cond: Conditions) -> Tensor:
        """Rates ``(B,)``, 1 where none is given."""
        if self.rate is None:
            return torch.ones(cond.n, device=self.offset.device)
        return cond.values[self.rate][:, 0]

    def dense(self, counts: Tensor) -> Tensor:
        """How densely sensors with so many hits are hit, standardised."""
        return (counts / (self.rows * self.cols) - self.density[0]) / self.density[1]

    def forward(self, batch: Batch, generator: torch.Generator | None = None) -> Latent:
        """See the class; in training mode with noise."""
        given = batch.conditions(self.conditions.names)
        counts = self.count(batch.x)
        order = list(range(self.sensors))
        if self.training and self.seen < self.sensors:
            order = draws.permutation(self.sensors, batch.x, generator)[: self.seen].tolist()
        found, hits = self._clusters(batch.x, order)
        noise = self._noise((len(found), 3), batch.x, generator)
        score = self.seeds(found[:, 2:5] + noise)
        density = self.dense(counts)[found[:, 0], found[:, 1]]
        columns = torch.stack([found[:, 4].to(score), found[:, 1].to(score), density], 1)
        slot, width = _slots(found[:, 0], len(batch))
        clusters = score.new_zeros(len(batch) * width, 6)
        clusters[slot] = torch.cat([score, columns], 1)
        points = score.new_zeros(len(batch) * width, self.points, 3)
        points[slot[hits[:, 0]], _ranks(hits[:, 0])] = self._points(hits, generator)
        stages = {
            "counts": self.scores(counts, given),
            "clusters": clusters.view(len(batch), width, 6),
            "points": points.view(len(batch), width, self.points, 3),
        }
        if self.training:
            return Latent(stages, self.condition(given))
        listed, mask = self.listed(*_hits(batch.x), len(batch))
        return Latent({**stages, "hits": listed}, self.condition(given), mask)

    def _points(self, hits: Tensor, generator: torch.Generator | None) -> Tensor:
        """Network's view of hits ``(n, 4)`` as of :meth:`_clusters`, ``(n, 3)``."""
        noise = self._noise((len(hits), 3), self.scale, generator)
        place = (hits[:, 1:3] + WITHIN * (noise[:, :2] - 0.5)) / self.scale
        return torch.cat([place, self.charges(hits[:, 3:] + noise[:, 2:])], 1)

    def _noise(
        self, shape: tuple[int, ...], like: Tensor, generator: torch.Generator | None
    ) -> Tensor:
        """Place within a unit: uniform in training, else the middle."""
        if self.training:
            return draws.uniform(shape, like, generator)
        return torch.full(shape, 0.5, device=like.device)

    def snap(self, seeds: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
        """Cells and charges of generated hits.

        Args:
            seeds: Normal scores of rows and columns of their clusters' seeds, ``(n, 2)`` or more.
            points: Hits ``(n, 3)`` as networks see them.

        Returns:
            Row and column, int64 ``(n, 2)``, possibly outside of the sensor; whole charge [ADU] ``(n,)``.
        """
        filled = torch.cat([seeds[:, :2], torch.zeros_like(seeds[:, :1])], 1)
        origin = self.seeds.inverse(filled)[:, :2].floor()
        away = (points[:, :2] * self.scale + 0.5).floor()
        charge = self.charges.inverse(points[:, 2:])[:, 0].floor()
        limit = origin.new_tensor([self.rows - 1, self.cols - 1])
        cell = origin.clamp_min(0).minimum(limit) + away.clamp(-self.cols, self.cols)
        return cell.long(), charge.clamp(max(self.threshold, 1.0), self.largest)

    def hits_of(self, score: Tensor) -> Tensor:
        """Numbers of hits of clusters, int64 ``(n,)``, from their normal scores."""
        filled = torch.cat([score.new_zeros(len(score), 2), score[:, None]], 1)
        return self.seeds.inverse(filled)[:, 2].floor().clamp(1, self.points).long()

    def listed(self, event: Tensor, hits: Tensor, n: int) -> tuple[Tensor, Tensor]:
        """Hits ``(n, 4)`` of events, in rising order, as ``(B, N, 4)`` and its mask."""
        slot, width = _slots(event, n)
        values = torch.zeros(n * width, 4, device=hits.device)
        mask = torch.zeros(n * width, dtype=torch.bool, device=hits.device)
        values[slot], mask[slot] = hits.float(), True
        return values.view(n, width, 4), mask.view(n, width)

    def inverse(
        self, latent: Latent, cond: Conditions, generator: torch.Generator | None = None
    ) -> Batch:
        """Images ``(B, S, rows, cols)`` [ADU] of the stage ``hits``."""
        assert latent.mask is not None
        event, slot = latent.mask.nonzero(as_tuple=True)
        sensor, row, col = latent.x["hits"][event, slot, :3].long().unbind(1)
        cell = ((event * self.sensors + sensor) * self.rows + row) * self.cols + col
        images = torch.zeros(
            len(latent) * self.sensors * self.rows * self.cols, device=cell.device
        ).index_add_(0, cell, latent.x["hits"][event, slot, 3])
        shape = len(latent), self.sensors, self.rows, self.cols
        return Batch(images.clamp_max_(self.largest).view(shape), dict(cond.values))

    def _clusters(self, x: Tensor, sensors: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Clusters in some sensors.

        Returns:
            Event, sensor, row and column of the seed and number of hits of each cluster, int64 ``(m, 5)``;
            cluster, row and column from the seed and charge of each hit, int64 ``(n, 4)``, both in rising
            order of events and clusters.
        """
        chosen = torch.tensor(list(sensors), device=x.device)
        event, hits = _hits(x[:, chosen])
        place, row, col = hits[:, 0], hits[:, 1], hits[:, 2]
        label = connected(event * len(chosen) + place, row, col, self.reach)
        order = label.argsort(stable=True)
        label = label[order]
        piece = _ranks(label) // self.points
        label = (label * (self.rows * self.cols + 1) + piece).unique(return_inverse=True)[1]
        event, hits = event[order], hits[order]
        n = int(label.max()) + 1 if len(label) else 0
        weight = hits[:, 3] * len(label) + torch.arange(len(label), 0, -1, device=x.device) - 1
        top = torch.full((n,), -1, device=x.device).scatter_reduce(0, label, weight, "amax")
        seed = (weight == top[label]).nonzero()[:, 0]
        size = torch.bincount(label, minlength=n)
        found = torch.stack(
            [event[seed], chosen[hits[seed, 0]], hits[seed, 1], hits[seed, 2], size], 1
        )
        away = hits[:, 1:3] - found[label, 2:4]
        listed = torch.cat([label[:, None], away, hits[:, 3:]], 1)
        return found, listed


def _hits(x: Tensor) -> tuple[Tensor, Tensor]:
    """Event ``(n,)`` of each hit, and its image, row, column and whole charge ``(n, 4)``, all int64."""
    event, image, row, col = x.nonzero(as_tuple=True)
    charge = x[event, image, row, col].round().long()
    return event, torch.stack([image, row, col, charge], 1)


def _ranks(label: Tensor) -> Tensor:
    """How many of the same number stand before each, in numbers whose equals stand together, int64."""
    if not len(label):
        return label
    place = torch.arange(len(label), device=label.device)
    new = torch.cat([torch.ones_like(label[:1], dtype=torch.bool), label[1:] != label[:-1]])
    return place - torch.where(new, place, 0).cummax(0).values


def _slots(event: Tensor, n: int) -> tuple[Tensor, int]:
    """Places in ``n`` rows of equal width, one after the other, for rising numbers of rows; the width."""
    counts = torch.bincount(event, minlength=n)
    width = max(int(counts.max()), 1)
    return event * width + _ranks(event), width
