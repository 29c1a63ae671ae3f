r"""Normalisation of point clouds with a mask, and of an event's numbers that come before its points.

Every feature is standardised over real points, :math:`y = s\,(x - \mu) / \sigma`; sizes (features that the
spec bounds by 0 below and leaves open above, or calls logarithmic) go through :math:`\ln x + x / k` first,
if all fitted values are positive, with a knee :math:`k` of some times their mean
(:mod:`simulacra.transforms.maps.log_linear`). Padded points are exactly 0 on both sides. A
feature whose fitted values are all whole numbers (a layer number, a charge) is spread with uniform noise of
width one in training and rounded in the inverse.

The event's numbers are how many points it has, the event fields that are not given, the sum of the
first size over the points (relative transverse momenta of a jet, energy of a shower), and centres and
widths of leading features weighted by it (:mod:`simulacra.transforms.cloud_moments`). Each is mapped
to a standard normal by quantiles (:mod:`simulacra.transforms.maps.quantile`).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

from simulacra.core import Batch, Conditions, Field, Latent, Spec, UserError, draws
from simulacra.core.ranges import Positive, Whole
from simulacra.transforms.base import Batches, Transform
from simulacra.transforms.cloud_moments import moments, with_moments
from simulacra.transforms.maps.base import Map
from simulacra.transforms.maps.log_linear import inverse_log_linear, log_linear
from simulacra.transforms.maps.quantile import QuantileMap


def is_size(feature: Field) -> bool:
    """Whether a feature is a non-negative amount without upper bound, such as an energy."""
    return feature.log or (feature.low == 0 and feature.high is None)


def energy_column(features: Sequence[Field]) -> int:
    """The first feature that is a size, else the last feature."""
    return next((i for i, feature in enumerate(features) if is_size(feature)), len(features) - 1)


class PointMap(Map):
    """Masked map of the points of a cloud, ``(B, N, F)``, with statistics of many batches."""

    @property
    @abstractmethod
    def fixed(self) -> Tensor:
        """Features of few values, which nothing may move after the inverse: bool ``(F,)``."""

    @abstractmethod
    def fit_stream(self, parts: Callable[[], Iterable[tuple[Tensor, Tensor | None]]]) -> None:
        """Take the statistics of all real points.

        Args:
            parts: Starts a pass over points ``(B, N, F)`` with their masks.

        Raises:
            UserError: If there is no real point.
        """

    @abstractmethod
    def spread(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Add noise to features of few values, for training."""

    def fit(self, x: Tensor, mask: Tensor | None = None) -> None:
        """Take the statistics of one tensor."""
        self.fit_stream(lambda: [(x, mask)])


MakePoints = Callable[[Sequence[Field]], PointMap]
"""From the features of a point."""


