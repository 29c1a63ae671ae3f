r"""FID and KID of sensor images (arXiv:2303.08046), in the features of a network of one's own.

The published figures use an InceptionV3 trained to tell the 40 sensors apart, whose weights are not public,
and 2048 features of single-channel images resized to 299 x 299 pixels (bilinear), of 16,000 images. Any other
network gives figures that do not compare with those, which a note beside them says; they carry its name:
``fid/<name>`` is the Fréchet distance of the features' means and covariances, ``kid/<name>`` the unbiased
squared MMD with the kernel :math:`(x \cdot y / d + 1)^3`, mean over ten subsets. Every image of a weighted
event has its weight, also in a subset. ``simulacra`` is the name of the networks that come with the package
(:mod:`simulacra.metrics.protocols.pxd_features`).

Errors are those between samples, from the jackknife over blocks of whole events
(:mod:`simulacra.metrics.distances.jackknife`), of KID with that of the mean over the subsets in quadrature.
The published error of KID, the standard deviation of the subsets, is ``kid/<name>/subset_error``: it is 0
where a subset is the whole sample, and too large where it is a small part of it.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import interpolate

from simulacra.core.ranges import Count
from simulacra.metrics.distances.drawn import EVENTS_PER_FEATURE
from simulacra.metrics.distances.frechet import BlockMoments, frechet, frechet_error
from simulacra.metrics.distances.jackknife import block_count
from simulacra.metrics.distances.kernel import kernel_error
from simulacra.metrics.engine.events import origin
from simulacra.metrics.engine.score import (
    Events,
    Figure,
    Judged,
    NotRun,
    TwoSampleMetric,
    score_constructor,
)
from simulacra.metrics.engine.weighted import (
    UNWEIGHTED,
    Weight,
    Weights,
    mean,
    moments,
    part,
    probabilities,
)

Extractor = Callable[[Tensor], Tensor]
"""Images ``(n, 1, size, size)`` of charges [ADU] to features ``(n, F)``."""
Owners = tuple[NDArray[np.int64], NDArray[np.int64]]
"""Event of each image of both samples."""
KERNEL_POWER = 3
AT_ONCE = 8
"""Images that go through the network together: what it makes of full images then stays in the cache."""
INCOMPARABLE = "not comparable with published FID and KID, which are those of another network"
SUBSETS, SUBSET = 10, 1000
"""Subsets behind the kernel distance, and images in each, at most."""


@score_constructor
class ImageDistance:
    """The score; see the module's docstring.

    Args:
        extractor: The network in evaluation mode, or None: the figures are not computed.
        name: Its name, a part of the figures' keys.
        images: Images of each sample, at most, the first ones.
        size: Pixels along both sides of the network's input; None: images stay as they are.
    """

    def __init__(
        self,
        extractor: Extractor | None = None,
        name: str = "own",
        images: Count = 16_000,
        size: Count | None = 299,
    ) -> None:
        self.extractor, self.name, self.images, self.size = extractor, name, images, size
        self._known: dict[int, _Known] = {}

    def __call__(self, reference: Judged, generated: Judged, seed: int) -> dict[str, Figure]:
        """``fid/<name>`` and ``kid/<name>``.

        Raises:
            NotRun: If there is no network.
        """
        if self.extractor is None:
            raise NotRun(
                "FID and KID need a network trained on images of these sensors, and the published weights "
                "are not public: give one of your own as extractor, with its name"
            )
        sensors = reference.observables.spec.shape[0]
        real, fake = (
            image_features(
                judged.events, self.extractor, self.images, self.size, self._of(judged.events)
            )
            for judged in (reference, generated)
        )
        rows = [torch.arange(len(images)) // sensors for images in (real, fake)]
        weights = part(reference.weight, rows[0]), part(generated.weight, rows[1])
        events = rows[0].numpy(), rows[1].numpy()
        value = frechet_distance(real, fake, weights)
        return {
            f"fid/{self.name}": Figure(
                value,
                frechet_error_of_images(real, fake, weights, events),
                power=1.0,
                most=self.images / sensors,
                least=EVENTS_PER_FEATURE * real.shape[1] / sensors,
                note=f"in the features of the network {self.name!r}: {INCOMPARABLE}",
            ),
            f"kid/{self.name}": replace(
                kernel_distance(real, fake, seed, weights, events),
                most=self.images / sensors,
                note=f"in the features of the network {self.name!r}: {INCOMPARABLE}",
            ),
        }

    def _of(self, events: Events) -> dict[int, Tensor]:
        """What is known of these very events or of what they are part of, and is forgotten with it."""
        whole, _ = origin(events)
        key = id(whole)
        if key not in self._known:
            gone = weakref.ref(whole, lambda _: self._known.pop(key, None))
            self._known[key] = _Known(gone)
        return self._known[key].features


@dataclass(frozen=True)
class _Known:
    """Features of the images of some events, by the position of the event."""

    events: weakref.ref[Events]
    features: dict[int, Tensor] = field(default_factory=dict)


def image_features(
    events: Events,
    extractor: Extractor,
    images: int,
    size: int | None,
    known: dict[int, Tensor] | None = None,
) -> Tensor:
    """Features ``(n, F)`` of the sensors' images, read one event at a time.

    Args:
        events: The events.
        extractor: The network.
        images: Images at most, the first ones.
        size: Pixels along both sides of the network's input; None: images stay as they are.
        known: Features by the position of the event in what ``events`` are part of, to which new ones are
            added: floors look at parts of the same events again and again.
    """
    found, count = {} if known is None else known, 0
    whole, position = origin(events)
    taken: list[Tensor] = []
    for number in position.tolist():
        if count >= images:
            break
        if number not in found:
            planes = whole[range(number, number + 1)].x.float().flatten(0, 1)[:, None]
            if size is not None:
                planes = interpolate(planes, (size, size), mode="bilinear", align_corners=False)
            with torch.no_grad():
                parts = [extractor(few).float().cpu() for few in planes.split(AT_ONCE)]
            found[number] = torch.cat(parts)
        taken.append(found[number])
        count += len(found[number])
    return torch.cat(taken)[:images]


def frechet_distance(reference: Tensor, generated: Tensor, weights: Weights = UNWEIGHTED) -> float:
    """Squared Fréchet distance of the Gaussians that fit features ``(n, F)`` and ``(m, F)``."""
    fewest = min(len(reference), len(generated))
    if fewest < 2:
        raise NotRun(f"the Fréchet distance needs two images of each kind, got {fewest}")
    return frechet(*moments(reference, weights[0]), *moments(generated, weights[1]))


def kernel_distance(
    reference: Tensor,
    generated: Tensor,
    seed: int = 0,
    weights: Weights = UNWEIGHTED,
    events: Owners | None = None,
) -> Figure:
    """Unbiased squared MMD of features ``(n, F)`` and ``(m, F)``, mean over subsets.

    Args:
        reference: Features of true images.
        generated: Features of generated images.
        seed: Seed of the subsets.
        weights: Weights of the images of both kinds.
        events: Event of each image of both kinds, ``(n,)`` and ``(m,)``, rising from 0; None: each its own.
    """
    size = min(SUBSET, len(reference), len(generated))
    if size < 2:
        raise NotRun(f"the kernel distance needs two images of each kind, got {size}")
    generator = torch.Generator().manual_seed(seed)
    draws = []
    for _ in range(SUBSETS):
        (x, u), (y, v) = (
            _subset(rows, weight, size, generator)
            for rows, weight in zip((reference, generated), weights, strict=True)
        )
        within = _off_diagonal(x, u) + _off_diagonal(y, v)
        draws.append(within - 2 * float(mean(mean(_kernel(x, y), u), v)))
    values = torch.tensor(draws, dtype=torch.float64)
    spread = float(values.std())
    samples = [
        (rows.double().numpy(), probabilities(weight), owner)
        for rows, weight, owner in zip(
            (reference, generated), weights, events or _own(reference, generated), strict=True
        )
    ]
    error = math.hypot(spread / math.sqrt(SUBSETS), kernel_error(samples, KERNEL_POWER))
    return Figure(float(values.mean()), error, power=1.0, details={"subset_error": spread})


def frechet_error_of_images(
    reference: Tensor, generated: Tensor, weights: Weights, events: Owners
) -> float:
    """Error of :func:`frechet_distance`; arguments as for :func:`kernel_distance`."""
    centre = reference.double().mean(0)
    count = block_count(*(int(owner[-1]) + 1 for owner in events))
    first, second = (
        BlockMoments((x.double() - centre).numpy(), probabilities(weight), owner % count, count)
        for x, weight, owner in zip((reference, generated), weights, events, strict=True)
    )
    return frechet_error(first, second, count)


def _own(*samples: Tensor) -> Owners:
    first, second = (np.arange(len(images)) for images in samples)
    return first, second


class FrechetImageDistance(TwoSampleMetric):
    """:func:`frechet_distance` of features ``(n, F)`` over batches and ranks."""

    def compute(self) -> Tensor:
        """The squared distance."""
        return torch.tensor(frechet_distance(*self.rows()), dtype=torch.float64)


def _kernel(x: Tensor, y: Tensor) -> Tensor:
    return (x @ y.T / x.shape[1] + 1) ** KERNEL_POWER


def _subset(
    rows: Tensor, weight: Weight, size: int, generator: torch.Generator
) -> tuple[Tensor, Weight]:
    """``size`` of the rows, drawn without replacement, float64, and their weights."""
    chosen = torch.randperm(len(rows), generator=generator)[:size]
    return rows[chosen].double(), part(weight, chosen)


def _off_diagonal(x: Tensor, weight: Weight) -> float:
    kernel = _kernel(x, x)
    if weight is not None:
        pairs = weight[:, None] * weight[None]
        pairs.fill_diagonal_(0)
        return float((kernel * pairs).sum() / pairs.sum())
    n = len(x)
    return float((kernel.sum() - kernel.diagonal().sum()) / (n * (n - 1)))
