"""Showers as tokens, where tokens stand, and transformers of them."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import Tensor, nn

from simulacra.core import Geometry, Layer, Layout, UserError
from simulacra.nn.caloart import CaloArt
from simulacra.nn.fourier import Sinusoids
from simulacra.nn.patches import Patches
from simulacra.nn.positions import LearnedFrequencies, Rotary, SinusoidalPositions
from simulacra.nn.recompute import recompute_blocks
from simulacra.nn.vision_transformer import PatchTransformer, VisionTransformer
from support import spec_of
from toy_showers import PHOTONS, grid_spec

ODD = grid_spec(7, 5, 4).geometry


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def cylinder(layers: int, rows: int, cols: int) -> Geometry:
    edges = tuple(map(float, range(rows + 1))), tuple(map(float, range(cols + 1)))
    return Geometry(
        tuple(Layer(i, ("alpha", "r"), edges, float(i), periodic=0) for i in range(layers))
    )


def layout(geometry: Geometry, context: int = 3) -> Layout:
    return Layout(geometry.n_voxels, context, geometry=geometry)


def vit(geometry: Geometry, patch: tuple[int, int, int], causal: bool = False) -> PatchTransformer:
    torch.manual_seed(0)
    return VisionTransformer(layout(geometry), patch, 24, 2, 2, 2, SinusoidalPositions, causal, 0.0)


def caloart(geometry: Geometry, shared: bool = True, closed: bool = False) -> PatchTransformer:
    torch.manual_seed(0)
    return CaloArt(layout(geometry), (3, 2, 3), 24, 2, 2, shared, closed)


def stirred(net: nn.Module) -> nn.Module:
    """Away from the start at zero, as after a few steps."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    return net


@pytest.mark.parametrize(
    ("geometry", "box", "tokens"),
    [
        (ODD, (3, 2, 3), 3 * 3 * 2),
        (ODD, (7, 5, 4), 1),
        (ODD, (9, 1, 1), 20),  # longer than the axis
        (PHOTONS, (1, 5, 1), 8 + 32 + 38 + 5 + 5),  # as published for data set 1
        (PHOTONS, (1, 3, 2), 4 + 32 + 40 + 3 + 3),
        (grid_spec(4, 1, 5).geometry, (2, 3, 2), 2 * 1 * 3),
    ],
)
def test_any_sizes_come_back_from_tokens_exactly(geometry: Geometry, box, tokens: int) -> None:
    patches = Patches(geometry, box)
    x = normal(3, geometry.n_voxels)
    found = patches.split(x)
    assert found.shape == (3, tokens, box[0] * box[1] * box[2])
    assert patches.count == tokens
    torch.testing.assert_close(patches.join(found), x, rtol=1e-6, atol=1e-6)


def test_a_token_is_a_box_of_neighbouring_cells_with_zeros_beyond_the_grid() -> None:
    patches = Patches(ODD, (3, 2, 3))
    x = normal(1, ODD.n_voxels)
    volume, tokens = x.view(7, 5, 4), patches.split(x)[0].unflatten(-1, (3, 2, 3))
    for token, (depth, row, col) in zip(tokens, patches.places().tolist(), strict=True):
        box = volume[3 * depth : 3 * depth + 3, 2 * row : 2 * row + 2, 3 * col : 3 * col + 3]
        d, r, c = box.shape
        assert torch.equal(token[:d, :r, :c], box)
        assert token.count_nonzero() == box.numel()


def test_layers_without_angles_are_repeated_and_their_copies_averaged() -> None:
    patches = Patches(PHOTONS, (1, 5, 1))
    x = normal(2, PHOTONS.n_voxels)
    tokens = patches.split(x)
    assert torch.equal(tokens[:, :8], x[:, :8, None].expand(-1, -1, 5))
    changed = normal(*tokens.shape, seed=1)
    joined = patches.join(changed)
    torch.testing.assert_close(joined[:, :8], changed[:, :8].mean(-1))
    rows = joined[:, 8:168].view(2, 10, 16)  # 10 angles x 16 radii
    assert torch.equal(rows[:, :5, 3], changed[:, 8 + 3])
    assert torch.equal(rows[:, 5:, 3], changed[:, 8 + 16 + 3])


