r"""Flow matching of point clouds with a mask.

The loss is :math:`\sum_{i\ \mathrm{real}} |v(x_t, t)_i - u_i|^2 / \#\{i\ \mathrm{real}\}` over all
points of all events of a batch, so that every point counts the same. Noise is masked before the
network, in training as in sampling.

The points of a set have no order, so independent noise points may be given to data points in any
way that depends on the set alone: the set of noise points keeps its distribution.
:func:`rank_coupling` gives the noise point of the k-th largest value in one column to the data
point of the k-th largest value, which straightens the paths of that feature: the optimal transport
of the set in one dimension.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from simulacra.dynamics.paths import OptimalTransportPath, stratified_times
from simulacra.dynamics.solvers import Solver

CloudVelocity = Callable[[Tensor, Tensor, Tensor], Tensor]
"""``velocity(x, t, mask)``: points ``(B, N, F)``, times ``(B,)``, mask ``(B, N)`` to ``(B, N, F)``."""


def rank_coupling(noise: Tensor, data: Tensor, mask: Tensor, column: int) -> Tensor:
    """Permute noise points within each event so that they rank in one column as the data points do.

    Args:
        noise: Independent noise ``(B, N, F)``.
        data: Points ``(B, N, F)``.
        mask: Real points ``(B, N)``; their noise is permuted among themselves.
        column: The feature that ranks.
    """
    bottom = torch.finfo(noise.dtype).min
    by_noise = noise[..., column].masked_fill(~mask, bottom).argsort(1, descending=True)
    by_data = data[..., column].masked_fill(~mask, bottom).argsort(1, descending=True)
    source = torch.empty_like(by_noise).scatter_(1, by_data, by_noise)
    return noise.gather(1, source[..., None].expand_as(noise))


def cloud_loss(
    velocity: CloudVelocity,
    data: Tensor,
    mask: Tensor,
    path: OptimalTransportPath,
    ranked: int | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Flow-matching loss of normalised clouds, a scalar.

    Args:
        velocity: The network.
        data: Points ``(B, N, F)``.
        mask: Real points ``(B, N)``.
        path: Path between noise and data.
        ranked: Column by which noise is assigned with :func:`rank_coupling`, or None for at random.
        generator: Source of times and noise.
    """
    t = stratified_times(len(data), data, generator)
    noise = torch.randn(data.shape, generator=generator, device=data.device, dtype=data.dtype)
    if ranked is not None:
        noise = rank_coupling(noise, data, mask, ranked)
    real = mask[..., None].to(data.dtype)
    x, target = path.at(t, noise * real, data)
    difference = (velocity(x, t, mask) - target) * real
    return difference.square().sum() / real.sum().clamp_min(1)


def sample_cloud(velocity: CloudVelocity, noise: Tensor, mask: Tensor, solver: Solver) -> Tensor:
    """Integrate noise ``(B, N, F)`` to normalised points; padded points are exactly 0."""

    def field(x: Tensor, t: Tensor) -> Tensor:
        return velocity(x, t.expand(len(x)), mask)

    return solver(noise * mask[..., None], field)