class CloudStandardise(PointMap):
    r"""Masked standardisation of the points of a cloud, ``(B, N, F)``.

    Args:
        features: The columns; sizes go through :math:`\ln x + x / k`.
        scale: Standard deviation of the result, ``s`` (5 in arXiv:2310.00049, written there as a
            division of the standard deviation by 5).
        knee: ``k`` in units of the mean; from there on the map of a size is nearly linear.
    """

    mean: Tensor
    std: Tensor
    curved: Tensor
    knee: Tensor
    whole: Tensor

    def __init__(
        self, features: Sequence[Field], scale: Positive = 1.0, knee: Positive = 3.0
    ) -> None:
        super().__init__()
        self.scale = scale
        self.knee_over_mean = knee
        self.sizes = tuple(is_size(field) for field in features)
        self.register_buffer("mean", torch.zeros(len(features)))
        self.register_buffer("std", torch.ones(len(features)))
        self.register_buffer("curved", torch.tensor(self.sizes))
        self.register_buffer("knee", torch.ones(len(features)))
        self.register_buffer("whole", torch.zeros(len(features), dtype=torch.bool))

    @property
    def fixed(self) -> Tensor:
        """Those that are whole numbers."""
        return self.whole

    def fit_stream(self, parts: Callable[[], Iterable[tuple[Tensor, Tensor | None]]]) -> None:
        """See :meth:`PointMap.fit_stream`; in two passes and with float64 sums."""
        count, total = 0, torch.zeros(len(self.sizes), dtype=torch.float64)
        whole, positive = (torch.ones(len(self.sizes), dtype=torch.bool) for _ in range(2))
        for real in map(_real, parts()):
            count += len(real)
            total += real.double().sum(0)
            whole &= (real == real.round()).all(0)
            positive &= (real > 0).all(0)
        if count == 0:
            raise UserError("the training clouds have no points")
        curved = torch.tensor(self.sizes) & positive
        self.curved.copy_(curved)
        self.whole.copy_(whole & ~curved)
        self.knee.copy_(torch.where(curved, self.knee_over_mean * total / count, 1.0))
        first, second = torch.zeros(2, len(self.sizes), dtype=torch.float64)
        for real in map(_real, parts()):
            value = self._bend(real.to(self.knee)).double().cpu()
            first, second = first + value.sum(0), second + value.square().sum(0)
        variance = (second / count - (first / count).square()).clamp_min(0)
        std = (variance + self.whole.cpu() / 12).sqrt()  # a uniform spread of width one adds 1/12
        self.mean.copy_(first / count)
        self.std.copy_(torch.where(std > 0, std, 1.0))

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Physical to normalised points; the domain of sizes is the positive numbers."""
        return masked((self._bend(x) - self.mean) / self.std * self.scale, mask)

    def inverse(self, y: Tensor, mask: Tensor | None = None) -> Tensor:
        """Normalised to physical points, whole numbers rounded."""
        value = y / self.scale * self.std + self.mean
        straight = torch.where(self.whole, value.round(), value)
        columns = list(straight.unbind(-1))
        for i in (i for i, size in enumerate(self.sizes) if size):
            size = inverse_log_linear(value[..., i]) * self.knee[i]
            columns[i] = torch.where(self.curved[i], size, columns[i])
        return masked(torch.stack(columns, -1), mask)

    def _bend(self, x: Tensor) -> Tensor:
        return torch.where(self.curved, log_linear(x / self.knee), x)

    def spread(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Add uniform noise of width one to the features that are whole numbers."""
        if not bool(self.whole.any()):
            return x
        noise = draws.uniform(x.shape, x, generator) - 0.5
        return torch.where(self.whole, x + noise, x)