def test_what_the_network_says_of_padding_reaches_no_cell_and_padding_says_nothing() -> None:
    patches = Patches(ODD, (3, 2, 3))
    padding = patches.split(torch.ones(1, ODD.n_voxels)) == 0
    assert padding.sum() == 3 * 3 * 2 * 18 - ODD.n_voxels
    tokens = normal(2, patches.count, patches.size)
    assert torch.equal(patches.join(tokens), patches.join(tokens.masked_fill(padding, torch.nan)))
    net = stirred(vit(ODD, (8, 5, 4))).eval()  # one token, whose last layer is padding
    x, t, context = normal(2, 140), torch.tensor([0.1, 0.7]), normal(2, 3)
    before = net(x, t, context)
    with torch.no_grad():
        net.embed.weight[:, 140:].fill_(7.0)
    assert torch.equal(net(x, t, context), before)


@pytest.mark.parametrize(
    ("geometry", "box", "said"),
    [
        (PHOTONS, (2, 5, 1), "layers of different shapes cannot share a patch"),
        (ODD, (0, 1, 1), "at least one of each"),
        (ODD, (1, 1), "at least one of each"),
    ],
)
def test_a_patch_that_cannot_be_is_one_sentence(geometry: Geometry, box, said: str) -> None:
    with pytest.raises(UserError, match=said):
        Patches(geometry, box)


def test_numbers_that_are_not_cells_alone_have_no_patches() -> None:
    with pytest.raises(UserError, match="these 141 numbers are other ones too"):
        CaloArt(Layout(141, 3, geometry=ODD), (3, 2, 3), 24, 1, 2, True, False)


@pytest.mark.parametrize(
    ("make", "width"),
    [(SinusoidalPositions, 22), (LearnedFrequencies, 16), (partial(Rotary, closed=True), 4)],
)
def test_a_width_that_three_axes_cannot_share_is_one_sentence(make, width: int) -> None:
    with pytest.raises(UserError, match="three axes"):
        make(Patches(ODD, (3, 2, 3)), width)


def test_no_two_tokens_have_one_position() -> None:
    for geometry, box in ((ODD, (3, 2, 3)), (PHOTONS, (1, 5, 1))):
        patches = Patches(geometry, box)
        for positions in (SinusoidalPositions(patches, 24), LearnedFrequencies(patches, 24)):
            found = positions().detach()
            assert found.shape == (patches.count, 24)
            apart = torch.cdist(found, found) + 10 * torch.eye(patches.count)
            assert apart.min() > 1e-3


def test_rotary_phases_leave_lengths_and_see_distances_alone() -> None:
    patches = Patches(grid_spec(6, 4, 5).geometry, (1, 1, 1))
    turn, places = Rotary(patches, 20, closed=False).double(), patches.places()
    query, key = (normal(20, seed=s).double().expand(1, 1, patches.count, 20) for s in (0, 1))
    torch.testing.assert_close(turn(query).norm(dim=-1), query.norm(dim=-1))
    products = (turn(query) @ turn(key).mT)[0, 0]
    steps = places[:, None] - places[None, :]
    same = (steps == torch.tensor([2, -1, 3])).all(-1)
    assert same.sum() > 3
    assert products[same].std() < 1e-6
    assert products.std() > 0.1


def test_no_feature_of_the_time_is_all_but_constant() -> None:
    features = Sinusoids(256)(torch.linspace(0, 1, 200)[:, None])[:, 0]
    cos, sin = features.split(128, dim=1)
    assert (sin.amax(0) - sin.amin(0)).min() > 0.09
    assert (features[1:] - features[:-1]).norm(dim=1).min() > 0.5  # a step of 0.005 is seen
    assert (cos.square() + sin.square() - 1).abs().max() < 1e-4


NETS = [
    pytest.param(lambda: vit(ODD, (3, 2, 3)), id="vit"),
    pytest.param(lambda: vit(PHOTONS, (1, 5, 1), causal=True), id="vit-layers"),
    pytest.param(lambda: caloart(ODD), id="caloart"),
    pytest.param(lambda: caloart(ODD, shared=False, closed=True), id="caloart-own"),
]


@pytest.mark.parametrize("make", NETS)
def test_networks_start_at_zero_and_two_steps_reach_every_parameter(make) -> None:
    net = make()
    n = sum(net.patches.cells)
    x, t, context = normal(4, n), torch.rand(4), normal(4, 3)
    assert not net(x, t, context).any()
    optimizer = torch.optim.SGD(net.parameters(), 0.5)
    for _ in range(3):
        optimizer.zero_grad()
        (net(x, t, context) - normal(4, n, seed=2)).square().mean().backward()
        optimizer.step()
    assert all(bool(p.grad.any()) for p in net.parameters())
    assert not torch.equal(net(x, t, context), net(x, t, context.flip(0)))
    assert not torch.equal(net(x, t, context), net(x, 1 - t, context))


