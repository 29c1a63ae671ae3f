r"""Scans of a generator over one condition at fixed noise, and scores beyond its training.

At fixed noise a condition :math:`c` is moved over a grid; the mean :math:`\mu_o(c)` of every scalar
observable is compared with the truth of events near :math:`c`,

.. math:: \mathrm{deviation} =
          \Big\langle \frac{|\mu_o(c) - \mu_o^{\mathrm{truth}}(c)|}{\sigma_o} \Big\rangle_{o, c},

in units of the truth's overall standard deviations. Its floor is what statistics alone give,
:math:`\sqrt{2/\pi}` times the mean standard error. ``falls`` is the share of steps towards more energy at
which the seen energy of one and the same noise falls. The images of one event on the way, all of the same
noise, show what the condition does to it (as in arXiv:1712.10321).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from simulacra.core import Batch, Conditions, Field
from simulacra.metrics.engine.conditional import mean_distance
from simulacra.metrics.engine.events import conditions
from simulacra.metrics.engine.floors import pairs
from simulacra.metrics.engine.sample import Sample, reduce
from simulacra.metrics.engine.score import Figure, Judged, NotRun, refuse_negative
from simulacra.metrics.engine.weighted import effective, mean, sample_deviation, worth
from simulacra.physics.base import Image, even_edges

Generate = Callable[[Conditions, int], Batch]
"""``generate(conditions, seed)``: events with the noise of that seed."""
MIN_EVENTS = 30
"""True events near a value below which it is not compared."""
CHUNK = 1024
"""Events whose conditions are read at once."""


@dataclass(frozen=True)
class Curve:
    """One scalar observable against a condition.

    Args:
        name: The observable.
        generated: Mean at each value of the grid ``(K,)`` and its error ``(K,)``.
        truth: Values of the condition ``(T,)``, mean of the truth near each ``(T,)`` and its error ``(T,)``.
    """

    name: str
    generated: tuple[Tensor, Tensor]
    truth: tuple[Tensor, Tensor, Tensor]


@dataclass(frozen=True)
class Scan:
    """Curves of all scalar observables, and the figures drawn from them.

    Args:
        field: The condition.
        values: The grid ``(K,)``.
        trained: Smallest and largest value of the training, or None where it is not known.
        curves: Observables.
        images: Images of the first event at each value ``(K,)``, by name; empty where the data have none.
        figures: ``scan/<field>/deviation`` and, for an incident energy, ``scan/<field>/falls``.
    """

    field: Field
    values: Tensor
    trained: tuple[float, float] | None
    curves: tuple[Curve, ...]
    images: tuple[dict[str, Image], ...]
    figures: dict[str, Figure]


def grid(
    field: Field,
    trained: tuple[float, float],
    points: int,
    beyond: float,
    known: Sequence[float] = (),
) -> Tensor:
    """Values of a scan ``(K,)`` in rising order: all classes, or steps over the trained range, widened at
    both ends by the factor (of a log field) or share ``1 + beyond``.

    Args:
        field: The condition.
        trained: Smallest and largest value of the training.
        points: Number of even steps' ends, unless values are known.
        beyond: How far beyond the training the scan goes.
        known: The only values that truth has, which are taken together with the middles between them.
    """
    if field.classes:
        return torch.arange(len(field.classes))
    low, high = (math.log(end) if field.log else end for end in trained)
    margin = math.log1p(beyond) if field.log else beyond * (high - low)
    inside = [math.log(v) if field.log else v for v in known if trained[0] <= v <= trained[1]]
    if inside:
        at = torch.tensor([low - margin, *sorted(inside), high + margin], dtype=torch.float64)
        found = torch.cat([at, (at[1:] + at[:-1]) / 2]).unique()
    else:
        found = even_edges(low - margin, high + margin, points - 1)
    return found.exp() if field.log else found


def scan(
    generate: Generate,
    reference: Judged,
    field: Field,
    values: Tensor,
    base: Conditions,
    trained: tuple[float, float] | None = None,
    seed: int = 0,
) -> Scan:
    """Move one condition over a grid at fixed noise.

    Args:
        generate: The generator.
        reference: True events over the range of the condition.
        field: The condition that is moved.
        values: Its grid ``(K,)`` in rising order.
        base: All conditions of the events ``(n,)`` whose noise is kept; ``field`` is overwritten.
        trained: Range of the training.
        seed: Seed of the noise.

    Raises:
        NotRun: If true events have negative weights.
    """
    refuse_negative(reference)
    samples, images = [], []
    for value in values:
        column = torch.full_like(base.values[field.name], float(value))
        asked = Conditions(base.n, {**base.values, field.name: column})
        made = generate(asked, seed)
        samples.append(reduce(made, reference.observables))
        images.append(reference.observables.images(made[:1].to("cpu")))
    near = _near(reference, field, values)
    names = [name for name, column in reference.sample.columns.items() if column.scalar]
    curves = tuple(_curve(name, samples, near, values) for name in names)
    figures = _figures(field, curves, samples, reference, values)
    return Scan(field, values, trained, curves, tuple(images), figures)


def _near(reference: Judged, field: Field, values: Tensor) -> dict[int, Sample]:
    """True events by the nearest value of the grid, where there are enough."""
    asked = conditions(reference.events, CHUNK).values[field.name][:, 0].double()
    points = values.double()
    if field.log:
        asked, points = asked.log(), points.log()
    nearest = (asked[:, None] - points[None]).abs().argmin(1)
    step = float(points.diff().min()) if len(points) > 1 else 0.0
    inside = (asked - points[nearest]).abs() <= 0.51 * step
    found = {}
    for number in range(len(values)):
        index = ((nearest == number) & inside).nonzero()[:, 0]
        if len(index) >= MIN_EVENTS:
            found[number] = reference.sample.take(index)
    return found


def _curve(
    name: str, samples: Sequence[Sample], near: Mapping[int, Sample], values: Tensor
) -> Curve:
    made = [_mean(sample, name) for sample in samples]
    true = [_mean(sample, name) for sample in near.values()]
    at = values[list(near)].double()
    first, second = _columns(made), _columns(true)
    return Curve(name, first, (at, *second))


def _mean(sample: Sample, name: str) -> tuple[float, float]:
    values, weight = sample.columns[name].values.double(), sample.weights(name)
    if len(values) < 2:
        return math.nan, math.nan
    error = float(sample_deviation(values, weight)) / math.sqrt(worth(len(values), weight))
    return float(mean(values, weight)), error


def _columns(pairs: Sequence[tuple[float, float]]) -> tuple[Tensor, Tensor]:
    table = torch.tensor(pairs, dtype=torch.float64).view(-1, 2)
    return table[:, 0], table[:, 1]


def _figures(
    field: Field,
    curves: Sequence[Curve],
    samples: Sequence[Sample],
    reference: Judged,
    values: Tensor,
) -> dict[str, Figure]:
    deviations, errors = [], []
    for curve in curves:
        column, weight = reference.sample.columns[curve.name], reference.sample.weights(curve.name)
        width = float(sample_deviation(column.values.double(), weight))
        if not width > 0:
            continue
        at = torch.searchsorted(values.double(), curve.truth[0])
        difference = (curve.generated[0][at] - curve.truth[1]).abs() / width
        error = curve.generated[1][at].hypot(curve.truth[2]) / width
        known = difference.isfinite() & error.isfinite()
        deviations.append(difference[known])
        errors.append(error[known])
    found = {}
    deviation, error = torch.cat(deviations), torch.cat(errors)
    if len(deviation):
        floor = float(error.mean()) * math.sqrt(2 / math.pi)
        spread = float(error.square().sum().sqrt()) / len(error)
        found[f"scan/{field.name}/deviation"] = Figure(float(deviation.mean()), spread, floor=floor)
    seen = [sample.response[1] for sample in samples if sample.response is not None]
    if field.role == "energy" and len(seen) > 1:
        falls = torch.stack(seen).diff(dim=0) < 0
        share = float(falls.double().mean())
        error_ = math.sqrt(share * (1 - share) / falls.numel())
        found[f"scan/{field.name}/falls"] = Figure(share, error_, floor=0.0)
    return found


class Regions:
    """Scores of the events within the training, between its values and beyond its range.

    Args:
        field: The condition.
        trained: Smallest and largest value of the training.
        held_out: Values, or pairs (low, high), that were kept out of it.
        scales: Standard deviation of each observable that is compared.
    """

    def __init__(
        self,
        field: str,
        trained: tuple[float, float],
        held_out: Sequence[float | Sequence[float]],
        scales: Mapping[str, float],
    ) -> None:
        self.field, self.trained, self.scales = field, trained, dict(scales)
        self.held_out = [_window(item) for item in held_out]

    def __call__(self, reference: Judged, generated: Judged, seed: int) -> dict[str, Figure]:
        """``region/{trained,interpolation,extrapolation}/w1_mean``.

        Raises:
            NotRun: If all events lie within the training.
        """
        masks = [self._masks(judged) for judged in (reference, generated)]
        if not any(bool(masks[0][name].any()) for name in ("interpolation", "extrapolation")):
            raise NotRun(
                f"no reference event was held out of training or lies beyond its {self.field}"
            )
        found = {}
        for name in masks[0]:
            pair = [
                judged.sample.take(mask[name].nonzero()[:, 0])
                for judged, mask in zip((reference, generated), masks, strict=True)
            ]
            if min(map(len, pair)) >= MIN_EVENTS:
                figure = mean_distance(pair[0], pair[1], self.scales, seed)
                floor = self._floor(pair[0], effective(pair[1].weight), seed)
                found[f"region/{name}/w1_mean"] = replace(figure, floor=floor)
        return found

    def _floor(self, reference: Sample, size: float, seed: int) -> float:
        """From halves of the reference: independent truth may lack what was held out of training."""
        found, wanted = [], (effective(reference.weight), size)
        for first, second in pairs(reference, None, round(size))[0]:
            figure = mean_distance(first, second, self.scales, seed)
            sizes = effective(first.weight), effective(second.weight)
            found.append(figure.value * figure.factor(sizes, wanted))
        return sum(found) / len(found)

    def _masks(self, judged: Judged) -> dict[str, Tensor]:
        asked = conditions(judged.events, CHUNK).values[self.field][:, 0].double()
        slack = 1e-6 * max(map(abs, self.trained))
        beyond = (asked < self.trained[0] - slack) | (asked > self.trained[1] + slack)
        held = torch.zeros_like(beyond)
        for low, high in self.held_out:
            held |= (asked >= low) & (asked <= high)
        held &= ~beyond
        return {"trained": ~(beyond | held), "interpolation": held, "extrapolation": beyond}


def _window(item: float | Sequence[float]) -> tuple[float, float]:
    if isinstance(item, Sequence):
        return float(item[0]), float(item[1])
    return item * (1 - 1e-3), item * (1 + 1e-3)
