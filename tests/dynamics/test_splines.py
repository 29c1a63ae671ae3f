"""Splines against zuko, scipy, autograd and their own inverse."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.interpolate import CubicHermiteSpline
from torch.nn import functional
from zuko.transforms import MonotonicRQSTransform

from simulacra.dynamics import spline_bins
from simulacra.dynamics.cubic import Cubic
from simulacra.dynamics.splines import RationalQuadratic, SoftQuadratic, Spline

SPLINE = RationalQuadratic(bins=6, bound=4.0)


def draw(
    scale: float = 1.5, dtype: torch.dtype = torch.float64
) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = 3 * torch.randn(64, 5, generator=generator, dtype=dtype)
    return x, scale * torch.randn(SPLINE.numbers, 64, 5, generator=generator, dtype=dtype)


def reference(spline: RationalQuadratic, free: torch.Tensor) -> MonotonicRQSTransform:
    """zuko's spline with our knots."""
    k = spline.bins
    free = free.permute(1, 2, 0)
    other = MonotonicRQSTransform(
        free[..., :k], free[..., k : 2 * k], free[..., 2 * k :], bound=spline.bound
    )

    def knots(raw: torch.Tensor) -> torch.Tensor:
        shares = spline.min_bin + (1 - k * spline.min_bin) * torch.softmax(raw, -1)
        return spline.bound * (2 * functional.pad(shares.cumsum(-1), (1, 0)) - 1)

    other.horizontal, other.vertical = knots(free[..., :k]), knots(free[..., k : 2 * k])
    slopes = torch.exp(spline.limit * torch.tanh(free[..., 2 * k :] / spline.limit))
    other.derivatives = functional.pad(slopes, (1, 1), value=1.0)
    return other


def test_values_and_slopes_agree_with_zuko_in_both_directions():
    x, free = draw()
    other = reference(SPLINE, free)
    y, log_slope = SPLINE(x, free)
    expected, log_expected = other.call_and_ladj(x)
    torch.testing.assert_close(y, expected)
    torch.testing.assert_close(log_slope, log_expected)
    back, log_back = SPLINE.inverse(y, free)
    torch.testing.assert_close(back, x)  # zuko's own inverse is off by up to 8e-5 here
    torch.testing.assert_close(log_back, -log_slope)


def test_gradients_agree_with_zuko():
    x, free = draw()
    ours, theirs = free.clone().requires_grad_(), free.clone().requires_grad_()
    a, b = x.clone().requires_grad_(), x.clone().requires_grad_()
    weight = torch.linspace(0.5, 2, 5, dtype=torch.float64)
    y, log_slope = SPLINE(a, ours)
    (weight * (y + 0.3 * log_slope)).sum().backward()
    y, log_slope = reference(SPLINE, theirs).call_and_ladj(b)
    (weight * (y + 0.3 * log_slope)).sum().backward()
    torch.testing.assert_close(ours.grad, theirs.grad)
    torch.testing.assert_close(a.grad, b.grad)


@pytest.mark.parametrize("inverse", [False, True])
def test_gradients_agree_with_finite_differences(inverse: bool):
    x, free = draw()
    x, free = x[:4, :2].clone().requires_grad_(), free[:, :4, :2].clone().requires_grad_()
    assert torch.autograd.gradcheck(SPLINE.inverse if inverse else SPLINE.__call__, (x, free))


def test_few_elements_are_mapped_as_many_are(monkeypatch: pytest.MonkeyPatch):
    x, free = draw()
    found = []
    for few in (0, x.numel()):
        monkeypatch.setattr(spline_bins, "FEW", few)
        a, b = x.clone().requires_grad_(), free.clone().requires_grad_()
        y, log_slope = SPLINE(a, b)
        (y * x + 0.3 * log_slope).sum().backward()
        found.append((y, log_slope, a.grad, b.grad))
    torch.testing.assert_close(*found)


def test_undoing_is_the_inverse_without_its_slopes():
    x, free = draw(dtype=torch.float32)
    for gradients in (True, False):
        with torch.set_grad_enabled(gradients):
            torch.testing.assert_close(SPLINE.undo(x, free), SPLINE.inverse(x, free)[0])


def test_soft_splines_are_those_of_zuko_with_its_free_numbers():
    spline = SoftQuadratic(6, 4.0)
    x, free = draw(scale=4.0)
    leaf = free.clone().requires_grad_()
    numbers = leaf.permute(1, 2, 0).split([6, 6, 5], -1)
    y, log_slope = spline(x, leaf)
    expected, log_expected = MonotonicRQSTransform(*numbers, bound=4.0).call_and_ladj(x)
    torch.testing.assert_close(y, expected)
    torch.testing.assert_close(log_slope, log_expected)
    found, wanted = (torch.autograd.grad(v.sum(), leaf)[0] for v in (log_slope, log_expected))
    torch.testing.assert_close(found, wanted)
    torch.testing.assert_close(spline.undo(y.detach(), free), x)


def test_log_slope_is_the_log_of_the_derivative():
    x, free = draw()
    x.requires_grad_()
    y, log_slope = SPLINE(x, free)
    (slope,) = torch.autograd.grad(y.sum(), x)
    torch.testing.assert_close(log_slope, slope.log())


