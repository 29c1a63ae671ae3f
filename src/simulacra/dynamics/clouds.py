r"""Diffusion and flow matching of point clouds with a mask.

The loss is the distance summed over all real points of all events of a batch, divided by their number, so
that every point counts the same, or as much as the weight :math:`w_i` of its event says,

.. math:: \frac{\sum_i w_i \sum_j d_{ij}}{\sum_i w_i n_i} .

Noise is masked before the network, in training as in sampling.

The points of a set have no order, so independent noise points may be given to data points in any
way that depends on the set alone: the set of noise points keeps its distribution.
:func:`rank_coupling` gives the noise point of the k-th largest value in one column to the data
point of the k-th largest value, which straightens the paths of that feature: the optimal transport
of the set in one dimension.

Events of like size are sampled together (:func:`by_length`), so that little work is spent on padding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from simulacra.core import draws
from simulacra.dynamics.bound import Bound
from simulacra.dynamics.diffusion import Diffusion


class CloudNetwork:
    """A network of points, for the conditions of a batch.

    Args:
        net: Called as ``net(x, t, mask, context)``: points ``(B, N, F)``, numbers that tell the time as for
            :class:`~simulacra.dynamics.bound.Bound`, mask ``(B, N)``, context.
        context: ``(B, C)``, or None.
    """

    def __init__(self, net: Callable[..., Tensor], context: Tensor | None) -> None:
        self.net, self.context = net, context

    def at(self, mask: Tensor) -> Bound:
        """The same for points that are real where ``mask``, ``(B, N)``, says so."""
        return Bound(self.net, mask, self.context)


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


def counted(mask: Tensor, weight: Tensor | None, like: Tensor) -> Tensor:
    """How much each point counts ``(B, N, 1)``: 0 where padded, else 1 or the weight of its event.

    Args:
        mask: Real points ``(B, N)``.
        weight: Event weights ``(B,)``, or None.
        like: Numbers of the type that is asked for.
    """
    real = mask[..., None].to(like.dtype)
    return real if weight is None else real * weight.to(like.dtype)[:, None, None]


def cloud_loss(
    network: CloudNetwork,
    data: Tensor,
    mask: Tensor,
    process: Diffusion,
    ranked: int | None = None,
    weight: Tensor | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Loss of normalised clouds per real point, a scalar.

    Args:
        network: The network.
        data: Points ``(B, N, F)``.
        mask: Real points ``(B, N)``.
        process: How it learns.
        ranked: Column by which noise is assigned with :func:`rank_coupling`, or None for at random.
        weight: Event weights ``(B,)``, or None.
        generator: Source of noise and times.
    """
    noise = draws.normal(data.shape, data, generator)
    if ranked is not None:
        noise = rank_coupling(noise, data, mask, ranked)
    real, counts = mask[..., None].to(data.dtype), counted(mask, weight, data)
    return process.loss(network.at(mask), data * real, noise * real, counts, generator)


def by_length(
    mask: Tensor, least: int = 64, gain: float = 1.06
) -> Iterator[tuple[Tensor | slice, int]]:
    """Groups of events of like size: their indices and how many points the longest has; one group of all,
    as wide as the mask, where nothing may depend on values.

    Neighbours in size are halved again and again, as long as both halves keep ``least`` events and their
    padded sizes add up to less than that of the whole by the factor ``gain``.

    Args:
        mask: Real points, bool ``(B, N)``, in front.
        least: Smallest number of events of a group, below which a network is no faster.
        gain: Worthwhile reduction of the work.
    """
    if draws.unrolled():
        yield slice(None), mask.shape[1]
        return
    counts = mask.sum(1)
    order = torch.argsort(counts, stable=True)
    sizes = counts[order].tolist()

    def split(first: int, last: int) -> Iterator[tuple[Tensor, int]]:
        longest, middle = max(sizes[last - 1], 1), (first + last) // 2
        halves = sizes[middle - 1] * (middle - first) + longest * (last - middle)
        if middle - first < least or gain * halves > longest * (last - first):
            yield order[first:last], longest
            return
        yield from split(first, middle)
        yield from split(middle, last)

    if sizes:
        yield from split(0, len(sizes))
