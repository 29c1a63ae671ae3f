"""U-Nets on the cells of a shower: sizes, symmetry, what they are told, and that they can learn."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from simulacra.core import Layout, UserError
from simulacra.nn.cell_grid import CellGrid, pooled, spread
from simulacra.nn.film_mlp import FilmMLP
from simulacra.nn.fourier import Sinusoids
from simulacra.nn.residual_unet import ResidualUNet
from simulacra.nn.score_unet import ScoreUNet

VOLUME = Layout(3 * 8 * 5, 4, (40,) * 3, (8, 5), 0)
LINE = Layout(23, 4, (8, 10, 5))
ALONE = Layout(3 * 8 * 5, 0, (), (8, 5), 0)


def residual(layout: Layout) -> nn.Module:
    torch.manual_seed(0)
    return ResidualUNet(layout, [4, 8, 8], depth=2, attention=1, known=6)


def score(layout: Layout) -> nn.Module:
    torch.manual_seed(0)
    net = ScoreUNet(layout, [4, 8], kernel=3, stride=[3, 2, 2], known=8, frequencies=4, dropout=0.0)
    return net.eval()


def shaken(net: nn.Module) -> nn.Module:
    """Away from its start at zero."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return net


def inputs(layout: Layout, n: int = 3) -> tuple[Tensor, Tensor, Tensor | None]:
    g = torch.Generator().manual_seed(2)
    context = torch.randn(n, layout.context, generator=g) if layout.context else None
    return torch.randn(n, layout.features, generator=g), torch.rand(n, generator=g), context


@pytest.mark.parametrize("make", [residual, score])
@pytest.mark.parametrize("layout", [VOLUME, LINE, ALONE], ids=["volume", "line", "alone"])
def test_any_number_of_cells_comes_back_and_depends_on_all_that_is_told(
    make: Callable[[Layout], nn.Module], layout: Layout
) -> None:
    net = shaken(make(layout))
    x, t, context = inputs(layout)
    made = net(x, t, context)
    assert made.shape == x.shape
    assert not torch.allclose(made, net(x, t + 0.01, context))
    if context is not None:
        for column in range(layout.context):
            other = context.clone()
            other[:, column] += 0.1
            assert not torch.allclose(made, net(x, t, other)), column
    # events do not see each other
    torch.testing.assert_close(
        made[:1], net(x[:1], t[:1], None if context is None else context[:1])
    )


@pytest.mark.parametrize("make", [residual, score])
def test_turning_the_cells_around_the_axis_turns_the_output(
    make: Callable[[Layout], nn.Module],
) -> None:
    net, (x, t, context) = shaken(make(VOLUME)).double(), inputs(VOLUME)
    x, t, context = x.double(), t.double(), context.double()  # type: ignore[union-attr]

    def turned(cells: Tensor, by: int) -> Tensor:
        return cells.view(-1, 3, 8, 5).roll(by, 2).flatten(1)

    made = net(x, t, context)
    torch.testing.assert_close(net(turned(x, 4), t, context), turned(made, 4))
    assert not torch.allclose(net(turned(x, 1), t, context), turned(made, 1))


def test_blocks_that_stick_out_are_means_of_the_cells_that_exist() -> None:
    line = torch.tensor([[[1.0, 3.0, 5.0, 7.0, 9.0]]])
    assert pooled(line, (2,)).tolist() == [[[2.0, 6.0, 9.0]]]
    assert spread(pooled(line, (2,)), (2,), (5,)).tolist() == [[[2.0, 2.0, 6.0, 6.0, 9.0]]]
    volume = torch.randn(2, 3, 5, 4, 3, generator=torch.Generator().manual_seed(0))
    coarse = pooled(volume, (3, 2, 2))
    assert coarse.shape == (2, 3, 2, 2, 2)
    torch.testing.assert_close(coarse[..., 1, 0, 1], volume[..., 3:, :2, 2:].mean((-1, -2, -3)))
    assert spread(coarse, (3, 2, 2), (5, 4, 3)).shape == volume.shape


