"""Published generators as one writes them down from their papers.

Plain layers and random weights: nothing is fused, and nothing is kept.

Each maps noise to normalised events and has as many parameters as ours, within some percent.
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import weight_norm


def mlp(widths: list[int], activation: type[nn.Module]) -> nn.Sequential:
    """Linear layers with activations between them."""
    layers: list[nn.Module] = []
    for a, b in pairwise(widths):
        layers += [nn.Linear(a, b), activation()]
    return nn.Sequential(*layers[:-1])


def spline(x: Tensor, raw: Tensor, bound: float, inverse: bool) -> Tensor:
    """Rational-quadratic spline of each of ``x``, the identity outside of the box (arXiv:1906.04032)."""
    bins = (raw.shape[-1] + 1) // 3
    least = 1e-3
    widths, heights = raw[..., :bins].softmax(-1), raw[..., bins : 2 * bins].softmax(-1)
    knots = []
    for sizes in (widths, heights):
        sides = least + (1 - least * bins) * sizes
        places = functional.pad(sides.cumsum(-1), (1, 0))
        knots.append(2 * bound * places - bound)
    slopes = functional.pad(least + functional.softplus(raw[..., 2 * bins :]), (1, 1), value=1.0)
    inside = x.abs() < bound
    at = torch.where(inside, x, 0.0)[..., None]
    source = knots[int(inverse)]
    place = (torch.searchsorted(source.contiguous(), at.contiguous()) - 1).clamp(0, bins - 1)

    def pick(table: Tensor) -> Tensor:
        return table.gather(-1, place)[..., 0]

    x_left, y_left = pick(knots[0]), pick(knots[1])
    width, height = pick(knots[0].diff(dim=-1)), pick(knots[1].diff(dim=-1))
    left, right, secant = pick(slopes), pick(slopes[..., 1:]), height / width
    both = left + right - 2 * secant
    if inverse:
        y = at[..., 0] - y_left
        a = height * (secant - left) + y * both
        b = height * left - y * both
        c = -secant * y
        share = 2 * c / (-b - (b * b - 4 * a * c).clamp_min(0).sqrt())
        found = share * width + x_left
    else:
        share = (at[..., 0] - x_left) / width
        rest = share * (1 - share)
        found = y_left + height * (secant * share**2 + left * rest) / (secant + both * rest)
    return torch.where(inside, found, x)


class Couplings(nn.Module):
    """CaloINN (arXiv:2312.09290): half of the features steers splines of the other half, then a rotation."""

    def __init__(self, features: int, context: int, blocks: int, hidden: int, bins: int) -> None:
        super().__init__()
        self.half, self.left = features // 2, features - features // 2
        self.nets = nn.ModuleList(
            mlp([self.half + context, *[hidden] * 3, self.left * (3 * bins - 1)], nn.ReLU)
            for _ in range(blocks)
        )
        orders = torch.stack([torch.randperm(features) for _ in range(blocks)])
        self.register_buffer("turns", torch.eye(features)[orders])

    def forward(self, z: Tensor, context: Tensor) -> Tensor:
        """From noise to events."""
        for net, turn in zip(reversed(self.nets), self.turns.flip(0), strict=True):
            known, moved = z[:, : self.half], z[:, self.half :]
            raw = net(torch.cat([known, context], 1)).view(len(z), self.left, -1)
            z = torch.cat([known, spline(moved, raw, 18.0, inverse=True)], 1) @ turn
        return z


class Masked(nn.Module):
    """A linear layer that sees what comes before."""

    def __init__(self, degrees_in: Tensor, degrees_out: Tensor, strict: bool) -> None:
        super().__init__()
        self.linear = nn.Linear(len(degrees_in), len(degrees_out))
        seen = degrees_out[:, None] > degrees_in if strict else degrees_out[:, None] >= degrees_in
        self.register_buffer("mask", seen.float())

    def forward(self, x: Tensor) -> Tensor:
        """A step."""
        return functional.linear(x, self.linear.weight * self.mask, self.linear.bias)


class Student(nn.Module):
    """CaloFlow's student (arXiv:2110.11377): eight masked networks whose inputs are the noise."""

    def __init__(
        self, features: int, context: int, hidden: int, bins: int, blocks: int = 8
    ) -> None:
        super().__init__()
        inner = torch.arange(hidden) % (features - 1)
        outer = torch.arange(features)
        self.blocks = nn.ModuleList()
        for _ in range(blocks):
            last = outer.repeat_interleave(3 * bins - 1)
            layers = (Masked(outer, inner, False), Masked(inner, inner, False))
            self.blocks.append(
                nn.ModuleList([*layers, Masked(inner, last, True), nn.Linear(context, hidden)])
            )

    def forward(self, z: Tensor, context: Tensor) -> Tensor:
        """From noise to events."""
        for first, second, last, given in self.blocks:
            h = functional.relu(first(z) + given(context))
            raw = last(functional.relu(second(h))).view(len(z), z.shape[1], -1)
            z = spline(z, raw, 14.0, inverse=False).flip(1)
        return z


