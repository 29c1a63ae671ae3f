r"""Hits of pixel sensors as sets: correlated numbers, then clusters by flow matching, and no image.

Generates: the fired pixels of all sensors of an event, at any resolution, since cost follows the number of
    hits. A flow draws how many hits each sensor has, which correlates the sensors; a second flow draws the
    seeds of clusters (where, and of how many hits) sensor by sensor; flow matching with an EPiC network turns
    noise into that many hits ``(u, v, charge)`` around each seed. Hits are snapped to pixels, those of a
    cluster in one pixel add up, clusters that would touch are moved apart along u, and every sensor gets
    exactly the number of hits that was drawn.
Conditions: the rate of the background, where the data set has it, or nothing. It enters the numbers of hits
    alone; given the number of its sensor, clusters do not depend on it. Logarithms of numbers are described
    relative to that of the rate (:mod:`simulacra.transforms.hit_sets`), so that rates beyond those of the
    training can be asked for.
Representation: stacks of at least two images of whole charges, such as ``pxd`` and ``pxd_small``. Events come
    and go as images, one batch of a few events at a time, and lists of hits in between: a view of the data
    set as lists would save the copy, some hundredths of a second per event, and need a second set of scores.
Reference: none; the problem is that of Hashemi's thesis (arXiv:2403.13825), the network that of
    arXiv:2301.08128, flow matching that of arXiv:2310.00049.

Note:
    Hits that lie outside of the sensor are dropped, as at its edge; charges end at the largest that a pixel
    can hold. Clusters know nothing of each other but that they do not touch. Where most hits touch, as in the
    summed pixels of ``pxd_small``, ``transform.reach=0`` takes each hit by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn

from simulacra.core import Conditions, Field, Latent, Layout, Spec, UserError, draws
from simulacra.core.clusters import apart
from simulacra.core.ranges import Count
from simulacra.dynamics.clouds import CloudNetwork, by_length, cloud_loss
from simulacra.dynamics.density import MakeDensity, Rows
from simulacra.dynamics.diffusion import Diffusion
from simulacra.dynamics.solvers import Solver
from simulacra.training.generative import GenerativeModule, Objective
from simulacra.training.optim import Optim
from simulacra.transforms.base import Batches
from simulacra.transforms.hit_sets import HitSets

MakeNet = Callable[[int, int], nn.Module]
"""From numbers per hit and width of the context, see :mod:`simulacra.dynamics.clouds`."""
SPARE, ROUNDS = 1.08, 6
"""More clusters than are expected to be needed, and how often some more are drawn where they were too few."""


@dataclass(frozen=True)
class Found:
    """Generated hits of some groups, each an event's sensor.

    Args:
        group: Group of each hit, int64 ``(n,)``.
        cluster: Number of its cluster.
        cell: Row and column, int64 ``(n, 2)``.
        charge: Charge [ADU] ``(n,)``.
    """

    group: Tensor
    cluster: Tensor
    cell: Tensor
    charge: Tensor

    def __getitem__(self, rows: Tensor) -> Found:
        return Found(self.group[rows], self.cluster[rows], self.cell[rows], self.charge[rows])


class PXDSets(GenerativeModule):
    """See the module's docstring.

    Args:
        spec: The data set.
        given: What is given (None: the conditions).
        transform: Makes the transform.
        counts: Makes the density of the scores of the numbers of hits.
        seeds: Makes the density of the seeds of clusters.
        net: Makes the network of the hits of a cluster.
        process: How it learns.
        solver: Solver for sampling.
        embedding: Width of what tells sensors apart.
        optim: How all parameters are moved.
    """

    transform: HitSets

    def __init__(
        self,
        spec: Spec,
        given: Sequence[str] | None,
        transform: Callable[[Spec, Sequence[Field]], HitSets],
        counts: MakeDensity,
        seeds: MakeDensity,
        net: MakeNet,
        process: Diffusion,
        solver: Solver,
        embedding: Count,
        optim: Optim,
    ) -> None:
        super().__init__(spec, given)
        self.transform = transform(spec, self.given_fields)
        self.sensor = nn.Embedding(self.transform.sensors, embedding)
        self.counts = counts(Layout(self.transform.sensors, self.transform.conditions.width))
        self.seeds = seeds(Layout(3, embedding + 1))
        self.net = net(3, embedding + 4)
        process.equip(self.net)
        self.process, self.solver, self.optim = process, solver, optim

    @classmethod
    def accepts(cls, spec: Spec) -> str | None:
        """Images of whole charges in two sensors or more, given their rate at most."""
        if spec.kind != "image" or len(spec.shape) != 3 or spec.shape[0] < 2:
            return f"it generates hits of two sensors or more, this is a {spec.kind} of shape {spec.shape}"
        if not spec.features or spec.features[0].high is None:
            return (
                "it generates whole charges up to a largest one, which the data set does not name"
            )
        other = [field.name for field in spec.conditions if field.role != "rate"]
        if other:
            return (
                f"it is given the rate of hits at most, and the data set is conditioned on {other}"
            )
        return None

    def fit_transform(self, batches: Batches) -> Self:
        """Statistics of the transform, and the start of the density of the numbers from all events."""
        super().fit_transform(batches)
        with self.evaluating(), torch.no_grad():
            self.counts.fit([self._rows(batches)])
        return self

    def _rows(self, batches: Batches) -> Rows:
        scores, conds, weights = [], [], []
        for batch in batches:
            cond = batch.conditions(self.given)
            scores.append(self.transform.scores(self.transform.count(batch.x), cond))
            conds.append(self.transform.condition(cond))
            weights.append(batch.weight_or_one())
        known = [cond for cond in conds if cond is not None]
        return torch.cat(scores), torch.cat(known) if known else None, torch.cat(weights)

    def objectives(self) -> dict[str, Objective]:
        """One loss, one optimizer."""
        return {"hits": Objective(self.loss, list(self.parameters()), self.optim)}

    def loss(self, latent: Latent, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """Negative log-likelihoods of numbers and seeds, each per number, and the distance of the hits."""
        clusters = latent.x["clusters"]
        event, slot = (clusters[..., 3] > 0).nonzero(as_tuple=True)
        rows, points = clusters[event, slot], latent.x["points"][event, slot]
        weight = None if latent.weight is None else latent.weight[event]
        context = self.context(rows[:, 4].long(), rows[:, 5])
        numbers = self.counts.loss(latent.x["counts"], latent.cond, latent.weight, generator)
        seeds = self.seeds.loss(rows[:, :3], context, weight, generator)
        mask = torch.arange(points.shape[1], device=points.device) < rows[:, 3:4]
        wide = torch.cat([context, rows[:, :3]], 1)
        total, share = numbers.new_zeros(()), numbers.new_zeros(())
        for chosen, longest in by_length(mask):
            real, own = mask[chosen, :longest], None if weight is None else weight[chosen]
            count = real.sum() if own is None else (real * own[:, None]).sum()
            network = CloudNetwork(self.net, wide[chosen])
            total = total + count * cloud_loss(
                network, points[chosen, :longest], real, self.process, 2, own, generator
            )
            share = share + count
        distance = total / share.clamp_min(1e-12)
        return {
            "loss": numbers + seeds + distance,
            "counts": numbers,
            "seeds": seeds,
            "points": distance,
        }

    def context(self, sensor: Tensor, density: Tensor) -> Tensor:
        """What clusters are conditioned on ``(n, E + 1)``."""
        known: Tensor = self.sensor(sensor)
        return torch.cat([known, density[:, None]], 1)

    def generate(self, cond: Conditions, generator: torch.Generator | None = None) -> Latent:
        """Numbers of hits, then clusters until every sensor has as many."""
        if draws.unrolled():
            raise UserError("the number of clusters depends on values: pxd_sets is no fixed graph")
        scaled = self.transform.condition(cond)
        scores = self.counts.sample(cond.n, scaled, generator)
        counts = self.transform.numbers(scores, cond)
        found, sound = self._clusters(counts, generator)
        event, sensor = found.group // self.spec.shape[0], found.group % self.spec.shape[0]
        hits = torch.cat([sensor[:, None], found.cell, found.charge[:, None].long()], 1)
        listed, mask = self.transform.listed(event, hits, cond.n)
        scores = torch.where(sound[:, None], scores, torch.nan)
        return Latent({"counts": scores, "hits": listed}, scaled, mask)

    def _clusters(self, counts: Tensor, generator: torch.Generator | None) -> tuple[Found, Tensor]:
        """Exactly as many hits as asked for ``(B, S)``, and which events are finite ``(B,)``."""
        wanted = counts.flatten()
        density = self.transform.dense(counts).flatten()
        left, parts = wanted, []
        sound = torch.ones(counts.shape[0], dtype=torch.bool, device=counts.device)
        start = 0
        for _ in range(ROUNDS):
            if not bool((left > 0).any()):
                break
            mean = self.transform.size.repeat(len(counts))
            number = torch.where(left > 0, (SPARE * left / mean).ceil().long() + 2, 0)
            group = torch.repeat_interleave(torch.arange(len(wanted), device=left.device), number)
            part, failed = self._draw(group, density[group], generator)
            sound[failed // counts.shape[1]] = False
            parts.append(Found(part.group, part.cluster + start, part.cell, part.charge))
            start += len(group)
            left = left - torch.bincount(part.group, minlength=len(wanted))
        if not parts:
            empty = wanted.new_zeros(0)
            return Found(empty, empty, wanted.new_zeros(0, 2), density.new_zeros(0)), sound
        found = Found(*(torch.cat(column) for column in zip(*map(_columns, parts), strict=True)))
        found = found[found.group.argsort(stable=True)]
        first = torch.bincount(found.group, minlength=len(wanted)).cumsum(0).roll(1)
        first[0] = 0
        rank = torch.arange(len(found.group), device=wanted.device) - first[found.group]
        found = found[rank < wanted[found.group]]
        rows, cols = self.spec.shape[1:]
        row, col = found.cell.unbind(1)
        row = apart(
            found.group,
            found.cluster,
            row,
            col,
            (len(wanted), rows, cols),
            self.transform.reach,
            generator,
        )
        cell = torch.stack([row, col], 1)
        return Found(found.group, found.cluster, cell, found.charge), sound

    def _draw(
        self, group: Tensor, density: Tensor, generator: torch.Generator | None
    ) -> tuple[Found, Tensor]:
        """One cluster for each group, its hits snapped and joined; groups of what is not finite."""
        context = self.context(group % self.spec.shape[0], density)
        seeds = self.seeds.sample(len(group), context, generator)
        fine = torch.isfinite(seeds).all(1)
        seeds = torch.where(fine[:, None], seeds, 0.0)
        size = self.transform.hits_of(seeds[:, 2])
        mask = torch.arange(int(size.max()), device=size.device) < size[:, None]
        cluster, slot = mask.nonzero(as_tuple=True)
        points = self._points(mask, torch.cat([context, seeds], 1), generator)[cluster, slot]
        solid = torch.isfinite(points).all(1)
        failed = torch.cat([group[~fine], group[cluster[~solid]]])
        cell, charge = self.transform.snap(seeds[cluster], torch.where(solid[:, None], points, 0.0))
        rows, cols = self.spec.shape[1:]
        inside = (cell >= 0).all(1) & (cell < cell.new_tensor([rows, cols])).all(1)
        cluster, cell, charge = cluster[inside], cell[inside], charge[inside]
        key = (cluster * rows + cell[:, 0]) * cols + cell[:, 1]
        unique, place = key.unique(return_inverse=True)
        total = charge.new_zeros(len(unique)).index_add_(0, place, charge)
        owner, pixel = unique // (rows * cols), unique % (rows * cols)
        cells = torch.stack([pixel // cols, pixel % cols], 1)
        return Found(group[owner], owner, cells, total.clamp_max(self.transform.largest)), failed

    def _points(self, mask: Tensor, context: Tensor, generator: torch.Generator | None) -> Tensor:
        """Hits of clusters ``(n, K, 3)``, the one of the largest charge at the seed; clusters of like size
        together.
        """
        noise = draws.normal((*mask.shape, 3), context, generator)
        points = torch.zeros_like(noise)
        for chosen, longest in by_length(mask):
            real = mask[chosen, :longest]
            network = CloudNetwork(self.net, context[chosen]).at(real)
            start = noise[chosen, :longest] * real[..., None]
            points[chosen, :longest] = self.solver.sample(
                self.process.denoiser(network), start, generator
            )
        top = points[..., 2].masked_fill(~mask, -torch.inf).argmax(1)
        points[torch.arange(len(points), device=top.device), top, :2] *= 0.0  # NaN stays NaN
        return points


def _columns(found: Found) -> Iterator[Tensor]:
    return iter((found.group, found.cluster, found.cell, found.charge))