@pytest.mark.parametrize("geometry", [grid_spec(8, 4, 3).geometry, PHOTONS])
def test_a_causal_network_sees_no_later_layer(geometry: Geometry) -> None:
    box = (2, 2, 3) if geometry.regular else (1, 5, 1)
    x, t, context = normal(1, geometry.n_voxels), torch.tensor([0.3]), normal(1, 3)
    layer = geometry.layer_index // box[0]
    for causal in (True, False):
        net = stirred(vit(geometry, box, causal)).eval()
        changed = x + (layer >= 2) * normal(1, geometry.n_voxels, seed=5)
        moved = (net(changed, t, context) - net(x, t, context)).abs()[0]
        assert moved[layer >= 2].min() > 0
        assert bool(moved[layer < 2].any()) is not causal


@pytest.mark.parametrize("closed", [True, False])
def test_rolling_angles_by_whole_patches_rolls_the_output_of_closed_phases(closed: bool) -> None:
    geometry = cylinder(6, 8, 5)
    net = stirred(caloart(geometry, closed=closed)).eval()
    x, t, context = normal(2, 240), torch.tensor([0.2, 0.8]), normal(2, 3)
    rolled = x.view(2, 6, 8, 5).roll(2, 2).flatten(1)
    found, expected = net(rolled, t, context), net(x, t, context).view(2, 6, 8, 5).roll(2, 2)
    assert bool((found - expected.flatten(1)).abs().max() < 1e-4) is closed


def test_recomputed_blocks_give_the_same_gradients() -> None:
    net = stirred(vit(ODD, (3, 2, 3), causal=True))
    x, t, context = normal(2, 140), torch.tensor([0.2, 0.8]), normal(2, 3)

    def gradients() -> list[Tensor]:
        return list(torch.autograd.grad(net(x, t, context).square().sum(), list(net.parameters())))

    before = gradients()
    assert recompute_blocks(net) == 2
    assert all(torch.equal(a, b) for a, b in zip(before, gradients(), strict=True))


@pytest.mark.parametrize("make", NETS[1:3])
def test_half_precision_stays_near_and_graphs_have_no_break(make) -> None:
    net = stirred(make()).eval()
    n = sum(net.patches.cells)
    x, t, context = normal(2, n), torch.tensor([0.2, 0.8]), normal(2, 3)
    expected = net(x, t, context)
    with torch.autocast("cpu", torch.bfloat16):
        half = net(x, t, context)
    assert half.dtype == torch.bfloat16
    assert (half - expected).norm() < 0.1 * expected.norm()
    compiled = torch.compile(net, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(x, t, context), expected)


LEARNED = partial(VisionTransformer, positions=LearnedFrequencies, causal=False, dropout=0.0)
ART = partial(CaloArt, patch=(3, 4, 3), shared=True, closed=False)


@pytest.mark.parametrize(
    ("net", "data", "context", "count"),
    [
        # calo_dreamer's released configuration for data set 2, given the energy and 45 layer energies
        (
            partial(
                VisionTransformer, patch=(3, 4, 1), width=96, layers=6, heads=6, ratio=4,
                positions=SinusoidalPositions, causal=True, dropout=0.05,
            ),
            "ds2", 46, 1_072_812,
        ),
        # vit4hep's, arXiv:2601.05289, and a size of our own
        (partial(LEARNED, patch=(3, 16, 1), width=480, layers=6, heads=6, ratio=4), "ds2", 46, 26.0e6),
        (partial(LEARNED, patch=(3, 16, 1), width=96, layers=4, heads=6, ratio=4), "ds2", 46, 0.75e6),
        # CaloArt's, arXiv:2605.12011, and a size of our own
        (partial(ART, width=384, layers=6, heads=6), "ds2", 1, 11.9e6),
        (partial(ART, width=96, layers=4, heads=4), "ds2", 1, 0.55e6),
    ],
)  # fmt: skip
def test_networks_have_the_published_numbers_of_parameters(net, data, context, count) -> None:
    geometry = spec_of(data, None).geometry
    with torch.device("meta"):
        made = net(layout(geometry, context))
    assert sum(p.numel() for p in made.parameters()) == pytest.approx(count, rel=0.02)
    if isinstance(count, int):
        assert sum(p.numel() for p in made.parameters()) == count


def test_learned_frequencies_are_80_numbers_in_the_published_size() -> None:
    patches = Patches(spec_of("ds2", None).geometry, (3, 16, 1))
    assert patches.count == 135
    assert LearnedFrequencies(patches, 480).frequencies.numel() == 80
