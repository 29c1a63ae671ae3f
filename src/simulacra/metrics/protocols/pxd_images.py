r"""FID and KID of sensor images (arXiv:2303.08046), in the features of a network that the user brings.

The published figures use an InceptionV3 trained to tell the 40 sensors apart, whose weights are not public,
and 2048 features of single-channel images resized to 299 x 299 pixels (bilinear), of 16,000 images. Any other
network gives figures that do not compare with those; they carry the network's name: ``fid/<name>`` is the
Fréchet distance of the features' means and covariances, ``kid/<name>`` the unbiased squared MMD with the
kernel :math:`(x \cdot y / d + 1)^3`, mean and standard deviation over ten subsets. Every image of a weighted
event has its weight, also in a subset.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from simulacra.core.ranges import Count
from simulacra.metrics.distances.frechet import frechet
from simulacra.metrics.engine.score import (
    Events,
    Figure,
    Judged,
    NotRun,
    TwoSampleMetric,
    chunks,
    score_constructor,
)
from simulacra.metrics.engine.weighted import UNWEIGHTED, Weight, Weights, mean, moments, part

Extractor = Callable[[Tensor], Tensor]
"""Images ``(n, 1, size, size)`` of charges [ADU] to features ``(n, F)``."""
SUBSETS, SUBSET = 10, 1000
"""Subsets behind the kernel distance, and images in each, at most."""


@score_constructor
class ImageDistance:
    """The score; see the module's docstring.

    Args:
        extractor: The network in evaluation mode, or None: the figures are not computed.
        name: Its name, a part of the figures' keys.
        images: Images of each sample, at most, the first ones.
        size: Pixels along both sides of the network's input.
    """

    def __init__(
        self,
        extractor: Extractor | None = None,
        name: str = "own",
        images: Count = 16_000,
        size: Count = 299,
    ) -> None:
        self.extractor, self.name, self.images, self.size = extractor, name, images, size

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
        real, fake = (
            image_features(judged.events, self.extractor, self.images, self.size)
            for judged in (reference, generated)
        )
        sensors = reference.observables.spec.shape[0]
        true, made = (
            part(judged.weight, torch.arange(len(rows)) // sensors)
            for judged, rows in ((reference, real), (generated, fake))
        )
        return {
            f"fid/{self.name}": Figure(frechet_distance(real, fake, (true, made)), power=1.0),
            f"kid/{self.name}": kernel_distance(real, fake, seed, (true, made)),
        }


def image_features(events: Events, extractor: Extractor, images: int, size: int) -> Tensor:
    """Features ``(n, F)`` of the sensors' images, read one event at a time."""
    found: list[Tensor] = []
    count = 0
    for batch in chunks(events, 1):
        if count >= images:
            break
        planes = batch.x.float().flatten(0, 1)[: images - count, None]
        resized = interpolate(planes, (size, size), mode="bilinear", align_corners=False)
        with torch.no_grad():
            found.append(extractor(resized).float().cpu())
        count += len(planes)
    return torch.cat(found)


def frechet_distance(reference: Tensor, generated: Tensor, weights: Weights = UNWEIGHTED) -> float:
    """Squared Fréchet distance of the Gaussians that fit features ``(n, F)`` and ``(m, F)``."""
    fewest = min(len(reference), len(generated))
    if fewest < 2:
        raise NotRun(f"the Fréchet distance needs two images of each kind, got {fewest}")
    return frechet(*moments(reference, weights[0]), *moments(generated, weights[1]))


def kernel_distance(
    reference: Tensor, generated: Tensor, seed: int = 0, weights: Weights = UNWEIGHTED
) -> Figure:
    """Unbiased squared MMD of features ``(n, F)`` and ``(m, F)``, mean and deviation over subsets."""
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
    return Figure(float(values.mean()), spread if math.isfinite(spread) else None, power=1.0)


class FrechetImageDistance(TwoSampleMetric):
    """:func:`frechet_distance` of features ``(n, F)`` over batches and ranks."""

    def compute(self) -> Tensor:
        """The squared distance."""
        return torch.tensor(frechet_distance(*self.rows()), dtype=torch.float64)


def _kernel(x: Tensor, y: Tensor) -> Tensor:
    return (x @ y.T / x.shape[1] + 1) ** 3


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
