from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from simulacra.core import Layout
from simulacra.nn.layer_transformer import LayerTransformer
from simulacra.nn.layer_window import attend, in_order, runs
from simulacra.nn.timed_mlp import PlainTimedMLP

WINDOW = 2
LAYERS = 9


def net(blocks: int = 1, seed: int = 0) -> LayerTransformer:
    torch.manual_seed(seed)
    return LayerTransformer(
        3, LAYERS, 2, width=8, heads=2, blocks=blocks, hidden=16, counts=8, window=WINDOW,
        frequencies=2,
    ).double()  # fmt: skip


def inputs(n: int = 3, points: int = 14) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    g = torch.Generator().manual_seed(1)
    mask = torch.arange(points) < torch.tensor([points, points - 5, 0])[:n, None]
    x = torch.randn(n, points, 3, generator=g, dtype=torch.float64)
    layer = torch.randint(0, LAYERS, (n, points), generator=g)
    context = torch.randn(n, LAYERS + 2, generator=g, dtype=torch.float64)
    return x, torch.rand(n, generator=g, dtype=torch.float64), mask, layer, context


@pytest.mark.parametrize("side", [-1, 1])
@pytest.mark.parametrize("distance", range(5))
def test_a_point_sees_its_window_and_nothing_beyond(distance: int, side: int) -> None:
    x, t, mask, _, context = inputs(1, 4)
    layer = torch.tensor([[4, 4 + side * distance, 4, 4]])
    changed = x.clone()
    changed[0, 1] += 1
    one, other = (net()(points, t, mask, layer, context)[0, 0] for points in (x, changed))
    assert torch.equal(one, other) == (distance > WINDOW)


def test_through_two_blocks_a_point_sees_two_windows_far() -> None:
    x, t, mask, _, context = inputs(1, 5)
    for far, seen in ((2 * WINDOW, True), (2 * WINDOW + 2, False)):
        layer = torch.tensor([[0, WINDOW, WINDOW, far, far]])
        changed = x.clone()
        changed[0, 3:] += 1
        one, other = (net(2)(points, t, mask, layer, context)[0, 0] for points in (x, changed))
        assert torch.equal(one, other) != seen


def test_order_and_padding_change_nothing() -> None:
    x, t, mask, layer, context = inputs()
    plain = net(2)(x, t, mask, layer, context)
    assert bool((plain[~mask] == 0).all())
    assert bool(plain.isfinite().all())
    order = torch.randperm(x.shape[1], generator=torch.Generator().manual_seed(2))
    moved = net(2)(x[:, order], t, mask[:, order], layer[:, order], context)
    torch.testing.assert_close(moved, plain[:, order], atol=1e-12, rtol=0)
    filled = torch.where(mask[..., None], x, 7.0)
    other = net(2)(filled, t, mask, layer.masked_fill(~mask, 3), context)
    torch.testing.assert_close(other, plain, atol=1e-12, rtol=0)


def test_parts_of_queries_find_what_one_mask_finds() -> None:
    _, _, _, layer, _ = inputs(3, 40)
    mask = torch.arange(40) < torch.tensor([[40], [17], [3]])
    order = in_order(layer, mask)
    place, real = layer.gather(1, order), mask.gather(1, order)
    assert bool((place.diff(dim=1) >= 0)[real[:, 1:]].all())
    query, key, value = torch.randn(3, 3, 2, 40, 4, dtype=torch.float64)
    found = attend(query, key, value, runs(place, real, WINDOW, rows=8))
    near = (place[:, :, None] - place[:, None]).abs() <= WINDOW
    near = torch.where(real[:, :, None] & real[:, None], near, ~real[:, :, None] & ~real[:, None])
    whole = F.scaled_dot_product_attention(query, key, value, near[:, None])
    torch.testing.assert_close(found, whole, atol=1e-12, rtol=0)
    parts = runs(place, real, WINDOW, rows=8)
    assert sum(p.allowed.shape[2] * p.allowed.shape[3] for p in parts) < 40 * 40


def parameters(layers: int, particles: int) -> tuple[int, ...]:
    cond = 4 + (particles if particles > 1 else 0)  # energy, three of the direction, the class
    with torch.device("meta"):
        counts = PlainTimedMLP(Layout(layers, cond), [128, 256, 512, 256, 128], 3)
        points = LayerTransformer(
            3, layers, cond, width=64, heads=4, blocks=4, hidden=256, counts=512, window=2,
            frequencies=3,
        )  # fmt: skip
    return tuple(sum(p.numel() for p in part.parameters()) for part in (counts, points))


def test_published_sizes_of_both_parts() -> None:
    assert parameters(78, 12) == (351_822, 263_491)  # 0.35 and 0.26 million in the public code
    assert round(sum(parameters(47, 1)) / 1e6, 3) == 0.587  # of the version for the HGCal
