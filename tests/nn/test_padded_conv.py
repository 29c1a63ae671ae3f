"""Padded convolutions over one to three axes, against a plain loop over cells."""

from __future__ import annotations

from itertools import product

import pytest
import torch
from torch import Tensor, nn

from simulacra.nn.padded_conv import PaddedConv, PaddedConvUp

CASES = [
    # sizes, kernel, stride, periodic
    ((7,), (3,), (1,), ()),
    ((5,), (4,), (2,), (0,)),
    ((6, 5), (3, 3), (1, 1), (0,)),
    ((5, 9), (2, 5), (1, 2), ()),
    ((6, 9), (3, 3), (3, 3), (0, 1)),
    ((5, 4, 3), (3, 4, 4), (2, 2, 2), (1,)),
    ((3, 6, 5), (3, 3, 3), (1, 1, 1), (1,)),
]


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def pairs(sizes, kernel, stride, periodic):
    """Every cell of the output with every cell of the input that it sees, and the cell of the kernel."""
    for out in product(*(range(-(-n // s)) for n, s in zip(sizes, stride, strict=True))):
        for tap in product(*map(range, kernel)):
            seen = [
                s * i - (k - s + 1) // 2 + j
                for i, j, k, s in zip(out, tap, kernel, stride, strict=True)
            ]
            seen = [c % sizes[a] if a in periodic else c for a, c in enumerate(seen)]
            if all(0 <= c < n for c, n in zip(seen, sizes, strict=True)):
                yield out, tuple(seen), tap


@pytest.mark.parametrize(("sizes", "kernel", "stride", "periodic"), CASES)
def test_the_convolution_is_a_plain_loop_over_cells(sizes, kernel, stride, periodic):
    conv = PaddedConv(2, 3, kernel, stride, periodic).double()
    x = normal(2, 2, *sizes)
    shape = [-(-n // s) for n, s in zip(sizes, stride, strict=True)]
    expected = conv.bias.view(1, -1, *[1] * len(sizes)).expand(2, -1, *shape).clone()
    for out, seen, tap in pairs(sizes, kernel, stride, periodic):
        expected[:, :, *out] += x[:, :, *seen] @ conv.weight[:, :, *tap].T
    torch.testing.assert_close(conv(x), expected)


@pytest.mark.parametrize(
    ("sizes", "kernel", "stride", "periodic"),
    [case for case in CASES if all(case[0][axis] % case[2][axis] == 0 for axis in case[3])],
)
def test_the_way_up_reaches_the_cells_the_way_down_sees_and_restores_the_size(
    sizes, kernel, stride, periodic
):
    down = PaddedConv(2, 3, kernel, stride, periodic).double()
    up = PaddedConvUp(3, 2, kernel, stride, periodic).double()
    small = down(normal(1, 2, *sizes))
    expected = up.bias.view(1, -1, *[1] * len(sizes)).expand(1, -1, *sizes).clone()
    for out, seen, tap in pairs(sizes, kernel, stride, periodic):
        expected[:, :, *seen] += small[:, :, *out] @ up.weight[:, :, *tap]
    torch.testing.assert_close(up(small, sizes), expected)


@pytest.mark.parametrize("sizes", [(45, 16, 9), (5, 4, 3), (7, 5, 1)])
def test_odd_sizes_come_back_exactly(sizes):
    down = PaddedConv(1, 2, (3, 4, 4), (2, 2, 2), periodic=1)
    up = PaddedConvUp(2, 1, (3, 4, 4), (2, 2, 2), periodic=1)
    small = down(torch.zeros(1, 1, *sizes))
    assert small.shape == (1, 2, *(-(-n // 2) for n in sizes))
    assert up(small, sizes).shape == (1, 1, *sizes)
    with pytest.raises(ValueError, match="cells do not become"):
        up(small, [n + 2 for n in sizes])


@pytest.mark.parametrize("periodic", [0, 1, 2])
def test_turning_the_input_along_a_periodic_axis_turns_the_output_and_along_others_does_not(
    periodic: int,
):
    down = PaddedConv(2, 3, (3, 4, 4), (1, 2, 2), periodic).double()
    up = PaddedConvUp(3, 2, (3, 4, 4), (1, 2, 2), periodic).double()
    x = normal(2, 2, 6, 6, 6)
    sizes = x.shape[2:]
    for axis, stride in enumerate(down.stride):
        small = down(x.roll(2 * stride, 2 + axis))
        turned = down(x).roll(2, 2 + axis)
        restored = up(down(x), sizes).roll(2 * stride, 2 + axis)
        assert torch.allclose(small, turned) is (axis == periodic)
        assert torch.allclose(up(turned, sizes), restored) is (axis == periodic)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_nothing_leaks_from_one_end_of_an_open_axis_to_the_other(axis: int):
    others = [a for a in (0, 1, 2) if a != axis]
    down = PaddedConv(1, 1, (3, 3, 3), periodic=others)
    up = PaddedConvUp(1, 1, (3, 3, 3), (1, 1, 1), periodic=others)
    x = torch.zeros(1, 1, 5, 5, 5).transpose(2, 2 + axis)
    x.select(2 + axis, 0)[:] = 1.0
    for y, bias in ((down(x), down.bias), (up(x, (5, 5, 5)), up.bias)):
        far = y.narrow(2 + axis, 2, 3)
        assert torch.equal(far, bias.view(1, 1, 1, 1, 1).expand_as(far))
        assert bool((y.select(2 + axis, 1) != bias).all())


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_without_a_periodic_axis_it_is_torchs_own_layer_of_the_same_seed(axes: int):
    kinds = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
    torch.manual_seed(0)
    conv = PaddedConv(2, 3, (3,) * axes)
    torch.manual_seed(0)
    own = kinds[axes](2, 3, 3, padding=1)
    x = normal(2, 2, *(5, 4, 3)[:axes]).float()
    assert list(conv.state_dict()) == ["weight", "bias"]
    assert torch.equal(conv(x), own(x))
    assert conv(x[..., :1]).shape == (2, 3, *(5, 4, 3)[: axes - 1], 1)


@pytest.mark.parametrize(
    ("kernel", "stride", "periodic"),
    [((3, 3), (1,), None), ((3,) * 4, None, None), ((3, 3), None, 2), ((3, 2), (1, 3), None)],
)
def test_kernels_strides_and_axes_that_do_not_fit_are_refused(kernel, stride, periodic):
    with pytest.raises(ValueError, match=r"not kernel|leaves gaps"):
        PaddedConv(1, 1, kernel, stride, periodic)