class EPiCGenerator(nn.Module):
    """EPiC-GAN's generator (arXiv:2301.08128)."""

    def __init__(self, features: int = 3, hidden: int = 128, latent: int = 10, n: int = 6) -> None:
        super().__init__()

        def linear(a: int, b: int) -> nn.Module:
            return weight_norm(nn.Linear(a, b))

        self.local = linear(features, hidden)
        self.globals = nn.ModuleList([linear(latent, hidden), linear(hidden, latent)])
        self.layers = nn.ModuleList(
            nn.ModuleList(
                [
                    linear(2 * hidden + latent, hidden), linear(hidden, latent),
                    linear(hidden + latent, hidden), linear(hidden, hidden),
                ]
            )
            for _ in range(n)
        )  # fmt: skip
        self.output = linear(hidden, features)

    def forward(self, x: Tensor, g: Tensor, real: Tensor) -> Tensor:
        """Noise of points ``(B, N, F)`` and of the event, mask ``(B, N, 1)``."""
        act = functional.leaky_relu
        x = first = act(self.local(x)) * real
        g = start = act(self.globals[1](act(self.globals[0](g))))
        for one, two, three, four in self.layers:
            total = (x * real).sum(1)
            pooled = torch.cat([total / real.sum(1), total, g], 1)
            g = act(two(act(one(pooled))) + g)
            seen = torch.cat([x, g[:, None].repeat(1, x.shape[1], 1)], 2)
            x = act(four(act(three(seen))) + x) * real
            x, g = x + first, g + start
        return self.output(x) * real


class MessagePassing(nn.Module):
    """MPGAN's generator (arXiv:2106.11535): a message for every ordered pair of points."""

    def __init__(self, features: int = 3, width: int = 32) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.ModuleList(
                [
                    mlp([2 * width, 96, 160, 192], nn.LeakyReLU),
                    mlp([width + 192, 256, 256, outputs], nn.LeakyReLU),
                ]
            )
            for outputs in (width, features)
        )

    def forward(self, x: Tensor, real: Tensor) -> Tensor:
        """Noise ``(B, N, W)``, mask ``(B, N, 1)``."""
        b, n, _ = x.shape
        for edge, node in self.layers:
            one, other = (
                x[:, :, None].expand(b, n, n, -1),
                x[:, None].expand(b, n, n, -1),
            )
            messages = functional.leaky_relu(edge(torch.cat([one, other], -1)), 0.2)
            summed = (messages * real[:, None]).sum(2)
            x = node(torch.cat([x, summed], -1))
        return x.tanh() * real


class JeDi(nn.Module):
    """PC-JeDi's network (arXiv:2303.05376): a transformer, whose time and conditions enter every layer."""

    def __init__(self, features: int = 3, width: int = 128, context: int = 64, n: int = 4) -> None:
        super().__init__()
        self.context = mlp([37, 256, context], nn.LeakyReLU)
        self.embed = mlp([features + context, 256, width], nn.LeakyReLU)
        self.layers = nn.ModuleList(
            nn.ModuleDict(
                {
                    "attention": nn.MultiheadAttention(width, 8, batch_first=True),
                    "before": nn.LayerNorm(width), "after": nn.LayerNorm(width),
                    "norm": nn.LayerNorm(width), "first": nn.Linear(width + context, 256),
                    "inner": nn.LayerNorm(256), "last": nn.Linear(256, width),
                }
            )
            for _ in range(n)
        )  # fmt: skip
        self.output = mlp([width + context, 256, features], nn.LeakyReLU)

    def forward(self, x: Tensor, t: Tensor, cond: Tensor, mask: Tensor) -> Tensor:
        """Noisy points ``(B, N, F)``, time ``(B,)``, conditions ``(B, 5)``, mask ``(B, N)``."""
        angle = math.pi * t[:, None] * 2.0 ** torch.arange(16) / 2**12
        context = self.context(torch.cat([angle.cos(), angle.sin(), cond], 1))
        many = context[:, None].expand(-1, x.shape[1], -1)
        h = self.embed(torch.cat([x, many], 2))
        for layer in self.layers:
            seen = layer["before"](h)
            found, _ = layer["attention"](
                seen, seen, seen, key_padding_mask=~mask, need_weights=False
            )
            h = h + layer["after"](found)
            inner = layer["first"](torch.cat([layer["norm"](h), many], 2))
            h = h + layer["last"](layer["inner"](functional.leaky_relu(inner)))
        return self.output(torch.cat([h, many], 2)) * mask[..., None]


class PointNet(nn.Module):
    """CaloClouds II's network (arXiv:2309.05704): ConcatSquash layers, each point alone."""

    def __init__(self, cond: int, features: int = 4) -> None:
        super().__init__()
        self.time = nn.Linear(64, 64)
        widths = [features, 128, 256, 512, 256, 128, features]
        self.layers = nn.ModuleList(
            nn.ModuleList(
                [nn.Linear(a, b), nn.Linear(64 + cond, b), nn.Linear(64 + cond, b, bias=False)]
            )
            for a, b in pairwise(widths)
        )
        self.register_buffer("frequencies", 16 * torch.randn(32))

    def forward(self, x: Tensor, t: Tensor, cond: Tensor) -> Tensor:
        """Noisy points ``(B, N, F)``, time ``(B,)``, conditions ``(B, C)``."""
        angle = 2 * math.pi * t[:, None] * self.frequencies
        time = functional.leaky_relu(self.time(torch.cat([angle.cos(), angle.sin()], 1)))
        given = torch.cat([time, cond], 1)[:, None]
        for number, (point, gate, shift) in enumerate(self.layers):
            x = point(functional.leaky_relu(x) if number else x)
            x = x * torch.sigmoid(gate(given)) + shift(given)
        return x
