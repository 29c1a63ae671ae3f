r"""Normalisation of showers as clouds whose points know their layers from the start.

The numbers of an event are, in this order, :math:`\ln(n_l + \tfrac12)` of the number of points of every
layer; with ``imposed`` the logarithms of the sum of the energies :math:`E` and of the mean energy of the
points of every layer over that of all, :math:`(E_l / n_l) / (E / N)`, and the energy-weighted centres across
the axis; and the event fields that are not given. Each is standardised. The mean energy of an empty layer
does not exist and is noise in training. Back, :math:`n_l` is :math:`e^y - \tfrac12` rounded, halves up and
never below 0.

A point has its features but for the depth, which follows from its layer. With ``imposed`` the inverse
scales the energies of each layer and moves the points to the centres, as
:mod:`simulacra.transforms.cloud_layers` does; without, points are what a network made them.

Reference: AllShowers and its PointCountFM, arXiv:2601.11716.

Note:
    Energies and centres that are imposed are ours, as in CaloClouds II, arXiv:2309.05704.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from simulacra.core import Batch, Conditions, Latent, Spec, UserError, draws
from simulacra.core.ranges import Count, Whole
from simulacra.transforms.base import Batches
from simulacra.transforms.calibration import Calibration
from simulacra.transforms.cloud import CloudStandardise, MakePoints
from simulacra.transforms.cloud_layers import dealt, filled, places
from simulacra.transforms.cloud_layerwise import LayerwiseCloudTransform
from simulacra.transforms.count_correction import CountCorrection
from simulacra.transforms.maps.elementwise import Standardise


class KnownLayersTransform(LayerwiseCloudTransform):
    """Clouds to ``{"event": (B, K), "points": (B, N, F)}`` and back, see the module's docstring.

    The last column of ``"points"`` is the number of the layer, in place of the depth.

    Args:
        spec: See :class:`~simulacra.transforms.cloud_layers.LayeredCloudTransform`, as all that is not told.
        given: Names of the given fields; the number of points is none of them.
        layers: ``L``, largest number of layers.
        points: Makes the map of what points have beside their depth.
        imposed: Whether energies of layers and centres are numbers of the event.
        subset: Points of a shower that one training step sees, drawn without replacement (None: all).
        correction: Training events that the numbers of points are corrected with, 0 for none.
    """

    def __init__(
        self,
        spec: Spec,
        given: Sequence[str],
        layers: Count,
        points: MakePoints = CloudStandardise,
        imposed: bool = False,
        subset: Count | None = None,
        correction: Whole = 0,
    ) -> None:
        super().__init__(spec, given, layers, points, seen=layers, subset=subset)
        self.kept = [i for i in range(len(spec.features)) if i != self.depth]
        self.points = points([spec.features[i] for i in self.kept])
        self.imposing = imposed
        self.across = tuple(i for i in self.kept if i != self.energy) if imposed else ()
        self.first = 1 + 2 * layers + len(self.across) if imposed else layers
        self.start = self.first
        self._numbers_are(self.start + sum(field.dim for field in self.made), layers)
        self.event = Standardise(self.width)
        self.correction = CountCorrection(self.conditions.fields, layers, correction)

    @property
    def logs(self) -> Standardise:
        """The map of the event's numbers."""
        assert isinstance(self.event, Standardise)
        return self.event

    @property
    def calibration(self) -> Calibration:
        """What the numbers of points are corrected with."""
        return self.correction

    def fit_statistics(self, batches: Batches) -> None:
        """One pass for layers, two for points, one for the event's numbers."""
        self._fit_depths(batches)
        self.points.fit_stream(lambda: ((batch.x[..., self.kept], batch.mask) for batch in batches))
        columns = torch.cat([self._columns(batch, None) for batch in batches])
        self.event.fit(torch.stack([filled(column) for column in columns.T], 1))
        first = self.correction.remember(batches)
        if first is not None:
            counts, _ = self.layer_sums(first)
            self.correction.fit_true(Batch(counts, {}, weight=first.weight))

    def forward(self, batch: Batch, generator: torch.Generator | None = None) -> Latent:
        """Normalise; in training mode some points are drawn, and features of few values are spread."""
        x, mask = batch.x, batch.mask
        columns = self._columns(batch, None)
        missing = columns.isnan()
        noise = draws.normal(columns.shape, x, generator) if self.training else 0.0
        event = torch.where(missing, noise, self.event(torch.where(missing, 0.0, columns)))
        if self.training and mask is not None:
            x, mask = thinned(x, mask, self.subset or int(mask.sum(1).max()), generator)
        layer, kept = self._layer(x), x[..., self.kept]
        kept = self.points.spread(kept, generator) if self.training else kept
        points = torch.cat([self.points(kept, mask), layer[..., None].to(kept)], -1)
        if mask is not None:
            points = points * mask[..., None]
        cond = self.condition(batch.conditions(self.conditions.names))
        return Latent({"event": event, "points": points}, cond, mask)

    def numbers(self, event: Tensor, cond: Conditions) -> Tensor:
        """See :meth:`~simulacra.transforms.cloud.CloudTransform.numbers`."""
        made: Tensor = self.event.inverse(event)
        return made

    def recounted(self, event: Tensor, cond: Conditions) -> Tensor:
        """Normalised numbers of the event, those of points corrected."""
        shift = self.correction.shift() / self.logs.std[: self.layers]
        return torch.cat([event[:, : self.layers] + shift, event[:, self.layers :]], 1)

    def counts(self, columns: Tensor) -> Tensor:
        """Points of every layer, whole ``(B, L)``, of numbers of the event ``(B, K)``."""
        logs = columns[:, : self.layers].nan_to_num(0.0).clamp_max(math.log(self.size + 1))
        number = rounded(logs.exp() - 0.5).clamp_max(self.size)
        return torch.where(self.depths.isfinite(), number, 0).long()

    def layers_of(self, seen: Tensor) -> Tensor:
        """Number of the layer of each point ``(B, N)``, rising, of as many points as an event may have.

        Args:
            seen: Leading numbers of the event, normalised, ``(B, L)`` or more columns.
        """
        mean, std = self.logs.mean[: self.layers], self.logs.std[: self.layers]
        count = self.counts(seen[:, : self.layers] * std + mean)
        return dealt(places(count.new_zeros(len(count), self.size)), count)

    def _placed(self, latent: Latent, columns: Tensor) -> Tensor:
        """Points ``(B, N, F)`` in their layers, with energies and centres imposed where these are numbers."""
        mask, made = latent.mask, latent.x["points"]
        if mask is None:
            raise UserError("these events are no clouds: they have no mask")
        layer = made[..., -1].round().long().clamp(0, self.layers - 1)
        several = self.points.inverse(made[..., :-1], mask)
        x = several.new_zeros(*several.shape[:2], len(self.kept) + 1)
        x[..., self.kept], x[..., self.depth] = several, self.depths[layer]
        x = torch.where(mask[..., None], x, 0.0)
        if not self.imposing:
            return x
        means = columns[:, self.layers + 1 :][:, : self.layers].double().clamp(-80.0, 80.0).exp()
        weight = means * torch.zeros_like(means).scatter_add_(1, layer, mask.to(means))
        share = weight / weight.sum(1, keepdim=True).clamp_min(1e-300)
        total = columns[:, self.layers, None].double().clamp_max(80.0).exp()
        centres = columns[:, self.first - len(self.across) : self.first]
        return self.imposed(x, mask, layer, total * share, centres)

    def _columns(self, batch: Batch, part: Tensor | None) -> Tensor:
        """Numbers of the event ``(B, K)``, NaN for the mean energy of an empty layer; nothing is spread."""
        count, energy = self.layer_sums(batch)
        columns = [torch.log(count + 0.5)]
        if self.imposing:
            total, number = (item.sum(1, keepdim=True) for item in (energy, count))
            some = energy > 0
            mean = torch.where(some, energy / count * number / total, torch.nan).log()
            columns += [torch.where(total > 0, total, torch.nan).log(), mean]
            columns += [self._centres(batch.x)]
        columns += [batch.event[field.name].to(count) for field in self.made]
        return torch.cat(columns, 1)


def rounded(x: Tensor) -> Tensor:
    """Whole numbers nearest to ``x``, halves up, none below 0."""
    return (x + 0.5).floor().clamp_min(0)


def thinned(
    x: Tensor, mask: Tensor, points: int, generator: torch.Generator | None
) -> tuple[Tensor, Tensor]:
    """At most ``points`` real points of every event, drawn without replacement, and their mask."""
    level = draws.uniform(mask.shape, x, generator).masked_fill(~mask, -1.0)
    chosen = level.topk(min(points, mask.shape[1]), dim=1).indices
    return x.gather(1, chosen[..., None].expand(-1, -1, x.shape[-1])), mask.gather(1, chosen)
