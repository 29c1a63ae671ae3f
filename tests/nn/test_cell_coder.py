"""Encoder and decoder of cells: sizes, what rolls, what is trained, and what passes between them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal as NormalDistribution
from torch.distributions import kl_divergence

from simulacra.core import Geometry, Layout, UserError, regular_grid
from simulacra.nn.bottleneck import Normal, Plain, divergence
from simulacra.nn.cell_coder import CellCoder
from support import spec_of

TWO_LEVELS = {
    "widths": (8, 16),
    "kernels": ((3, 4, 3), (3, 2, 2)),
    "strides": ((3, 2, 1), (1, 2, 2)),
}
ONE_LEVEL = {"widths": (8,), "kernels": ((3, 4, 3),), "strides": ((3, 2, 1),)}
SIDES = pytest.mark.parametrize("fine", [True, False])


def box(layers: int, rows: int, cols: int, periodic: int | None = 0) -> Geometry:
    edges = [[float(k) for k in range(n + 1)] for n in (rows, cols)]
    return regular_grid(layers, (edges[0], edges[1]), ("alpha", "r"), periodic=periodic)


def coder(geometry: Geometry, levels: dict = ONE_LEVEL, fine: bool = True, numbers: int = 1):
    torch.manual_seed(0)
    layout = Layout(geometry.n_voxels, 2, geometry=geometry)
    return CellCoder(layout, numbers, layout.features, channels=2, fine=fine, known=8, **levels)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_the_volume_of_data_set_3_has_the_published_channels_and_strides():
    geometry = spec_of("ds3", None).geometry
    assert geometry is not None
    with torch.device("meta"):
        made = CellCoder(
            Layout(geometry.n_voxels, 46, geometry=geometry), 1, geometry.n_voxels, 4, (64,),
            ((3, 4, 3),), ((3, 2, 1),), True, 100,
        )  # fmt: skip
    assert made.sizes == [(45, 50, 18), (15, 25, 18)]
    assert made.layout.features == 4 * 15 * 25 * 18
    assert made.layout.image == (25, 18 * 4)
    assert made.layout.periodic == 0
    # the layers of the authors' code have 542,175, with maps at every convolution and no shortcuts
    assert sum(p.numel() for p in made.parameters()) == pytest.approx(542_175, rel=0.03)


@SIDES
@pytest.mark.parametrize("levels", [ONE_LEVEL, TWO_LEVELS])
@pytest.mark.parametrize("sizes", [(7, 8, 5), (5, 7, 9), (2, 5, 3)])
def test_any_number_of_cells_comes_back(sizes: tuple[int, int, int], levels: dict, fine: bool):
    geometry = box(*sizes)
    module = coder(geometry, levels, fine)
    x, context = normal(2, geometry.n_voxels), normal(2, 2, seed=1)
    z = module.encode(x, context)
    assert z.shape == (2, 2, *module.sizes[-1])
    assert torch.equal(module.volume(module.line(z)), z)
    assert module.line(z).shape == (2, module.layout.features)
    assert module.decode(z, context).shape == x.shape


@SIDES
def test_rolling_the_angle_by_what_a_joint_joins_rolls_volume_and_shower(fine: bool):
    module = coder(box(7, 8, 5), fine=fine)
    x, context = normal(2, 280), normal(2, 2, seed=1)

    @torch.no_grad()
    def changed(axis: int, cells: int, coarse: int) -> tuple[float, float]:
        def turned(flat: Tensor) -> Tensor:
            return flat.unflatten(1, (7, 8, 5)).roll(cells, axis).flatten(1)

        z, other = module.encode(x, context), module.encode(turned(x), context)
        y, back = module.decode(z, context), module.decode(other, context)
        return (
            float((other - z.roll(coarse, axis + 1)).abs().max()),
            float((back - turned(y)).abs().max()),
        )

    assert max(changed(2, 2, 1)) < 1e-5
    assert min(changed(3, 1, 1)) > 1e-3
    assert min(changed(1, 3, 1)) > 1e-3


@SIDES
@pytest.mark.parametrize("data", ["ds1_photons", None])
def test_every_parameter_is_trained_and_showers_do_not_see_each_other(data: str | None, fine: bool):
    geometry = box(7, 8, 5) if data is None else spec_of(data, None).geometry
    assert geometry is not None
    module = coder(geometry, fine=fine)
    x, context = normal(3, geometry.n_voxels), normal(3, 2, seed=1)
    made = module.decode(module.encode(x, context), context)
    made.square().sum().backward()
    assert all(p.grad is not None and bool(p.grad.any()) for p in module.parameters())
    alone = module.decode(module.encode(x[1:2], context[1:2]), context[1:2])
    torch.testing.assert_close(alone, made[1:2], rtol=1e-4, atol=1e-5)
    assert not torch.allclose(module.encode(x, context.flip(0))[0], module.encode(x, context)[0])


def test_what_is_no_volume_and_levels_without_a_kernel_are_refused():
    with pytest.raises(UserError, match="where its numbers lie"):
        CellCoder(Layout(8, 1), 1, 8, 2, fine=True, known=8, **ONE_LEVEL)
    with pytest.raises(UserError, match="one number for each of 48 cells, not 96"):
        CellCoder(Layout(48, 1, geometry=box(3, 4, 4)), 1, 96, 2, fine=True, known=8, **ONE_LEVEL)
    with pytest.raises(UserError, match="a width, a kernel and a stride"):
        coder(box(3, 4, 4), {**ONE_LEVEL, "widths": (8, 8)})


def test_a_normal_bottleneck_draws_and_adds_its_divergence_a_plain_one_does_neither():
    given = normal(5, 6, 2, 3, 4)
    passed, excess = Plain()(given)
    assert torch.equal(passed, given)
    assert torch.equal(excess, torch.zeros(5))
    mean, log_variance = given.chunk(2, 1)
    expected = kl_divergence(
        NormalDistribution(mean, (0.5 * log_variance).exp()), NormalDistribution(0.0, 1.0)
    )
    passed, excess = Normal(kl=0.5)(given, torch.Generator().manual_seed(0))
    torch.testing.assert_close(excess, expected.flatten(1).sum(1))
    torch.testing.assert_close(
        divergence(mean.flatten(1), log_variance.flatten(1)), expected.flatten(1).sum(1)
    )
    many = [Normal(kl=0.5)(given, torch.Generator().manual_seed(k))[0] for k in range(400)]
    spread = torch.stack(many)
    torch.testing.assert_close(spread.mean(0), mean, rtol=0, atol=1.5)
    torch.testing.assert_close(spread.var(0).log(), log_variance, rtol=0, atol=0.5)
    assert torch.equal(many[0], passed)
