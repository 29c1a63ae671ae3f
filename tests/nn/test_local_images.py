"""Locally connected layers, statistics of a batch, and latent vectors with conditions."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from simulacra.core import Field, UserError
from simulacra.nn.latent_vectors import Columns, JoinedLatent, ScaledLatent
from simulacra.nn.local_critic import LocalFeatures, same_conv
from simulacra.nn.locally_connected import LocallyConnected2d
from simulacra.nn.minibatch import MinibatchDiscrimination, batch_statistics

ENERGY = Field("incident_energy", "GeV", low=1.0, high=100.0, log=True, role="energy")
KIND = Field("particle", classes=("eplus", "gamma"))
PLACE = Field("position", "mm", dim=2, low=-1.0, high=1.0)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "padding"),
    [
        ((5, 7), (3, 2), (1, 1), (0, 0)),
        ((5, 7), (3, 3), (2, 1), (1, 0)),
        ((3, 9), (2, 4), (1, 3), (1, 2)),
        ((1, 6), (1, 6), (1, 1), (0, 0)),
    ],
)
@pytest.mark.parametrize("bias", [True, False])
def test_a_locally_connected_layer_is_a_loop_over_places(
    size: tuple[int, int],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    bias: bool,
) -> None:
    torch.manual_seed(0)
    layer = LocallyConnected2d(size, 3, 4, kernel, stride, padding, bias).double()
    if layer.bias is not None:
        nn.init.normal_(layer.bias)
    x = torch.randn(6, 3, *size, dtype=torch.float64, requires_grad=True)
    rows, cols = layer.size
    padded = functional.pad(x, (padding[1], padding[1], padding[0], padding[0]))
    wanted = torch.empty(6, 4, rows, cols, dtype=torch.float64)
    for row in range(rows):
        for col in range(cols):
            top, left = row * stride[0], col * stride[1]
            seen = padded[:, :, top : top + kernel[0], left : left + kernel[1]]
            place = row * cols + col
            kernels = layer.weight[place].unflatten(1, seen.shape[1:])
            value = torch.einsum("bikl,oikl->bo", seen, kernels)
            wanted[..., row, col] = value if layer.bias is None else value + layer.bias[place, :, 0]
    made = layer(x)
    torch.testing.assert_close(made, wanted)
    probe = torch.randn(made.shape, generator=generator(), dtype=torch.float64)
    inputs = (x, *layer.parameters())
    for one, two in zip(
        torch.autograd.grad((made * probe).sum(), inputs),
        torch.autograd.grad((wanted * probe).sum(), inputs),
        strict=True,
    ):
        torch.testing.assert_close(one, two)


def test_equal_kernels_at_all_places_are_a_convolution_and_others_are_none() -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(2, 3, 3, stride=2, padding=1)
    layer = LocallyConnected2d((6, 8), 2, 3, (3, 3), (2, 2), (1, 1))
    x = torch.randn(4, 2, 6, 8)
    assert not torch.allclose(layer(x), conv(x), atol=1e-3)
    with torch.no_grad():
        layer.weight.copy_(conv.weight.flatten(1).expand_as(layer.weight))
        layer.bias.copy_(conv.bias[:, None].expand_as(layer.bias))
    torch.testing.assert_close(layer(x), conv(x))


def test_a_kernel_larger_than_the_image_is_refused() -> None:
    with pytest.raises(UserError, match="4 x 4 pixels needs an image as large, got 3 x 6"):
        LocallyConnected2d((3, 6), 1, 1, (4, 4))


@pytest.mark.parametrize("kernel", [2, 3, 5])
def test_a_convolution_of_any_kernel_keeps_rows_and_columns(kernel: int) -> None:
    assert same_conv(1, 2, kernel)(torch.randn(3, 1, 4, 7)).shape == (3, 2, 4, 7)


@pytest.mark.parametrize("size", [(25, 25), (3, 96), (1, 5)])
def test_local_features_of_any_image_have_the_width_that_they_say(size: tuple[int, int]) -> None:
    features = LocalFeatures(size, [4, 2, 2], [2, 3, 2], [[1, 2], [1, 2]], True, 0.2, 2)
    assert features(torch.rand(5, 1, *size)).shape == (5, features.features)
    with pytest.raises(UserError, match="a stride for all but the first"):
        LocalFeatures(size, [4, 2, 2], [2, 3, 2], [[1, 2]], True, 0.2, 2)


def test_minibatch_discrimination_is_a_sum_over_the_batch() -> None:
    torch.manual_seed(0)
    layer = MinibatchDiscrimination(6, 3, 2)
    x = torch.randn(5, 6)
    mapped = layer.map(x).unflatten(1, (3, 2)).detach()
    wanted = torch.zeros(5, 3)
    for i in range(5):
        for j in range(5):
            wanted[i] += torch.exp(-(mapped[i] - mapped[j]).abs().sum(1))
    torch.testing.assert_close(layer(x).detach(), wanted)
    order = torch.randperm(5)
    torch.testing.assert_close(layer(x[order]), layer(x)[order])


def test_minibatch_discrimination_sees_a_collapse() -> None:
    torch.manual_seed(0)
    layer = MinibatchDiscrimination(6, 3, 2)
    torch.testing.assert_close(layer(torch.ones(8, 6)), torch.full((8, 3), 8.0))
    torch.testing.assert_close(layer(1e4 * torch.randn(8, 6)), torch.ones(8, 3))


def test_layers_that_look_at_several_events_are_found() -> None:
    inner = nn.Sequential(MinibatchDiscrimination(2, 1, 1))
    net = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), inner)
    assert batch_statistics(net) == ["BatchNorm1d", "MinibatchDiscrimination"]
    assert batch_statistics(nn.Sequential(nn.LayerNorm(2), nn.Dropout(0.5))) == []


def test_columns_tell_class_energy_and_the_rest_apart() -> None:
    angle = Field("angle", low=0.0, high=1.0, periodic=True)
    found = Columns.of([PLACE, KIND, ENERGY, angle], ENERGY)
    assert found == Columns(width=7, classes=(2, 3), others=(0, 1, 5, 6), energy=True)
    assert Columns.of([]) == Columns(0, (), (), False)


def test_a_scaled_latent_is_noise_times_class_and_energy_beside_the_rest() -> None:
    columns = Columns.of([ENERGY, KIND, PLACE], ENERGY)
    latent = ScaledLatent(columns, 5)
    cond = torch.tensor([[-0.3, 1.0, 0.0, 0.7, -0.7, 0.25], [0.9, 0.0, 1.0, 0.1, 0.2, 1.0]])
    z = torch.randn(2, 5, generator=generator())
    h = latent(2, cond, z, generator())
    embedded = latent.embedding.weight.T
    torch.testing.assert_close(h[0], torch.cat([z[0] * embedded[0] * 0.25, cond[0, 3:5]]))
    torch.testing.assert_close(h[1], torch.cat([z[1] * embedded[1], cond[1, 3:5]]))
    assert latent.width == h.shape[1] == 7


def test_noise_without_conditions_is_noise() -> None:
    for make in (ScaledLatent, JoinedLatent):
        latent = make(Columns.of([]), 4)
        z = torch.randn(3, 4, generator=generator())
        assert torch.equal(latent(3, None, z, generator()), z)


def test_low_energy_leaves_nothing_of_a_scaled_latent_and_all_of_a_joined_one() -> None:
    """Events of one energy differ by the noise alone: its share in their latent vectors."""
    columns = Columns.of([ENERGY], ENERGY)
    low = torch.tensor([[-1.0, 1e-3]]).expand(500, -1)
    like = torch.zeros(())
    scaled = ScaledLatent(columns, 4)(500, low, like, generator())
    joined = JoinedLatent(columns, 4)(500, low, like, generator())
    assert float(scaled.std(0).max()) < 2e-3
    torch.testing.assert_close(joined[:, :4].std(0), torch.ones(4), rtol=0.2, atol=0)
    assert torch.equal(joined[:, 4], low[:, 0])  # the logarithmic energy; not what scales
    assert joined.shape[1] == 5