def test_zeros_give_the_identity():
    x, free = draw(scale=0.0)
    y, log_slope = SPLINE(x, free)
    torch.testing.assert_close(y, x)
    torch.testing.assert_close(log_slope, torch.zeros_like(x))


def test_values_outside_the_box_pass_unchanged():
    _, free = draw()
    x = torch.full((64, 5), 4.0, dtype=torch.float64) * torch.tensor(
        [1, -1, 1.5, -30, 1e9], dtype=torch.float64
    )
    for y, log_slope in (SPLINE(x, free), SPLINE.inverse(x, free)):
        assert torch.equal(y, x)
        assert torch.equal(log_slope, torch.zeros_like(x))


def test_round_trip_in_single_precision():
    x, free = draw(dtype=torch.float32, scale=0.5)
    y, log_slope = SPLINE(x, free)
    back, log_back = SPLINE.inverse(y, free)
    assert (back - x).abs().max() < 2e-4
    assert (log_back + log_slope).abs().max() < 2e-3


@pytest.mark.parametrize("scale", [1e2, 1e6, 1e30])
def test_any_finite_input_gives_finite_values_and_gradients(scale: float):
    x, free = draw(dtype=torch.float32, scale=scale)
    x[:20] = torch.linspace(-4, 4, 20)[:, None]  # knots of equal bins and the box's edges
    for direction in (SPLINE.__call__, SPLINE.inverse):
        steer, value = free.clone().requires_grad_(), x.clone().requires_grad_()
        y, log_slope = direction(value, steer)
        (y.sum() + log_slope.sum()).backward()
        for tensor in (y, log_slope, steer.grad, value.grad):
            assert torch.isfinite(tensor).all()
        assert (y.detach()[x.abs() < 4].abs() <= 4 + 1e-5).all()


def test_impossible_settings_are_refused():
    with pytest.raises(ValueError, match="bins=1,"):
        RationalQuadratic(bins=1)
    with pytest.raises(ValueError, match=r"min_bin=0\.5"):
        RationalQuadratic(bins=4, min_bin=0.5)


CUBIC = Cubic(bins=6, bound=4.0)


def draw_cubic(
    dtype: torch.dtype = torch.float64, scale: float = 1.0
) -> tuple[torch.Tensor, torch.Tensor]:
    x, free = draw(scale, dtype)
    return x, free[: CUBIC.numbers]


def test_cubic_pieces_agree_with_scipy_between_the_same_knots_and_slopes():
    x, free = draw_cubic()
    y, _ = CUBIC(x, free)
    for row in range(5):
        shares = CUBIC.min_bin + (1 - 6 * CUBIC.min_bin) * torch.softmax(
            free[:12, row, 0].view(2, 6), 1
        )
        knots = 8 * functional.pad(shares.cumsum(1), (1, 0)).numpy() - 4
        inner = CUBIC(
            torch.tensor(knots[0, 1:-1, None]), free[:, row : row + 1, :1].expand(-1, 5, 1)
        )[1].exp()
        edge = (
            3
            * torch.sigmoid(free[12:, row, 0] - np.log(2)).numpy()
            * (np.diff(knots[1]) / np.diff(knots[0]))[[0, -1]]
        )
        slopes = np.concatenate([edge[:1], inner[:, 0].numpy(), edge[1:]])
        expected = (
            CubicHermiteSpline(*knots, slopes)(x[row, 0].clamp(-4, 4))
            if abs(x[row, 0]) < 4
            else x[row, 0]
        )
        assert y[row, 0].item() == pytest.approx(float(expected), abs=1e-9)


def test_cubic_slopes_inverse_identity_and_tails():
    x, free = draw_cubic()
    x.requires_grad_()
    y, log_slope = CUBIC(x, free)
    (slope,) = torch.autograd.grad(y.sum(), x)
    torch.testing.assert_close(log_slope, slope.log())
    back, log_back = CUBIC.inverse(y, free)
    torch.testing.assert_close(back, x, atol=1e-9, rtol=0)
    torch.testing.assert_close(log_back, -log_slope, atol=1e-6, rtol=0)
    same, flat = CUBIC(x, torch.zeros_like(free))
    torch.testing.assert_close(same, x)
    torch.testing.assert_close(flat, torch.zeros_like(x), atol=1e-6, rtol=0)
    far = 100 + x.detach().abs()
    assert torch.equal(CUBIC(far, free)[0], far)


@pytest.mark.parametrize("scale", [1e2, 1e6])
def test_cubic_never_gives_anything_but_finite_numbers(scale: float):
    x, free = draw_cubic(torch.float32, scale)
    x[:20] = torch.linspace(-4, 4, 20)[:, None]
    for direction in (CUBIC.__call__, CUBIC.inverse):
        steer = free.clone().requires_grad_()
        y, log_slope = direction(x, steer)
        (y.sum() + log_slope.sum()).backward()
        assert all(torch.isfinite(tensor).all() for tensor in (y, log_slope, steer.grad))


@pytest.mark.parametrize(("spline", "numbers"), [(RationalQuadratic(10), 29), (Cubic(10), 22)])
def test_free_numbers_are_those_of_the_papers(spline: Spline, numbers: int):
    assert spline.numbers == numbers
