r"""Normalisation of showers as clouds in layers, whose inverse imposes the numbers of every layer.

The numbers of an event are, in this order, the number of points :math:`N`, the event fields that are not
given, the sum of the energies :math:`E` (:math:`N` and :math:`E` over the incident energy, if it is given),
their centres across the shower axis, and for each layer its share of the points and the mean energy of its
points over that of all, :math:`(E_l / n_l) / (E / N)`. Each is mapped to a standard normal by quantiles.

Zeros are exact and cost nothing: a whole number :math:`n_l` is spread over :math:`[n_l, n_l + 1)`, so an
empty layer is one with a share below :math:`1 / N`; its mean energy does not exist and is noise in
training. So there is never energy in a layer without points, nor a layer of points without energy.

The inverse sorts the points by the depth that a network made and deals them out to the layers,
:math:`n_l` to each; scales the energies within each layer to :math:`E_l = E\,w_l / \sum_k w_k` with the
weights :math:`w_l = n_l\,(E_l / n_l)`; and moves the points so that the centres are the event's. The
:math:`n_l` are the shares of :math:`N` by largest remainders: they add up.

Reference: Buhmann et al. 2023, arXiv:2309.05704, section 3.

Note:
    Differs from the reference: shares of energy are told as means per point; the centre in depth, which
    the energies of the layers fix, is no number of its own; counts are not truncated. What the reference
    does to :math:`N` so that the points give the true number of hits is told in
    :mod:`simulacra.transforms.occupancy`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from simulacra.core import Batch, Conditions, Field, Latent, Spec, UserError, draws
from simulacra.core.ranges import Count, Whole
from simulacra.transforms.base import Batches
from simulacra.transforms.calibration import Calibration
from simulacra.transforms.cloud import CloudStandardise, CloudTransform, MakePoints, even
from simulacra.transforms.cloud_moments import moments
from simulacra.transforms.maps.quantile import QuantileMap
from simulacra.transforms.occupancy import OccupancyCalibration


def depth_column(features: Sequence[Field]) -> int | None:
    """The feature that tells the layer of a point, by number or position, or None."""
    names = [field.name for field in features]
    return next((names.index(name) for name in ("layer", "depth") if name in names), None)


class LayeredCloudTransform(CloudTransform):
    """Clouds to ``{"event": (B, K), "points": (B, N, F)}`` and back, see the module's docstring; exact but
    for rounding, outside of training, where a step may see some of the points.

    Args:
        spec: The data set, of kind cloud, with a feature ``layer`` or ``depth`` of few distinct values.
        given: Names of the given fields.
        layers: ``L``, largest number of layers; columns of those beyond the data's are noise.
        points: Makes the map of the points.
        seen: How many leading numbers of the event the points are conditioned on, 0 for none (None: all).
        subset: Points of a shower that one training step sees, drawn with replacement (None: all points);
            for networks in which points do not depend on each other.
        calibration: Training events that the number of points is calibrated with, 0 for none.
    """

    depths: Tensor

    def __init__(
        self,
        spec: Spec,
        given: Sequence[str],
        layers: Count,
        points: MakePoints = CloudStandardise,
        seen: Whole | None = None,
        subset: Count | None = None,
        calibration: Whole = 0,
    ) -> None:
        super().__init__(spec, given, points, leading=0)
        depth = depth_column(spec.features)
        if depth is None:
            raise UserError(f"{spec.name} has no feature 'layer' or 'depth' to sort points by")
        incident = spec.roles.get("energy")
        self.per = incident.name if incident is not None and incident.name in given else None
        self.depth, self.layers, self.subset = depth, layers, subset
        self.total = self.width - 1  # the column of the sum of energies
        self.across = tuple(
            i for i in range(len(spec.features)) if i not in (self.depth, self.energy)
        )
        self.first = self.width + len(self.across)  # the first column of the layers
        self.width = self.first + 2 * layers
        self.seen = self.width if seen is None else min(seen, self.width)
        self.event = QuantileMap(self.width)
        self.register_buffer("depths", torch.full((layers,), torch.inf))
        columns = (*self.across, self.depth, self.energy)
        self.occupancy = OccupancyCalibration(spec, given, columns, calibration)

    @property
    def calibration(self) -> Calibration:
        """What the numbers of an event are calibrated with."""
        return self.occupancy

    def fit_statistics(self, batches: Batches) -> None:
        """One pass for conditions, one for layers, two for points, one for the event's numbers."""
        self._fit_depths(batches)
        self.points.fit_stream(lambda: ((self._numbered(batch.x), batch.mask) for batch in batches))
        parts = []
        for batch in batches:
            shift = 0.7548776662466927 * torch.arange(1 + self.layers).to(batch.x)
            parts.append(self._columns(batch, (even(batch.x) + shift) % 1))
        self.event.fit(torch.stack([filled(column) for column in torch.cat(parts).T], 1))
        self.occupancy.fit_true(batches)

    def forward(self, batch: Batch, generator: torch.Generator | None = None) -> Latent:
        """Normalise; in training mode counts and layers are dequantised and points drawn."""
        x, mask = batch.x, batch.mask
        part = torch.full((len(x), 1 + self.layers), 0.5).to(x)
        noise = torch.zeros(len(x), self.width).to(x)
        if self.training:
            part = draws.uniform(part.shape, x, generator)
            noise = draws.normal(noise.shape, x, generator)
            if mask is not None:  # no work on padding that no shower of the batch needs
                last = int(mask.any(0).nonzero().max()) + 1 if bool(mask.any()) else 1
                x, mask = x[:, :last], mask[:, :last]
        columns = self._columns(Batch(x, batch.cond, batch.event, mask), part)
        missing = columns.isnan()
        event = torch.where(missing, noise, self.event(torch.where(missing, 1.0, columns)))
        if self.training and self.subset is not None and mask is not None:
            x, mask = drawn(x, mask, self.subset, generator)
        x = self._numbered(x)
        x = self.points.spread(x, generator) if self.training else x
        cond = self.condition(batch.conditions(self.conditions.names))
        return Latent({"event": event, "points": self.points(x, mask)}, cond, mask)

    def numbers(self, event: Tensor, cond: Conditions) -> Tensor:
        """See :meth:`CloudTransform.numbers`."""
        return self._rescaled(super().numbers(event, cond), cond.values, 1)

    def recounted(self, event: Tensor, cond: Conditions) -> Tensor:
        """Normalised numbers of the event with the calibrated number of points."""
        if not self.occupancy.active:
            return event
        columns = self.numbers(event, cond)
        number = self.occupancy(columns[:, 0])[:, None]
        changed = self._rescaled(torch.cat([number, columns[:, 1:]], 1), cond.values, -1)
        return torch.cat([self.event(changed)[:, :1], event[:, 1:]], 1)

    def layer_numbers(self, columns: Tensor, number: Tensor) -> tuple[Tensor, Tensor]:
        """Points and energy of every layer, each ``(B, L)``: what the inverse imposes.

        Args:
            columns: Numbers of the event ``(B, K)``, physical.
            number: Points of the event, whole ``(B,)``.
        """
        share, mean = columns[:, self.first :].double().chunk(2, 1)
        used, total = self.depths.isfinite(), number[:, None]
        spread = torch.where(used, share * total, 0.0)
        expected = torch.where(spread >= 1, spread - 0.5, 0.0)
        none = expected.sum(1, keepdim=True) == 0
        count = whole_shares(torch.where(none, spread, expected), number)
        weight = count * mean.clamp_min(0)
        weight = torch.where(weight.sum(1, keepdim=True) <= 0, count.double(), weight)
        energy = columns[:, self.total].double().clamp_min(0)
        return count, energy[:, None] * weight / weight.sum(1, keepdim=True).clamp_min(1e-300)

    def _placed(self, latent: Latent, columns: Tensor) -> Tensor:
        """Points ``(B, N, F)`` in layers, with the energies and centres of ``columns``."""
        x, mask = super()._placed(latent, columns), latent.mask
        if mask is None:
            raise UserError("these events are no clouds: they have no mask")
        count, wanted = self.layer_numbers(columns, mask.sum(1))
        behind = latent.x["points"][..., self.depth].masked_fill(~mask, torch.inf)
        order = behind.argsort(dim=1, stable=True)
        rank = torch.empty_like(order).scatter_(1, order, places(order))
        centres = columns[:, self.first - len(self.across) : self.first]
        return self.imposed(x, mask, dealt(rank, count), wanted, centres)

    def imposed(
        self, x: Tensor, mask: Tensor, layer: Tensor, wanted: Tensor, centres: Tensor
    ) -> Tensor:
        """Points in layers ``(B, N)``, scaled to the energies ``(B, L)`` of these and moved to the centres
        ``(B, A)``.
        """
        energy = torch.where(mask, x[..., self.energy].clamp_min(0), 0.0).double()
        held = torch.zeros_like(wanted).scatter_add_(1, layer, energy)
        count = torch.zeros_like(wanted).scatter_add_(1, layer, mask.to(wanted))
        dead = (held == 0).gather(1, layer)  # too small for a number: equal parts
        part = torch.where(dead, 1 / count.clamp_min(1).gather(1, layer), energy)
        factor = torch.where(held > 0, wanted / held.clamp_min(1e-300), wanted).gather(1, layer)
        made = list(x.unbind(-1))
        made[self.energy], made[self.depth] = (part * factor).to(x), self.depths[layer]
        placed = torch.where(mask[..., None], torch.stack(made, -1), 0.0)
        shift = centres - self._centres(placed)
        for i, column in enumerate(self.across):
            made[column] = x[..., column] + shift[:, i : i + 1]
        return torch.where(mask[..., None], torch.stack(made, -1), 0.0)

    def _columns(self, batch: Batch, part: Tensor) -> Tensor:
        """Numbers of the event ``(B, K)``, NaN for the mean energy of an empty layer; ``part`` ``(B, 1 + L)``
        in [0, 1) is added to whole numbers.
        """
        several = super()._columns(batch, part[:, :1])
        assert batch.mask is not None
        layer, real = self._layer(batch.x), batch.mask.to(batch.x.dtype)
        count = torch.zeros_like(part[:, 1:]).scatter_add_(1, layer, real)
        energy = torch.zeros_like(count).scatter_add_(1, layer, batch.x[..., self.energy] * real)
        number = real.sum(1, keepdim=True)
        share = (count + part[:, 1:]) / number.clamp_min(1)
        mean = energy / count * number / energy.sum(1, keepdim=True)  # NaN in an empty layer
        columns = torch.cat([several, self._centres(batch.x), share, mean], 1)
        return self._rescaled(columns, {**batch.event, **batch.cond}, -1)

    def _rescaled(self, columns: Tensor, fields: Mapping[str, Tensor], power: int) -> Tensor:
        """Columns with number of points and sum of energies times a power of a given incident energy."""
        if self.per is None:
            return columns
        scaled = torch.ones_like(columns)
        scaled[:, [0, self.total]] = fields[self.per].to(columns) ** power
        return columns * scaled

    def _centres(self, x: Tensor) -> Tensor:
        """Energy-weighted centres ``(B, A)`` across the axis."""
        n = len(self.across)
        kept = torch.stack([x[..., column] for column in (*self.across, self.energy)], -1)
        return moments(kept, n, n)[:, 1 : 1 + n]

    def _layer(self, x: Tensor) -> Tensor:
        """Number of the layer nearest to each point ``(B, N)``."""
        middles = (self.depths[1:] + self.depths[:-1]) / 2
        return torch.bucketize(x[..., self.depth].contiguous(), middles)

    def _numbered(self, x: Tensor) -> Tensor:
        """Points with the number of their layer for its depth."""
        columns = list(x.unbind(-1))
        columns[self.depth] = self._layer(x).to(x.dtype)
        return torch.stack(columns, -1)

    def _fit_depths(self, batches: Batches) -> None:
        found = torch.zeros(0)
        for batch in batches:
            if batch.mask is None:
                raise UserError("these events are no clouds: they have no mask")
            found = torch.cat([found, batch.x[batch.mask][:, self.depth].cpu().float()]).unique()
        if not 1 <= len(found) <= self.layers:
            raise UserError(
                f"the training points lie in {len(found)} layers, the transform holds 1 to "
                f"{self.layers}: set model.transform.layers"
            )
        self.depths.fill_(torch.inf)[: len(found)] = found.to(self.depths)


