"""Convolutional stacks on grids of any size."""

from __future__ import annotations

import pytest
import torch

from simulacra.nn.conv import ConvDown3d, ConvHead3d, ConvUp3d
from simulacra.nn.latent_vectors import Columns
from simulacra.nn.resblocks import ConvDown2d, ConvUp2d, ResidualDown2d, ResidualUp2d
from simulacra.nn.shower_gan import EnergyConstrainer, ShowerCritic, ShowerGenerator
from simulacra.nn.volumes import Volumes

SUMS = (
    (lambda volume, r, cond: volume),
    (lambda volume, cond: volume.flatten(1).sum(1, keepdim=True)),
)
GRIDS = [(30, 30, 30), (45, 16, 9), (30, 10, 10), (5, 7, 3), (2, 2, 2)]


def volumes_of(sizes: tuple[int, int, int]) -> Volumes:
    return Volumes(sizes, 0, *SUMS)


def columns_of(width: int) -> Columns:
    return Columns(width, (), tuple(range(width)), False)


@pytest.mark.parametrize("sizes", GRIDS)
@pytest.mark.parametrize("stride", [1, 2])
def test_head_makes_exactly_the_grid_and_reaches_every_cell(
    sizes: tuple[int, ...], stride: int
) -> None:
    start = [-(-n // (2 * stride)) for n in sizes]
    body = ConvUp3d(3, start, [4])
    head = ConvHead3d(4, 1, body.sizes, sizes, stride)
    torch.manual_seed(0)
    out = head(body(torch.randn(8, 3, *start)))
    assert out.shape == (8, 1, *sizes)
    assert bool((out != 0).any(0).all())


@pytest.mark.parametrize("sizes", GRIDS)
def test_all_three_networks_fit_any_grid_and_use_all_of_it(sizes: tuple[int, int, int]) -> None:
    torch.manual_seed(0)
    volumes, columns = volumes_of(sizes), columns_of(2)
    generator = ShowerGenerator(
        volumes, columns, 4, 2, [4, 2], 1, noise=False, cell_gain=0.0, response=None
    )
    critic = ShowerCritic(volumes, columns, [2, 2, 1], [6, 4, 4], [1, 1, 1], [8])
    constrainer = EnergyConstrainer(sizes, [2, 2, 2], 4)
    cond = torch.randn(3, 2)
    shower = generator(3, cond)
    assert shower.shape == (3, 1, *sizes)
    assert bool((shower >= 0).all())
    assert critic(shower, cond).score.shape == constrainer(shower).shape == (3, 1)
    point = torch.rand_like(shower, requires_grad=True)
    critic(point, cond).score.sum().backward()
    assert point.grad is not None
    middle = tuple(n // 2 for n in sizes)
    assert float(point.grad[0, 0][middle].abs()) > 0


def test_noise_is_independent_from_cell_to_cell() -> None:
    torch.manual_seed(0)
    generator = ShowerGenerator(
        volumes_of((6, 6, 6)), columns_of(1), 4, 2, [4], 2, noise=True, cell_gain=1.0, response=None
    )
    with torch.no_grad():
        showers = generator(500, torch.zeros(500, 1), torch.Generator().manual_seed(0))
    showers = showers.flatten(1)
    first, second = showers[:, 100], showers[:, 101]
    correlation = torch.corrcoef(torch.stack([first, second]))[0, 1]
    assert float(first.std()) > 0.1
    assert abs(float(correlation)) < 0.18  # 4 / sqrt(500)


def test_spatial_norm_takes_no_statistics_of_the_batch() -> None:
    body = ConvDown3d(1, (6, 6, 6), [3, 2], [(2, 2, 2)] * 2, [(2, 2, 2)] * 2, [(0, 0, 0)] * 2)
    events = torch.randn(5, 1, 6, 6, 6)
    torch.testing.assert_close(body(events)[:2], body(events[:2]))


@pytest.mark.parametrize("block", [ConvUp2d, ResidualUp2d])
def test_generator_blocks_double_rows_and_columns(block: type) -> None:
    assert block(3, 5)(torch.randn(2, 3, 4, 6)).shape == (2, 5, 8, 12)


@pytest.mark.parametrize("block", [ConvDown2d, ResidualDown2d])
def test_critic_blocks_halve_them_image_by_image(block: type) -> None:
    module = block(3, 5)
    images = torch.randn(4, 3, 8, 12)
    assert module(images).shape == (4, 5, 4, 6)
    torch.testing.assert_close(module(images)[:1], module(images[:1]))
