"""Networks of the bounded-information-bottleneck auto-encoder (arXiv:2005.05334), for any regular grid.

Norms are over the cells of a channel, with one gain and bias per cell that all channels share: of one shower
alone, so that critics may carry a gradient penalty.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor, nn

from simulacra.core import UserError, draws
from simulacra.core.ranges import Count, Positive, Whole
from simulacra.core.weights import event_mean
from simulacra.nn.conv import ConvDown3d, triple
from simulacra.nn.mlp import MLP

SLOPE = 0.2
DEPTH = (2, 1, 1)
"""Strides that halve the depth alone."""
_leaky = partial(nn.LeakyReLU, SLOPE)


class VolumeCoder(nn.Module):
    """Volumes to a vector that begins with what an encoder says of them and goes on with noise, and back.

    The encoder halves each axis three times. The decoder triples the coarsest size and doubles it, and comes
    back to the grid by a strided convolution.

    Args:
        sizes: Cells per axis.
        cond: Columns of the conditions.
        encoded: Numbers ``Z`` of the vector that the encoder gives.
        noise: Numbers ``N`` that are noise.
        channels: Channels ``C`` of the first convolution; the others have multiples.
        hidden: Widths of the encoder's linear layers; those of the decoder are the same in reverse order.
    """

    part = 3
    """Cells of the grid per axis for one where the decoder begins."""

    def __init__(
        self,
        sizes: Sequence[int],
        cond: int,
        encoded: Count,
        noise: Whole,
        channels: Count,
        hidden: Sequence[Count],
    ) -> None:
        super().__init__()
        self.sizes, self.encoded, self.noise = triple(sizes), encoded, noise
        self.down = self.narrowing(self.sizes, channels)
        self.heads = MLP(self.down.features + cond, 2 * encoded, hidden, _leaky)
        start = triple(-(-n // self.part) for n in sizes)
        wide = torch.Size(start).numel() * channels
        self.entry = MLP(encoded + noise + cond, wide, hidden[::-1], _leaky)
        self.unflat = nn.Sequential(_leaky(), nn.Unflatten(1, (channels, *start)))
        self.up = self.widening(start, channels)

    def narrowing(self, sizes: Sequence[int], channels: int) -> ConvDown3d:
        """Convolutions of the encoder."""
        return ConvDown3d(
            1, sizes, [channels, 2 * channels, 4 * channels, 8 * channels],
            kernels=[(4,) * 3] * 3 + [(3,) * 3],
            strides=[(2,) * 3] * 3 + [(1,) * 3],
            paddings=[(2,) * 3] * 3 + [(1,) * 3],
            slope=SLOPE, norm_last=True,
        )  # fmt: skip

    def widening(self, start: Sequence[int], channels: int) -> nn.Sequential:
        """From ``C`` channels of the coarsest size to one channel of the grid, or a little more."""
        c, whole = channels, [self.part * n for n in start]
        layers: list[nn.Module] = [
            nn.ConvTranspose3d(c, c, 3, 3, 1, output_padding=2, bias=False),
            nn.LayerNorm(whole), _leaky(),
            nn.ConvTranspose3d(c, 2 * c, 3, 2, 1, output_padding=1, bias=False),
            nn.LayerNorm([2 * n for n in whole]), _leaky(),
            nn.Conv3d(2 * c, c, 2, 2, bias=False),
            nn.LayerNorm(whole), _leaky(),
        ]  # fmt: skip
        return nn.Sequential(*layers, *_smoothing(whole, (c, 2 * c, 4 * c, 2 * c)))

    def encode(self, shower: Tensor, cond: Tensor) -> tuple[Tensor, Tensor]:
        """Means and logarithms of variances, each ``(B, Z)``, of volumes ``(B, 1, *sizes)``."""
        features = self.down(shower).flatten(1)
        mean, log_variance = self.heads(torch.cat([features, cond], dim=1)).chunk(2, dim=1)
        return mean, log_variance

    def filled(self, z: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """The whole vector ``(B, Z + N)`` of its first numbers ``(B, Z)``."""
        return torch.cat([z, draws.normal((z.shape[0], self.noise), z, generator)], dim=1)

    def decode(self, vector: Tensor, cond: Tensor) -> Tensor:
        """Non-negative volumes ``(B, 1, *sizes)`` of vectors ``(B, Z + N)``."""
        coarse = self.unflat(self.entry(torch.cat([vector, cond], dim=1)))
        depth, rows, cols = self.sizes
        return torch.relu(self.up(coarse))[:, :, :depth, :rows, :cols]


class CroppedVolumeCoder(VolumeCoder):
    """The same as of arXiv:2112.09709: a first convolution halves the depth alone.

    The decoder doubles the coarsest size twice, and two convolutions without padding cut it to the grid.
    """

    part = 4

    def narrowing(self, sizes: Sequence[int], channels: int) -> ConvDown3d:
        """As of the base class."""
        return ConvDown3d(
            1, sizes, [channels, 2 * channels, 4 * channels, 4 * channels],
            kernels=[(2,) * 3] * 2 + [(4,) * 3] * 2,
            strides=[DEPTH, (2,) * 3, (2,) * 3, (1,) * 3],
            paddings=[(0,) * 3] * 2 + [(1,) * 3] * 2,
            slope=SLOPE, norm_last=True,
        )  # fmt: skip

    def widening(self, start: Sequence[int], channels: int) -> nn.Sequential:
        """As of the base class."""
        c, sizes = channels, list(start)
        layers: list[nn.Module] = []
        for _ in range(2):
            sizes = [2 * n for n in sizes]
            layers += [nn.ConvTranspose3d(c, c, 4, 2, 1, bias=False), nn.LayerNorm(sizes), _leaky()]
        surplus = [n - own for n, own in zip(sizes, self.sizes, strict=True)]  # 0 to 3 cells
        first = triple(1 + extra % 2 for extra in surplus)
        sizes = [n - extra % 2 for n, extra in zip(sizes, surplus, strict=True)]
        padding = triple(0 if extra > 1 else 1 for extra in surplus)
        layers += [nn.Conv3d(c, c, first, bias=False), nn.LayerNorm(sizes), _leaky()]
        layers += [nn.Conv3d(c, c, 3, padding=padding, bias=False)]
        layers += [nn.LayerNorm(self.sizes), _leaky()]
        return nn.Sequential(*layers, *_smoothing(self.sizes, (c, c, 2 * c, 4 * c, 2 * c)))


def _smoothing(sizes: Sequence[int], channels: Sequence[int]) -> list[nn.Module]:
    """Convolutions that keep the size, from the first of the channels to the last and then to one."""
    layers: list[nn.Module] = []
    for before, after in pairwise(channels):
        layers += [nn.Conv3d(before, after, 3, padding=1, bias=False), nn.LayerNorm(list(sizes))]
        layers += [_leaky()]
    return [*layers, nn.Conv3d(channels[-1], 1, 3, padding=1, bias=False)]


class PairCritic(nn.Module):
    """Scores of a shower beside the one that it was made of, each pair by itself.

    It sees the shower, its logarithm, the difference of the two and the conditions, each through a branch.

    Args:
        sizes: Cells per axis.
        cond: Columns of the conditions.
        channels: Channels of the convolutions.
        features: Numbers that each branch ends in.
        hidden: Widths of the linear layers after them.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        cond: int,
        channels: Count,
        features: Count,
        hidden: Sequence[Count],
    ) -> None:
        super().__init__()
        self.linear, self.logarithmic = (
            _looking(sizes, channels, features, last=(1, 1, 1)) for _ in range(2)
        )
        self.difference = _comparing(sizes, features)
        self.given = nn.Sequential(nn.Linear(cond, features), _leaky())
        self.head = MLP(4 * features, 1, hidden, _leaky)

    def forward(
        self,
        pair: Tensor,
        cond: Tensor,
        weight: Tensor | None = None,
        others: Tensor | None = None,
    ) -> Tensor:
        """Scores ``(B, 1)`` of pairs ``(B, 2, *sizes)``: the true shower, then the one that is judged.

        Args:
            pair: The pairs.
            cond: Conditions ``(B, C)``.
            weight: Event weights ``(B,)`` or None, for a critic that compares pairs with each other.
            others: What it compares them with, the pairs themselves by default.
        """
        true, made = pair.split(1, dim=1)
        seen = (
            self.linear(made),
            self.logarithmic(torch.log1p(made)),
            self.difference(made - true),
            self.given(cond),
        )
        return self.head(torch.cat(seen, dim=1))


