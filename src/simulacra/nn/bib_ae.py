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

from simulacra.core import draws
from simulacra.core.ranges import Count, Whole
from simulacra.nn.conv import ConvDown3d, triple
from simulacra.nn.mlp import MLP

SLOPE = 0.2
_leaky = partial(nn.LeakyReLU, SLOPE)


class VolumeCoder(nn.Module):
    """Volumes to a vector that begins with what an encoder says of them and goes on with noise, and back.

    The decoder triples the coarsest size and doubles it, and comes back to the grid by a strided convolution.

    Args:
        sizes: Cells per axis.
        cond: Columns of the conditions.
        encoded: Numbers ``Z`` of the vector that the encoder gives.
        noise: Numbers ``N`` that are noise.
        channels: Channels of the first convolution; the others have multiples.
        hidden: Widths of the encoder's linear layers; those of the decoder are the same in reverse order.
    """

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
        self.sizes, self.encoded, self.noise = tuple(sizes), encoded, noise
        c = channels
        self.down = ConvDown3d(
            1, sizes, [c, 2 * c, 4 * c, 8 * c],
            kernels=[(4,) * 3] * 3 + [(3,) * 3],
            strides=[(2,) * 3] * 3 + [(1,) * 3],
            paddings=[(2,) * 3] * 3 + [(1,) * 3],
            slope=SLOPE, norm_last=True,
        )  # fmt: skip
        self.heads = MLP(self.down.features + cond, 2 * encoded, hidden, _leaky)
        start = triple(-(-n // 3) for n in sizes)
        wide = torch.Size(start).numel() * c
        self.entry = MLP(encoded + noise + cond, wide, hidden[::-1], _leaky)
        self.unflat = nn.Sequential(_leaky(), nn.Unflatten(1, (c, *start)))
        whole = [3 * n for n in start]
        self.up = nn.Sequential(
            nn.ConvTranspose3d(c, c, 3, 3, 1, output_padding=2, bias=False),
            nn.LayerNorm(whole), _leaky(),
            nn.ConvTranspose3d(c, 2 * c, 3, 2, 1, output_padding=1, bias=False),
            nn.LayerNorm([2 * n for n in whole]), _leaky(),
            nn.Conv3d(2 * c, c, 2, 2, bias=False),
            nn.LayerNorm(whole), _leaky(),
        )  # fmt: skip
        body: list[nn.Module] = []
        for before, after in pairwise((c, 2 * c, 4 * c, 2 * c)):
            body += [nn.Conv3d(before, after, 3, padding=1, bias=False), nn.LayerNorm(whole)]
            body += [_leaky()]
        self.body = nn.Sequential(*body, nn.Conv3d(2 * c, 1, 3, padding=1, bias=False))

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
        return torch.relu(self.body(self.up(coarse)))[:, :, :depth, :rows, :cols]


class PairCritic(nn.Module):
    """Scores of a shower beside the one that it was made of.

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

        def branch() -> nn.Sequential:
            body = ConvDown3d(
                1, sizes, [channels] * 3, [(3,) * 3] * 3, [(2,) * 3] * 2 + [(1,) * 3],
                [(0,) * 3] * 3, SLOPE,
            )  # fmt: skip
            return nn.Sequential(body, nn.Flatten(), nn.Linear(body.features, features), _leaky())

        self.linear, self.logarithmic = branch(), branch()
        cells = torch.Size(sizes).numel()
        self.difference = nn.Sequential(nn.Flatten(), nn.Linear(cells, features), nn.LeakyReLU())
        self.given = nn.Sequential(nn.Linear(cond, features), _leaky())
        self.head = MLP(4 * features, 1, hidden, _leaky)

    def forward(self, pair: Tensor, cond: Tensor) -> Tensor:
        """Scores ``(B, 1)`` of pairs ``(B, 2, *sizes)``: the true shower, then the one that is judged."""
        true, made = pair.split(1, dim=1)
        seen = (
            self.linear(made),
            self.logarithmic(torch.log1p(made)),
            self.difference(made - true),
            self.given(cond),
        )
        return self.head(torch.cat(seen, dim=1))


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

    Norms over the cells let it know how the others are.

    Args:
        sizes: Cells per axis.
        cond: Columns of the conditions.
        channels: Channels of the cells.
        known: Channels of what is known of the shower.
    """

    def __init__(self, sizes: Sequence[int], cond: int, channels: Count, known: Count) -> None:
        super().__init__()
        self.known = nn.Sequential(MLP(1 + cond, known, [known] * 2, nn.LeakyReLU), nn.LeakyReLU())
        self.first = nn.Sequential(
            nn.Conv3d(1, channels, 1), nn.LayerNorm(list(sizes)), nn.LeakyReLU()
        )
        layers: list[nn.Module] = []
        for before in (channels + known, channels, channels):
            layers += [nn.Conv3d(before, channels, 1), nn.LayerNorm(list(sizes)), nn.LeakyReLU()]
        layers += [nn.Conv3d(channels, channels, 1), nn.LeakyReLU()]
        self.rest = nn.Sequential(*layers, nn.Conv3d(channels, 1, 1, bias=False))

    def forward(self, shower: Tensor, cond: Tensor) -> Tensor:
        """Volumes ``(B, 1, *sizes)`` of volumes; energies may come out below 0, and are empty then."""
        total = 1e-3 * shower.flatten(1).sum(1, keepdim=True)  # of order 1, as the conditions are
        known = self.known(torch.cat([total, cond], dim=1))[..., None, None, None]
        known = known.expand(-1, -1, *shower.shape[2:])
        return self.rest(torch.cat([self.first(shower), known], dim=1))
