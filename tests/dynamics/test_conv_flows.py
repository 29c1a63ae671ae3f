"""Convolutional flows: exact inverses and determinants, the periodic axis, published sizes."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import nn
from torch.nn import functional

from simulacra.dynamics.conv_flows import (
    ChannelNorm,
    ConvCoupling,
    InvertibleConv,
    Squeeze,
    conv_flow,
)
from simulacra.dynamics.flows import Flow
from simulacra.dynamics.splines import RationalQuadratic
from simulacra.nn.unet import PointConv, UNet, joined


def net(periodic: int | None = None, strides=(), head: int = 3, hidden: int = 4):
    return partial(UNet, hidden=hidden, strides=list(strides), periodic=periodic, head=head)


def moved(flow: Flow, scale: float = 0.1, seed: int = 0) -> Flow:
    """Evaluation mode, away from the identity, with statistics of the batch norms that are not 0 and 1."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for tensor in [*flow.parameters(), *flow.buffers()]:
            if tensor.is_floating_point():
                tensor.add_(scale * torch.rand(tensor.shape, generator=generator))
                tensor.sub_(0.4 * scale)
    return flow.eval()


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("size", "squeeze", "strides", "periodic", "head"),
    [
        ((8, 4), (2, 2), [(2, 1), (2, 2)], 0, 3),
        ((4, 6), (2, 3), [], 1, 1),
        ((2, 2), (2, 1), [(1, 2)], None, 3),
    ],
)
def test_log_determinants_equal_those_of_autograd(size, squeeze, strides, periodic, head):
    flow = conv_flow(
        size, 2, 3, RationalQuadratic(4, 3.0), net(periodic, strides, head), squeeze=squeeze,
        cells=periodic is None,
    )  # fmt: skip
    flow = moved(flow).double()
    x = normal(1, size[0] * size[1]).double()
    context = normal(1, 2, size[0] // squeeze[0], size[1] // squeeze[1], seed=1).double()
    z, log_det = flow(x, context)
    jacobian = torch.autograd.functional.jacobian(lambda v: flow(v[None], context)[0][0], x[0])
    torch.testing.assert_close(torch.linalg.slogdet(jacobian)[1], log_det[0], rtol=1e-9, atol=1e-9)
    back, inverse_log_det = flow.inverse(z, context)
    torch.testing.assert_close(back, x, rtol=0, atol=1e-9)
    torch.testing.assert_close(inverse_log_det, -log_det, rtol=0, atol=1e-9)


def test_the_round_trip_at_the_published_depth_is_exact_in_single_precision():
    for seed in range(3):
        unet = net(0, [(5, 3)], hidden=8)
        flow = moved(conv_flow((10, 6), 2, 8, RationalQuadratic(10, 15.0), unet), 0.1, seed)
        values, context = 2 * normal(16, 60, seed=seed), normal(16, 2, 5, 3, seed=seed)
        for there, back in ((flow.inverse, flow), (flow, flow.inverse)):
            with torch.no_grad():
                image, log_det = there(values, context)
                again, inverse_log_det = back(image, context)
            assert float(log_det.std()) > 0.5
            assert float((again - values).abs().max()) < 1e-4
            assert float((log_det + inverse_log_det).abs().max()) < 1e-3


def test_no_finite_input_breaks_a_flow_in_either_direction():
    flow = moved(conv_flow((4, 4), 1, 4, RationalQuadratic(6, 15.0), net(0, [(2, 2)])), 0.3)
    x = torch.tensor([0.0, 1e-30, -15.0, 15.0, 1e6, -1e6, 1e20, -1e20])[:, None].repeat(1, 16)
    x = torch.cat([x, 1e6 * normal(4, 16)])
    context = normal(len(x), 1, 2, 2)
    with torch.no_grad():
        for values, log_det in (flow(x, context), flow.inverse(x, context)):
            assert bool(torch.isfinite(values).all())
            assert bool(torch.isfinite(log_det).all())


def test_the_density_of_two_cells_integrates_to_one():
    flow = moved(conv_flow((1, 2), 1, 3, RationalQuadratic(5, 4.0), net(), squeeze=(1, 2)), 0.3)
    axis = torch.linspace(-9, 9, 361)
    points = torch.cartesian_prod(axis, axis)
    with torch.no_grad():
        density = flow.log_prob(points, torch.full((len(points), 1, 1, 1), 0.3)).exp()
    total = float(density.double().sum()) * float(axis[1] - axis[0]) ** 2
    assert total == pytest.approx(1, abs=1e-3)


def test_samples_invert_to_their_noise() -> None:
    flow = moved(conv_flow((4, 6), 2, 3, RationalQuadratic(4, 3.0), net(), cells=True), 0.2)
    context = normal(5, 2, 2, 3)
    with torch.no_grad():
        x = flow.sample(5, context, torch.Generator().manual_seed(3))
        z = torch.randn(x.shape, generator=torch.Generator().manual_seed(3), dtype=x.dtype)
        torch.testing.assert_close(flow(x, context)[0], z)


@pytest.mark.parametrize("periodic", [0, 1])
def test_rolling_the_input_along_the_periodic_axis_rolls_the_output(periodic: int):
    flow = moved(conv_flow((6, 8), 2, 3, RationalQuadratic(6, 5.0), net(periodic)), 0.2)
    coarse = conv_flow((6, 8), 2, 0, RationalQuadratic(6, 5.0), net())  # squeeze alone
    x, context = normal(3, 1, 6, 8), normal(3, 2, 3, 4)
    axis = 2 + periodic

    def through(x: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        return coarse.inverse(flow(x.flatten(1), context)[0])[0].unflatten(1, (1, 6, 8))

    with torch.no_grad():
        z = through(x, context)
        turned = through(x.roll(4, axis), context.roll(2, axis))
        other = through(x.roll(4, 5 - axis), context.roll(2, 5 - axis))
    assert float((turned - z.roll(4, axis)).abs().max()) < 1e-4
    assert float((other - z.roll(4, 5 - axis)).abs().max()) > 1e-2  # the open axis has ends


def test_a_point_convolution_is_one_of_kernel_one():
    conv = PointConv(3, 5)
    x = normal(2, 3, 4, 6)
    expected = functional.conv2d(x, conv.weight[:, :, None, None], conv.bias[:, 0])
    torch.testing.assert_close(conv(x), expected)


def test_squeezing_makes_a_block_of_cells_the_channels_of_one():
    squeeze = Squeeze(2, 3)
    x = torch.arange(2 * 4 * 6).view(1, 2, 4, 6).float()
    z, _ = squeeze(x)
    assert z.shape == (1, 12, 2, 2)
    assert torch.equal(z[0, :, 1, 0], x[0, :, 2:4, 0:3].flatten())
    assert torch.equal(squeeze.inverse(z)[0], x)


def test_the_channels_have_mean_zero_and_width_one_after_initialisation():
    norm = ChannelNorm(3)
    x = 5 + torch.tensor([1.0, 2.0, 0.1])[:, None, None] * normal(64, 3, 4, 4)
    norm.initialise(x)
    z, log_det = norm(x)
    rows = z.movedim(1, -1).flatten(0, 2)
    torch.testing.assert_close(rows.mean(0), torch.zeros(3), atol=1e-4, rtol=0)
    torch.testing.assert_close(rows.std(0, correction=0), torch.ones(3), atol=1e-4, rtol=0)
    torch.testing.assert_close(log_det, 16 * norm.log_scale.sum())


@pytest.mark.parametrize("cells", [True, False])
def test_a_flow_starts_with_the_mean_and_width_of_each_cell_where_cells_are_normalised(
    cells: bool,
) -> None:
    width = 0.1 + torch.rand(16, generator=torch.Generator().manual_seed(1))
    x = normal(500, 16) * width + 5 * normal(16, seed=2)
    flow = conv_flow((4, 4), 0, 2, RationalQuadratic(4, 3.0), net(), cells=cells)
    flow.fit([(x, None, None)])
    z = flow(x)[0].detach()
    off = z.mean(0).abs().max(), (z.std(0, correction=0) - 1).abs().max()
    assert bool(max(off) < 1e-3) is cells


def test_a_mixing_of_channels_is_undone_with_the_weights_of_the_last_training_step():
    conv = InvertibleConv(torch.tensor([2, 0, 3, 1]))
    x = normal(5, 4, 3, 2)
    assert torch.equal(conv(x)[0], x[:, [2, 0, 3, 1]])
    optimizer = torch.optim.Adam(conv.parameters(), lr=0.2)
    for _ in range(3):
        conv.inverse(conv(x)[0])  # nothing of this may be remembered
        optimizer.zero_grad()
        z, log_det = conv(x)
        ((z - x.roll(1, 1)).square().mean() - 0.01 * log_det).backward()
        optimizer.step()
        with torch.no_grad():
            z, log_det = conv(x)
            back, inverse_log_det = conv.inverse(z)
        torch.testing.assert_close(back, x, rtol=0, atol=1e-5)
        assert float(log_det + inverse_log_det) == pytest.approx(0, abs=1e-6)
    matrix = conv(torch.eye(4).view(4, 4, 1, 1))[0].view(4, 4).detach()
    assert float(torch.linalg.slogdet(matrix)[1]) == pytest.approx(float(log_det) / 6, abs=1e-5)
    assert float((matrix - torch.eye(4)[[2, 0, 3, 1]].T).abs().max()) > 0.1


def test_in_training_the_batch_norms_see_the_batch_and_only_evaluation_is_an_exact_inverse():
    flow = moved(conv_flow((4, 4), 0, 3, RationalQuadratic(6, 5.0), net()), 0.2).train()
    x = normal(8, 16)
    with torch.no_grad():
        for seed in range(3):
            flow(x + 0.1 * seed)
        alone, together = flow.eval()(x[:1])[0], flow(x)[0][:1]
        torch.testing.assert_close(alone, together, rtol=0, atol=1e-5)
        assert float((flow.inverse(flow(x)[0])[0] - x).abs().max()) < 1e-4
        flow.train()
        assert float((flow(x[:4])[0] - flow(x)[0][:4]).abs().max()) > 1e-3


def test_a_new_coupling_is_the_identity_and_its_network_gets_a_gradient():
    coupling = ConvCoupling(5, 2, RationalQuadratic(4, 3.0), net())
    x = normal(3, 5, 4, 4)
    z, log_det = coupling(x, normal(3, 2, 4, 4))
    torch.testing.assert_close(z, x)
    torch.testing.assert_close(log_det, torch.zeros(3), atol=1e-5, rtol=0)
    (z.square().sum() - log_det.sum()).backward()
    assert isinstance(coupling.net, UNet)
    assert float(coupling.net.head.weight.grad.abs().max()) > 0


@pytest.mark.parametrize("squeeze", [(2, 2), (3, 3), (1, 3)])
def test_two_couplings_move_every_cell_of_a_block(squeeze: tuple[int, int]):
    flow = conv_flow((6, 6), 1, 2, RationalQuadratic(4, 3.0), net(), squeeze=squeeze).eval()
    x, context = normal(50, 36), normal(50, 1, 6 // squeeze[0], 6 // squeeze[1], seed=1)
    before, _ = flow(x, context)
    with torch.no_grad():
        for step in flow.steps:
            if isinstance(step, ConvCoupling):
                step.net.head.bias.add_(0.5 * torch.rand(step.net.head.bias.shape))  # type: ignore[union-attr]
    after, _ = flow(x, context)
    assert bool(((after - before).abs().amax(0) > 1e-3).all())


def test_a_flow_needs_sizes_that_fold_and_two_channels():
    with pytest.raises(ValueError, match="do not fold"):
        conv_flow((5, 4), 0, 1, RationalQuadratic(4, 3.0), net())
    with pytest.raises(ValueError, match="two channels"):
        conv_flow((5, 4), 0, 1, RationalQuadratic(4, 3.0), net(), squeeze=(1, 1))


def test_strides_join_all_cells_as_published():
    assert joined((15, 15), 2) == [(3, 3), (5, 5)]
    assert joined((25, 9), 2) == [(5, 3), (5, 3)]
    assert joined((8, 7), 2) == [(2, 1), (4, 7)]
    assert joined((12, 1), 1) == [(12, 1)]
    assert joined((4, 4), 0) == []


def test_the_published_u_net_has_the_reference_number_of_parameters():
    """Kernels 3 x 5, twice, 32 channels, 2 + 8 maps in and 2 (3 * 10 - 1) out: summed layer by layer."""
    blocks = (12288, 74112, 35290, 110976)  # encoders, decoders
    strided = (30784, 123008, 30752, 122944)
    unet = UNet(10, 58, 32, [(5, 3), (5, 3)], periodic=0)
    assert sum(p.numel() for p in unet.parameters()) == sum(blocks) + sum(strided)
    assert unet(normal(2, 10, 25, 9)).shape == (2, 58, 25, 9)
    assert all(isinstance(down, nn.Conv2d) for down in unet.downs)
