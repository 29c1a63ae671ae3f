r"""Players of a game about parton showers: a splitter, the same at each step, and a critic of final states.

The splitter follows one parton, the line. From noise, the angle that was reached and the number of
emissions still to come, one small network draws the share :math:`1 - z` of the next emission and its
angle; the azimuth is even. Momenta are conserved at every step, and nothing but final partons leaves it
(:func:`canvas`).

The critic is a network of sets, so that the order of partons is nothing. Of each it sees the momentum, the
distance from the hardest one, and its share of the momentum that lies within this distance.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid, softplus

from simulacra.core import draws
from simulacra.core.ranges import Count
from simulacra.nn.latent_vectors import Columns
from simulacra.nn.mlp import MLP
from simulacra.nn.verdicts import Verdict

SEEN, PARTONS = slice(0, 3), slice(3, 6)
REAL, WIDTH = 6, 7
"""Columns of a parton: what the critic sees, both angles and momentum, and whether there is one."""
SMALL = 1e-6
"""Distances [rad] and shares below it are not told from it."""


@dataclass(frozen=True)
class Emissions:
    """What a splitter has drawn for ``B`` jets, step by step.

    Args:
        log_emitted: ``ln(1 - z)``, ``(B, K)``.
        log_angle: Logarithm of the angle in units of the widest one.
        azimuth: Azimuth [rad].
        real: Which emissions there are, bool.
    """

    log_emitted: Tensor
    log_angle: Tensor
    azimuth: Tensor
    real: Tensor


class Splitter(nn.Module):
    """See the module's docstring.

    Args:
        points: Most partons of a jet.
        columns: What the conditions are.
        noise: Numbers of noise of an emission.
        hidden: Widths of the network.
    """

    numbers: Tensor
    widest: Tensor

    def __init__(
        self, points: int, columns: Columns, noise: Count, hidden: Sequence[Count]
    ) -> None:
        super().__init__()
        self.points, self.noise = points, noise
        self.net = MLP(noise + 2 + columns.width, 2, hidden)
        self.register_buffer("numbers", torch.ones(points) / points)
        self.register_buffer("widest", torch.tensor(1.0))

    def learn(self, counts: Tensor, widest: float) -> None:
        """Take how many jets have 1, 2, ... partons ``(points,)``, and the widest angle [rad]."""
        self.numbers.copy_(counts / counts.sum())
        self.widest.fill_(widest)

    def emissions(
        self, n: int, cond: Tensor | None, generator: torch.Generator | None = None
    ) -> Emissions:
        """Emissions of ``n`` jets under conditions ``(n, C)``."""
        like = next(self.parameters())
        number = draws.categorical(n, self.numbers[None].expand(n, -1), generator)
        most = self.points - 1 if draws.unrolled() else int(number.max())
        angle, found = like.new_zeros(n), []
        for k in range(most):
            noise = draws.normal((n, self.noise), like, generator)
            azimuth = 2 * math.pi * draws.uniform((n,), like, generator)
            left = (number - k).clamp_min(0).to(like)
            known = [noise, angle[:, None] / 4, left[:, None] / 8]
            share, step = self.net(torch.cat(known if cond is None else [*known, cond], 1)).unbind(
                1
            )
            angle = angle - softplus(step)
            found.append((logsigmoid(share), angle, azimuth, number > k))
        if not found:
            none = like.new_zeros(n, 0)
            return Emissions(none, none, none, none.bool())
        return Emissions(*(torch.stack(column, 1) for column in zip(*found, strict=True)))

    def forward(
        self, n: int, cond: Tensor | None, generator: torch.Generator | None = None
    ) -> Tensor:
        """Final partons of ``n`` jets as :func:`canvas` has them ``(n, points, WIDTH)``."""
        drawn = self.emissions(n, cond, generator)
        place = drawn.log_emitted.new_zeros(n, 2)
        log_line, rows = drawn.log_emitted.new_zeros(n), []
        for k in range(drawn.real.shape[1]):
            emitted, real = drawn.log_emitted[:, k], drawn.real[:, k, None]
            share = emitted.exp()[:, None]
            turn = torch.stack([drawn.azimuth[:, k].cos(), drawn.azimuth[:, k].sin()], 1)
            across = self.widest * drawn.log_angle[:, k, None].exp() * turn
            parton = torch.cat(
                [place - (1 - share) * across, (log_line + emitted).exp()[:, None]], 1
            )
            rows.append(torch.cat([parton * real, real.to(parton)], 1))
            place = torch.where(real, place + share * across, place)
            kept = torch.log1p(-share[:, 0].clamp_max(1 - SMALL))
            log_line = torch.where(real[:, 0], log_line + kept, log_line)
        line = torch.cat([place, log_line.exp()[:, None], torch.ones_like(place[:, :1])], 1)
        final = torch.stack([line, *rows], 1)
        return padded(canvas(final[..., :3], final[..., 3]), self.points)


class SetCritic(nn.Module):
    """See the module's docstring.

    Args:
        points: Most partons of a jet.
        columns: What the conditions are.
        point: Widths of the network of a parton; sum and mean of the last are taken.
        whole: Widths of the network of these.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, points: int, columns: Columns, point: Sequence[Count], whole: Sequence[Count]
    ) -> None:
        super().__init__()
        self.point = MLP(3, point[-1], point[:-1], nn.LeakyReLU)
        self.whole = MLP(2 * point[-1] + 1 + columns.width, 1, whole, nn.LeakyReLU)
        self.register_buffer("mean", torch.zeros(3))
        self.register_buffer("std", torch.ones(3))

    def learn(self, seen: Tensor) -> None:
        """Take what partons look like ``(M, 3)``."""
        self.mean.copy_(seen.mean(0))
        self.std.copy_(seen.std(0).clamp_min(1e-3))

    def forward(self, events: Tensor, cond: Tensor | None) -> Verdict:
        """The verdict on jets ``(B, N, WIDTH)`` under conditions ``(B, C)``."""
        real = events[..., REAL:]
        said = self.point((events[..., SEEN] - self.mean) / self.std) * real
        total, count = said.sum(1), real.sum(1)
        parts = [total / 8, total / count.clamp_min(1), count / 8]
        return Verdict(self.whole(torch.cat(parts if cond is None else [*parts, cond], 1)))


def canvas(partons: Tensor, real: Tensor) -> Tensor:
    """Partons with what a critic sees of them, 0 where there is none.

    Args:
        partons: Both angles [rad] and momentum ``(B, N, 3)``.
        real: 1 where there is a parton, else 0, ``(B, N)``.

    Returns:
        ``(B, N, WIDTH)``: logarithms of momentum, distance from the hardest parton and share of the momentum
        within this distance; the partons; ``real``.
    """
    place, momentum = partons[..., :2], partons[..., 2] * real
    hardest = momentum.argmax(1)[:, None, None].expand(-1, 1, 2)
    apart = place - place.gather(1, hardest)
    distance = (apart.square().sum(-1) + SMALL**2).sqrt()
    within = (distance[:, None] <= distance[:, :, None]).to(momentum)  # (B, N, N)
    inside = (within * momentum[:, None]).sum(-1)
    logs = [
        value.clamp_min(SMALL).log()
        for value in (momentum, distance, momentum / inside.clamp_min(SMALL))
    ]
    columns = torch.cat([torch.stack(logs, -1), partons, torch.ones_like(momentum)[..., None]], -1)
    return columns * real[..., None]


def padded(events: Tensor, points: int) -> Tensor:
    """Events ``(B, points, WIDTH)``."""
    return nn.functional.pad(events, (0, 0, 0, points - events.shape[1]))
