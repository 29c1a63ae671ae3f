r"""Normalisation of showers as clouds that are told by their layers alone.

The numbers of an event are, in this order, the number of points :math:`n_l` of every layer (over the
incident energy, if it is given), the mean energy :math:`E_l / n_l` of the points of every layer, and the
event fields that are not given. There are no totals: they are the sums, :math:`N = \sum_l n_l` and
:math:`E = \sum_l E_l`. Each number is mapped to a standard normal by quantiles; a whole number
:math:`n_l` is spread over :math:`[n_l, n_l + 1)`, and the mean energy of an empty layer does not exist
and is noise in training.

The inverse deals the points out to the layers and scales their energies, as
:mod:`simulacra.transforms.cloud_layers` does; they are not moved across the axis.

Reference: CaloClouds3, arXiv:2511.01460; code FLC-QU-hep/CaloClouds-3, commit 6de0be3.

Note:
    Differs from the reference: energies of layers are told as means per point, normalised by quantiles.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from simulacra.core import Batch, Conditions, Spec, UserError
from simulacra.core.ranges import Count, Whole
from simulacra.transforms.cloud import CloudStandardise, MakePoints
from simulacra.transforms.cloud_layers import LayeredCloudTransform, whole_shares
from simulacra.transforms.maps.quantile import QuantileMap


class LayerwiseCloudTransform(LayeredCloudTransform):
    """See the module's docstring.

    Args:
        spec: See :class:`~simulacra.transforms.cloud_layers.LayeredCloudTransform`, as all others.
        given: Names of the given fields; the number of points is none of them.
        layers: ``L``, largest number of layers.
        points: Makes the map of the points.
        seen: How many leading numbers the points are conditioned on; ``layers`` for how many points each
            layer has.
        subset: Points of a shower that one training step sees (None: all).
        calibration: Training events that the number of points is calibrated with, 0 for none.

    Raises:
        UserError: If the number of points is given.
    """

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
        super().__init__(spec, given, layers, points, seen, subset, calibration)
        if self.count_is_given:
            raise UserError(
                f"{self.count} is given, but points are counted layer by layer: leave it out of model.given"
            )
        self.across = ()
        self.start = 2 * layers
        self._numbers_are(self.start + sum(field.dim for field in self.made), seen)
        self.event = QuantileMap(self.width)

    def _numbers_are(self, width: int, seen: int | None) -> None:
        """How many there are, and how many of them points see."""
        self.width, self.seen = width, width if seen is None else min(seen, width)

    def counts(self, columns: Tensor) -> Tensor:
        """Points of every layer, whole ``(B, L)``, of numbers of the event ``(B, K)``."""
        spread = torch.where(self.depths.isfinite(), columns[:, : self.layers], 0.0)
        return spread.floor().nan_to_num(0.0).clamp(0, self.size).long()

    def mask(self, event: Tensor, cond: Conditions) -> Tensor:
        """See :meth:`~simulacra.transforms.cloud.CloudTransform.mask`; the calibrated number of points."""
        number = self.counts(self.numbers(event, cond)).sum(1, keepdim=True)
        if self.occupancy.active:
            number = self.occupancy(number[:, 0].to(event)).round().long()[:, None]
        return torch.arange(self.size, device=event.device) < number

    def recounted(self, event: Tensor, cond: Conditions) -> Tensor:
        """The numbers as they are: energies are sums over the points that they tell of, and the mask alone
        has the calibrated number.
        """
        return event

    def layer_numbers(self, columns: Tensor, number: Tensor) -> tuple[Tensor, Tensor]:
        """See :meth:`~simulacra.transforms.cloud_layers.LayeredCloudTransform.layer_numbers`."""
        told = self.counts(columns).double()
        mean = columns[:, self.layers : 2 * self.layers].double().clamp_min(0)
        count, energy = whole_shares(told, number), told * mean
        kept = torch.where(count > 0, energy, 0.0)
        factor = energy.sum(1, keepdim=True) / kept.sum(1, keepdim=True).clamp_min(1e-300)
        return count, kept * torch.where(kept.sum(1, keepdim=True) > 0, factor, 0.0)

    def _columns(self, batch: Batch, part: Tensor) -> Tensor:
        """Numbers of the event ``(B, K)``, NaN for the mean energy of an empty layer."""
        count, energy = self.layer_sums(batch)
        fields = [batch.event[field.name].to(batch.x.dtype) for field in self.made]
        columns = torch.cat([count + part[:, 1:], energy / count, *fields], 1)
        return self._rescaled(columns, {**batch.event, **batch.cond}, -1)

    def layer_sums(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Points and energy of every layer of events, each ``(B, L)``."""
        if batch.mask is None:
            raise UserError("these events are no clouds: they have no mask")
        layer, real = self._layer(batch.x), batch.mask.to(batch.x.dtype)
        count = batch.x.new_zeros(len(batch.x), self.layers).scatter_add_(1, layer, real)
        energy = torch.zeros_like(count).scatter_add_(1, layer, batch.x[..., self.energy] * real)
        return count, energy

    def _rescaled(self, columns: Tensor, fields: Mapping[str, Tensor], power: int) -> Tensor:
        """Columns with the numbers of points times a power of a given incident energy."""
        if self.per is None:
            return columns
        scaled = torch.ones_like(columns)
        scaled[:, : self.layers] = fields[self.per].to(columns) ** power
        return columns * scaled