class BatchPairCritic(nn.Module):
    """Scores of pairs that also tell how a shower differs from the others of its batch (arXiv:2112.09709).

    It sees the shower and its logarithm, the differences of the two of a pair and of their
    logarithms, statistics of the batch (:class:`BatchStatistics`) of the shower and its logarithm, and each
    condition, each through a branch. True and generated pairs must be shown to it in batches of their own.

    Args:
        sizes: Cells per axis.
        cond: Columns of the conditions.
        channels: Channels of the convolutions.
        features: Numbers that each branch ends in, a multiple of 4.
        compared: Widths of the layers that look at differences within a batch.
        hidden: Widths of the linear layers after all branches.
        unit: Energy in which showers are seen [MeV].
        floor: What is added to a cell before its logarithm is taken [MeV].

    Raises:
        UserError: If ``features`` is not divisible by 4.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        cond: int,
        channels: Count,
        features: Count,
        compared: Sequence[Count],
        hidden: Sequence[Count],
        unit: Positive,
        floor: Positive,
    ) -> None:
        super().__init__()
        self.unit, self.floor = unit, floor
        if features % 4:
            raise UserError(
                f"a critic that sees statistics of its batch needs features divisible by 4, got {features}"
            )
        self.linear, self.logarithmic = (
            _looking(sizes, channels, features, last=DEPTH) for _ in range(2)
        )
        self.difference, self.log_difference = (_comparing(sizes, features) for _ in range(2))
        self.batch, self.log_batch = (BatchStatistics(compared, features // 4) for _ in range(2))
        self.given = nn.ModuleList(
            nn.Sequential(nn.Linear(1, features), _leaky()) for _ in range(cond)
        )
        self.head = MLP((6 + cond) * features, 1, hidden, _leaky)

    def forward(
        self,
        pair: Tensor,
        cond: Tensor,
        weight: Tensor | None = None,
        others: Tensor | None = None,
    ) -> Tensor:
        """As of :class:`PairCritic`."""
        true, made = pair.split(1, dim=1)
        beside = made if others is None else others[:, 1:]
        linear, logs = true / self.unit, self.logarithm(true)
        own_linear, own_logs = made / self.unit, self.logarithm(made)
        seen = [
            self.linear(own_linear),
            self.logarithmic(own_logs),
            self.difference(own_linear - linear),
            self.log_difference(own_logs - logs),
            self.batch(_moments(own_linear), _moments(beside / self.unit), weight),
            self.log_batch(_moments(own_logs), _moments(self.logarithm(beside)), weight),
            *(net(column) for net, column in zip(self.given, cond.split(1, dim=1), strict=True)),
        ]
        return self.head(torch.cat(seen, dim=1))

    def logarithm(self, energy: Tensor) -> Tensor:
        """From 0 for an empty cell."""
        return torch.log1p(energy / self.floor)


class BatchStatistics(nn.Module):
    r"""How an event differs from those of a batch, of each of two numbers :math:`q` that describe it.

    Of :math:`f(q_i - q_j)`, with one network :math:`f` for all pairs, it tells mean and standard deviation
    over the events :math:`j`, an event itself among them; an event of weight two counts as two events.

    Args:
        hidden: Widths of the network's layers.
        outputs: Numbers ``K`` that it ends in.
    """

    def __init__(self, hidden: Sequence[Count], outputs: Count) -> None:
        super().__init__()
        self.net = MLP(1, outputs, hidden, _leaky)

    def forward(self, numbers: Tensor, others: Tensor, weight: Tensor | None = None) -> Tensor:
        """``(B, 4 K)`` of numbers ``(B, 2)`` beside those of others ``(B', 2)`` with weights ``(B',)``."""
        found = self.net((numbers[None] - others[:, None])[..., None])  # (B', B, 2, K)
        mean = event_mean(found, weight)
        spread = (event_mean((found - mean).square(), weight) + TINY).sqrt()
        return torch.cat([mean, spread], dim=-1).flatten(1)


TINY = 1e-6
"""Beside a variance, whose root has no slope at 0."""


def _moments(cells: Tensor) -> Tensor:
    """Standard deviation and sum of the cells of each shower, ``(B, 2)``."""
    flat = cells.flatten(1)
    spread = (flat.var(1, correction=0) + TINY).sqrt()
    return torch.stack([spread, flat.sum(1)], dim=1)


def _looking(
    sizes: Sequence[int], channels: int, features: int, last: tuple[int, int, int]
) -> nn.Sequential:
    """Convolutions of a shower, the last with its own strides."""
    body = ConvDown3d(
        1, sizes, [channels] * 3, [(3,) * 3] * 3, [(2,) * 3] * 2 + [last], [(0,) * 3] * 3, SLOPE
    )
    return nn.Sequential(body, nn.Flatten(), nn.Linear(body.features, features), _leaky())


def _comparing(sizes: Sequence[int], features: int) -> nn.Sequential:
    """A linear layer of the cells of a difference."""
    cells = torch.Size(sizes).numel()
    return nn.Sequential(nn.Flatten(), nn.Linear(cells, features), nn.LeakyReLU())


class ComponentCritic(nn.Module):
    """Scores of the numbers of a vector, each by itself and all by one network.

    Args:
        hidden: Widths of its layers.
    """

    def __init__(self, hidden: Sequence[Count]) -> None:
        super().__init__()
        self.net = MLP(1, 1, hidden, nn.LeakyReLU)

    def forward(self, vector: Tensor) -> Tensor:
        """Scores ``(B, Z)`` of ``(B, Z)``."""
        return self.net(vector[..., None])[..., 0]


class PostProcessor(nn.Module):
    """Each cell by itself to another energy, given the energy of the shower: convolutions of single cells.

    It begins as the identity, to which they add. Norms over the cells let it know how the others are; without
    them it knows their sum alone.

    Args:
        sizes: Cells per axis.
        cond: Columns of the conditions.
        channels: Channels of the cells.
        known: Channels of what is known of the shower.
        layers: Convolutions, at least 4.
        normed: Whether there is a norm after all but the last two.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        cond: int,
        channels: Count,
        known: Count,
        layers: Count = 6,
        normed: bool = True,
    ) -> None:
        super().__init__()
        if layers < 4:
            raise UserError(f"a post-processor needs at least 4 layers, got {layers}")
        norm = [nn.LayerNorm(list(sizes)) for _ in range(layers - 2)] if normed else []
        self.known = nn.Sequential(MLP(1 + cond, known, [known] * 2, nn.LeakyReLU), nn.LeakyReLU())
        self.first = nn.Sequential(nn.Conv3d(1, channels, 1), *norm[:1], nn.LeakyReLU())
        rest: list[nn.Module] = []
        for number in range(1, layers - 1):
            before = channels + known if number == 1 else channels
            rest += [nn.Conv3d(before, channels, 1), *norm[number : number + 1], nn.LeakyReLU()]
        last = nn.Conv3d(channels, 1, 1, bias=False)
        nn.init.zeros_(last.weight)
        self.rest = nn.Sequential(*rest, last)

    def forward(self, shower: Tensor, cond: Tensor) -> Tensor:
        """Volumes ``(B, 1, *sizes)`` of volumes; energies may come out below 0, and are empty then."""
        total = 1e-3 * shower.flatten(1).sum(1, keepdim=True)  # of order 1, as the conditions are
        known = self.known(torch.cat([total, cond], dim=1))[..., None, None, None]
        known = known.expand(-1, -1, *shower.shape[2:])
        return shower + self.rest(torch.cat([self.first(shower), known], dim=1))