class CloudTransform(Transform):
    """Clouds to ``{"event": (B, K), "points": (B, N, F)}`` and back, exactly but for rounding: whole numbers
    are rounded to what they were, and with the moments that they have points stay where they are.

    The columns of ``"event"`` are the number of points (unless it is given), the event fields that
    are not given, and the moments of the points: the sum of the energy-like feature
    (:func:`energy_column`), then centres and widths of the leading features.

    Args:
        spec: The data set, of kind cloud.
        given: Names of the given fields.
        points: Makes the map of the points.
        leading: Number of leading features with centres and widths.
        calibrate: Whether the inverse gives the points the moments in ``"event"``.
        seen: How many leading numbers of the event the points are conditioned on, 0 for none (None: all).
    """

    def __init__(
        self,
        spec: Spec,
        given: Sequence[str],
        points: MakePoints = CloudStandardise,
        leading: Whole = 2,
        calibrate: bool = False,
        seen: Whole | None = None,
    ) -> None:
        super().__init__([spec.field(name) for name in given])
        count = spec.roles.get("count")  # the field that repeats the number of points
        self.count = None if count is None else count.name
        self.leading = leading
        self.calibrate = calibrate
        self.size = spec.shape[0]
        self.count_is_given = self.count in given
        self.counted = count in spec.event and not self.count_is_given
        self.made = tuple(
            field for field in spec.event if field.name not in given and field != count
        )
        self.energy = energy_column(spec.features)
        self.points = points(spec.features)
        self.start = int(not self.count_is_given)  # the first column of the event fields
        self.width = self.start + sum(field.dim for field in self.made) + 1 + 2 * leading
        self.seen = self.width if seen is None else min(seen, self.width)
        self.event: Map = QuantileMap(self.width)

    def fit_statistics(self, batches: Batches) -> None:
        """One pass for conditions, one for points, one for the event's numbers (kept: a few per event)."""
        self.points.fit_stream(lambda: ((batch.x, batch.mask) for batch in batches))
        self.event.fit(torch.cat([self._columns(batch, even(batch.x)) for batch in batches]))

    def forward(self, batch: Batch, generator: torch.Generator | None = None) -> Latent:
        """Normalise; in training mode whole numbers are dequantised."""
        x, part = batch.x, torch.full((len(batch), 1), 0.5).to(batch.x)
        if self.training:
            x = self.points.spread(x, generator)
            part = draws.uniform((len(batch), 1), x, generator)
        cond = batch.conditions(self.conditions.names)
        latent = {
            "event": self.event(self._columns(batch, part)),
            "points": self.points(x, batch.mask),
        }
        return Latent(latent, self.condition(cond), batch.mask)

    def inverse(
        self, latent: Latent, cond: Conditions, generator: torch.Generator | None = None
    ) -> Batch:
        """Physical clouds, with the event fields that are not given; fields are kept in the spec's bounds."""
        columns = self.numbers(latent.x["event"], cond)
        unknown = columns.isnan().any(1)[:, None, None]  # of which no mask tells
        x = self._placed(latent, columns).masked_fill(unknown, torch.nan)
        event, start = {}, self.start
        for field in self.made:
            event[field.name] = field.nearest(columns[:, start : start + field.dim])
            start += field.dim
        if self.counted and latent.mask is not None and self.count is not None:
            event[self.count] = latent.mask.sum(1, keepdim=True).to(x.dtype)
        return Batch(x, dict(cond.values), event, latent.mask)

    def mask(self, event: Tensor, cond: Conditions) -> Tensor:
        """Mask ``(B, N)`` of the number of points in ``"event"`` (or given), whole and at most ``N``."""
        if self.count_is_given and self.count is not None:
            number = cond.values[self.count][:, 0]
        else:
            number = self.numbers(event, cond)[:, 0].floor()
        return torch.arange(self.size, device=event.device) < number.clamp(0, self.size)[:, None]

    def numbers(self, event: Tensor, cond: Conditions) -> Tensor:
        """Physical numbers of the event ``(B, K)`` of normalised ones."""
        return self.event.inverse(event)

    def _placed(self, latent: Latent, columns: Tensor) -> Tensor:
        """Physical points ``(B, N, F)`` of an event with the numbers ``columns``."""
        x = self.points.inverse(latent.x["points"], latent.mask)
        if not self.calibrate or latent.mask is None:
            return x
        wanted = columns[:, -1 - 2 * self.leading :]
        return with_moments(x, latent.mask, wanted, self.energy, self.points.fixed)

    def _columns(self, batch: Batch, part: Tensor) -> Tensor:
        """Numbers of the event ``(B, K)``; ``part`` in [0, 1) is added to the number of points."""
        if batch.mask is None:
            raise UserError("these events are no clouds: they have no mask")
        number = (
            []
            if self.count_is_given
            else [batch.mask.sum(1, keepdim=True).to(batch.x.dtype) + part]
        )
        fields = [batch.event[field.name].to(batch.x.dtype) for field in self.made]
        return torch.cat([*number, *fields, moments(batch.x, self.energy, self.leading)], 1)


def _real(part: tuple[Tensor, Tensor | None]) -> Tensor:
    """Real points ``(P, F)`` on the CPU."""
    x, mask = part
    return (x.flatten(0, 1) if mask is None else x[mask]).cpu()


def masked(x: Tensor, mask: Tensor | None) -> Tensor:
    """Points ``(B, N, F)`` that are exactly 0 where the mask ``(B, N)`` is False."""
    return x if mask is None else torch.where(mask[..., None], x, 0.0)


def even(x: Tensor) -> Tensor:
    """Multiples of the golden ratio modulo 1, ``(B, 1)``: they fill [0, 1) evenly."""
    return (
        torch.arange(len(x), device=x.device, dtype=torch.float64)[:, None] * 0.6180339887498949 % 1
    ).to(x.dtype)
