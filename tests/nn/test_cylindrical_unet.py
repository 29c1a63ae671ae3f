"""The U-Net of showers: sizes as published, what it sees, and what rolls with its input."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from simulacra.core import Geometry, Layout, UserError, regular_grid
from simulacra.nn.cylindrical_unet import CylindricalUNet
from simulacra.nn.timed_unet import LinearAttention
from support import spec_of

EDGES = [[float(k) for k in range(n + 1)] for n in (8, 5)]
CYLINDER = regular_grid(3, (EDGES[0], EDGES[1]), ("alpha", "r"), periodic=0)


def net(geometry: Geometry, widths=(8, 8, 16), context: int = 2, angle: bool = False):
    torch.manual_seed(0)
    layout = Layout(geometry.n_voxels, context, geometry=geometry)
    return CylindricalUNet(layout, widths, known=8, frequencies=2, angle=angle, copied=False)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("data", "widths", "thousands"),
    [  # arXiv:2308.03876, appendix, and its public code
        ("ds1_photons", (16, 16, 16, 32), 518),
        ("ds1_pions", (16, 16, 16, 32), 518),
        ("ds2", (16, 16, 16, 32), 518),
        ("ds3", (32, 32, 32, 32), 1220),
    ],
)
def test_published_widths_have_the_published_numbers_of_parameters(data, widths, thousands):
    geometry = spec_of(data, None).geometry
    layout = Layout(geometry.n_voxels, 1, geometry=geometry)
    with torch.device("meta"):
        made = CylindricalUNet(layout, widths, 64, 16, angle="ds1" in data, copied=False)
    assert sum(p.numel() for p in made.parameters()) == pytest.approx(1e3 * thousands, rel=0.02)


@pytest.mark.parametrize("data", ["ds1_photons", "calogan", None])
def test_every_parameter_is_trained_and_showers_do_not_see_each_other(data: str | None):
    geometry = CYLINDER if data is None else spec_of(data, None).geometry
    module = net(geometry)
    x, t, context = normal(3, geometry.n_voxels), torch.tensor([0.1, 0.5, 0.9]), normal(3, 2)
    made = module(x, t, context)
    assert made.shape == x.shape
    made.square().sum().backward()
    assert all(bool(p.grad.any()) for p in module.parameters())
    alone = module(x[1:2], t[1:2], context[1:2])
    torch.testing.assert_close(alone, made[1:2], rtol=1e-4, atol=1e-4)
    for other in ((x, t.flip(0), context), (x, t, context.flip(0))):
        assert not torch.allclose(module(*other)[0], made[0], atol=1e-4)


def test_rolling_the_angle_rolls_the_output_unless_a_map_tells_it():
    x, t, context = normal(2, CYLINDER.n_voxels), torch.tensor([0.2, 0.6]), normal(2, 2)

    @torch.no_grad()
    def rolled(module: CylindricalUNet, axis: int, cells: int) -> float:
        turned = x.unflatten(1, (3, 8, 5)).roll(cells, axis).flatten(1)
        back = module(turned, t, context).unflatten(1, (3, 8, 5)).roll(-cells, axis)
        return float((back.flatten(1) - module(x, t, context)).abs().max())

    module = net(CYLINDER)
    assert rolled(module, 2, 2) < 1e-4
    assert rolled(module, 1, 1) > 1e-2
    assert rolled(module, 3, 2) > 1e-2
    assert rolled(net(CYLINDER, angle=True), 2, 2) > 1e-2


@pytest.mark.parametrize("sizes", [(5, 8, 9), (3, 5, 7), (2, 3, 1)])
def test_odd_sizes_come_back_on_a_box(sizes: tuple[int, int, int]):
    edges = [[float(k) for k in range(n + 1)] for n in sizes[1:]]
    geometry = regular_grid(sizes[0], (edges[0], edges[1]))
    module = net(geometry, widths=(8, 8, 8, 8))
    x = normal(2, geometry.n_voxels)
    assert module(x, torch.rand(2), normal(2, 2)).shape == x.shape
    assert module.maps.shape == (3, *sizes)


def test_without_a_context_the_time_alone_is_told():
    module = net(CYLINDER, context=0)
    x = normal(2, CYLINDER.n_voxels)
    made = [module(x, torch.full((2,), t)) for t in (0.2, 0.7)]
    assert not torch.allclose(made[0], made[1], atol=1e-4)


def test_linear_attention_is_the_plain_sum_over_pairs_of_cells():
    torch.manual_seed(0)
    layer = LinearAttention(3, width=4).double()
    x = normal(2, 3, 2, 2, 3).double()
    cells = layer.norm(x).flatten(2)  # (B, C, V)
    query, key, value = layer.take(cells.transpose(1, 2)).chunk(3, -1)
    found = torch.zeros(2, 12, 4, dtype=torch.float64)
    for i in range(12):
        for j in range(12):
            close = (query[:, i].softmax(-1) / 2 * key.softmax(1)[:, j]).sum(-1, keepdim=True)
            found[:, i] += close * value[:, j]
    expected = layer.last_norm(layer.give(found).transpose(1, 2).reshape(x.shape)) + x
    torch.testing.assert_close(layer(x), expected)


def test_numbers_without_a_geometry_and_widths_that_have_no_groups_are_refused():
    with pytest.raises(UserError, match="know where their numbers lie"):
        CylindricalUNet(Layout(8, 1), (8, 8), 8, 2, False, False)
    for widths in ((8,), (8, 12), (8, 0)):
        with pytest.raises(UserError, match="multiples of 8"):
            net(CYLINDER, widths=widths)
