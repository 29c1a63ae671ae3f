r"""FID and KID of sensor images (arXiv:2303.08046), in the features of a network that the user brings.

The published figures use an InceptionV3 trained to tell the 40 sensors apart, whose weights are not public,
and 2048 features of single-channel images resized to 299 x 299 pixels (bilinear), of 16,000 images. Any other
network gives figures that do not compare with those; they carry the network's name: ``fid/<name>`` is the
Fréchet distance of the features' means and covariances, ``kid/<name>`` the unbiased squared MMD with the
kernel :math:`(x \cdot y / d + 1)^3`, mean and standard deviation over ten subsets.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from simulacra.metrics.frechet import frechet
from simulacra.metrics.score import Events, Figure, Judged, NotRun, TwoSampleMetric, chunks

Extractor = Callable[[Tensor], Tensor]
"""Images ``(n, 1, size, size)`` of charges [ADU] to features ``(n, F)``."""
SUBSETS, SUBSET = 10, 1000
"""Subsets behind the kernel distance, and images in each, at most."""


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
        images: int = 16_000,
        size: int = 299,
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
        return {
            f"fid/{self.name}": Figure(frechet_distance(real, fake), power=1.0),
            f"kid/{self.name}": kernel_distance(real, fake, seed),
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


def frechet_distance(reference: Tensor, generated: Tensor) -> float:
    """Squared Fréchet distance of the Gaussians that fit features ``(n, F)`` and ``(m, F)``."""
    moments = []
    for rows in (reference, generated):
        if len(rows) < 2:
            raise NotRun(f"the Fréchet distance needs two images of each kind, got {len(rows)}")
        values = rows.double()
        moments += [values.mean(0).numpy(), values.T.cov().reshape(values.shape[1], -1).numpy()]
    return frechet(*moments)


def kernel_distance(reference: Tensor, generated: Tensor, seed: int = 0) -> Figure:
    """Unbiased squared MMD of features ``(n, F)`` and ``(m, F)``, mean and deviation over subsets."""
    size = min(SUBSET, len(reference), len(generated))
    if size < 2:
        raise NotRun(f"the kernel distance needs two images of each kind, got {size}")
    generator = torch.Generator().manual_seed(seed)
    draws = []
    for _ in range(SUBSETS):
        x, y = (
            rows[torch.randperm(len(rows), generator=generator)[:size]].double()
            for rows in (reference, generated)
        )
        within = sum(_off_diagonal(z) for z in (x, y))
        draws.append(within - 2 * float(_kernel(x, y).mean()))
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


def _off_diagonal(x: Tensor) -> float:
    kernel = _kernel(x, x)
    n = len(x)
    return float((kernel.sum() - kernel.diagonal().sum()) / (n * (n - 1)))