def test_layers_that_are_alike_are_a_volume_and_others_a_line() -> None:
    volume, line = CellGrid(VOLUME), CellGrid(LINE)
    assert (volume.sizes, volume.periodic, volume.channels) == ((3, 8, 5), 1, 5)
    assert (line.sizes, line.periodic, line.channels) == ((23,), None, 3)
    x = torch.arange(120.0)[None]
    assert float(volume(x)[0, 0, 2, 7, 4]) == 119.0
    assert float(volume(x)[0, 0, 1, 0, 2]) == 42.0


def test_a_line_of_368_cells_is_joined_as_one_of_384() -> None:
    """Three times by four, as published with sixteen cells of padding."""
    line, seen = torch.zeros(1, 1, 368), []
    for _ in range(3):
        line = pooled(line, (4,))
        seen.append(line.shape[-1])
    assert seen == [92, 23, 6] == [math.ceil(n / 4) for n in (368, 92, 23)]
    assert seen[-1] == 384 // 64


def test_axes_without_a_stride_are_refused() -> None:
    with pytest.raises(UserError, match=r"on 3 axes .* has too few"):
        ScoreUNet(VOLUME, [4], kernel=3, stride=[2], known=4, frequencies=2, dropout=0.0)


def film(layout: Layout) -> nn.Module:
    torch.manual_seed(0)
    return FilmMLP(layout, hidden=8, blocks=2, known=4, dropout=0.1)


@pytest.mark.parametrize(
    ("make", "layout"),
    [(residual, VOLUME), (residual, LINE), (film, LINE)],
    ids=["volume", "line", "film"],
)
def test_a_network_starts_at_zero_and_then_learns_with_all_its_weights(
    make: Callable[[Layout], nn.Module], layout: Layout
) -> None:
    net, (x, t, context) = make(layout), inputs(layout)
    assert not bool(net(x, t, context).any())
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    for _ in range(2):
        optimizer.zero_grad()
        (net(x, t, context) - x).square().mean().backward()
        optimizer.step()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert bool(parameter.grad.any()), name


def test_the_time_is_told_by_features_that_change_with_it() -> None:
    sinusoids, t = Sinusoids(64), torch.linspace(0, 1, 513)
    features = sinusoids(t)
    assert features.shape == (513, 64)
    assert float(features[100, 0]) == pytest.approx(math.cos(1000 * 100 / 512), abs=1e-4)
    assert float(features[100, 48]) == pytest.approx(math.sin(10 * 100 / 512), abs=1e-4)
    steps = (features[1:] - features[:-1]).norm(dim=-1)
    assert float(steps.min()) > 1  # also between neighbours of 512 steps
    assert float((Sinusoids(64, 1.0)(t)[1:] - Sinusoids(64, 1.0)(t)[:-1]).norm(dim=-1).max()) < 0.01
    with pytest.raises(ValueError, match="pairs"):
        Sinusoids(3)


@pytest.mark.smoke
@pytest.mark.parametrize("make", [residual, score])
def test_a_network_can_learn_one_batch_by_heart(make: Callable[[Layout], nn.Module]) -> None:
    """The angular velocity at one time, with the same noise in each step, of a bump as high as told."""
    net, (noise, _, context) = make(VOLUME).train(), inputs(VOLUME, 32)
    assert context is not None
    places = [torch.linspace(-1, 1, n) for n in (3, 8, 5)]
    distance = torch.stack(torch.meshgrid(*places, indexing="ij")).square().sum(0).flatten()
    data = 3 * torch.exp(-2 * distance) * (1 + 0.5 * context[:, :1])
    root, t = math.sqrt(0.5), torch.full((32,), 0.5)
    x, goal = root * (data + noise), root * (noise - data)
    optimizer = torch.optim.Adam(net.parameters(), 1e-2)
    losses = []
    for _ in range(100):
        optimizer.zero_grad()
        loss = (net(x, t, context) - goal).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.5 * losses[0], losses[::20]