def whole_shares(share: Tensor, total: Tensor) -> Tensor:
    """Whole numbers ``(B, L)`` in proportion to ``share`` that add up to ``total`` ``(B,)``, by largest
    remainders; a share of 0 gets none.
    """
    exact = share / share.sum(1, keepdim=True).clamp_min(1e-300) * total[:, None]
    down = exact.floor()
    left = (total - down.sum(1).long())[:, None]
    rank = (exact - down).argsort(dim=1, descending=True, stable=True).argsort(1)
    return down.long() + (rank < left)


def places(x: Tensor) -> Tensor:
    """Number of each point of an event, shaped as ``x``, ``(B, N)``."""
    return torch.arange(x.shape[1], device=x.device).expand_as(x)


def dealt(rank: Tensor, count: Tensor) -> Tensor:
    """Layers of points that are dealt out in the order of their ranks ``(B, N)``, as many to each layer as
    ``count`` ``(B, L)`` says; of those left over, the last.
    """
    found = torch.searchsorted(count.cumsum(1), rank.contiguous(), right=True)
    return found.clamp_max(count.shape[1] - 1)


def drawn(
    x: Tensor, mask: Tensor, points: int, generator: torch.Generator | None
) -> tuple[Tensor, Tensor]:
    """``points`` real points of every event, with replacement: ``(B, points, F)`` and their mask, which is
    False for an event without points.
    """
    some = mask.any(1, keepdim=True)
    chosen = torch.multinomial(
        torch.where(some, mask, True).to(x.dtype), points, replacement=True, generator=generator
    )
    return x.gather(1, chosen[..., None].expand(-1, -1, x.shape[-1])), mask.gather(1, chosen)


def filled(column: Tensor) -> Tensor:
    """A column whose missing values are spread evenly over the quantiles of the known ones."""
    missing = column.isnan()
    known = column[~missing].sort().values
    if len(known) == 0:
        return torch.ones_like(column)
    n = int(missing.sum())
    place = ((torch.arange(n, device=column.device) + 0.5) * len(known) / max(n, 1)).long()
    return torch.where(missing, 0.0, column).masked_scatter(missing, known[place])
