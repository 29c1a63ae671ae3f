"""Heads that set the sum of the cells of a volume."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from simulacra.nn.volumes import FURTHEST, DrawnSum, FreeSum, Volumes, sum_of


def volumes() -> Volumes:
    """The number of a volume is the logarithm of its sum."""

    def rescaled(volume: Tensor, r: Tensor, cond: Tensor) -> Tensor:
        total = volume.flatten(1).sum(1, keepdim=True)
        return volume * (r.exp() / total)[..., None, None, None]

    def log_response(volume: Tensor, cond: Tensor) -> Tensor:
        return volume.flatten(1).sum(1, keepdim=True).log()

    return Volumes((2, 3, 2), 0, rescaled, log_response)


def test_drawn_sums_have_mean_and_width_of_true_ones_at_each_condition() -> None:
    torch.manual_seed(0)
    head = sum_of(volumes(), 1, [16])
    optimizer = torch.optim.Adam(head.parameters(), lr=1e-2)
    shape = torch.rand(512, 1, 2, 3, 2)
    for _ in range(400):
        cond = 2 * torch.rand(512, 2) - 1
        mean, width = 0.5 * cond[:, :1], 0.3 + 0.2 * cond[:, :1]
        true = head(shape, mean + width * torch.randn(512, 1), cond)
        optimizer.zero_grad()
        head.losses(true, cond)["sum"].mean().backward()
        optimizer.step()
    for value in (-0.8, 0.0, 0.8):
        r = head.draw(torch.full((20_000, 2), value)).detach()
        assert float(r.mean()) == pytest.approx(0.5 * value, abs=0.06)
        assert float(r.std()) == pytest.approx(0.3 + 0.2 * value, rel=0.2)


def test_an_empty_true_volume_counts_as_far_off_and_nan_stays_nan() -> None:
    head = sum_of(volumes(), 1, [4])
    assert isinstance(head, DrawnSum)
    cond, empty = torch.zeros(2, 1), torch.zeros(2, 1, 2, 3, 2)
    far = torch.full((2, 1), -FURTHEST)
    filled = head(torch.ones_like(empty), far, cond)
    torch.testing.assert_close(head.losses(empty, cond), head.losses(filled, cond))
    assert bool(head.losses(empty + torch.nan, cond)["sum"].isnan().all())


def test_free_sums_are_left_to_the_generator() -> None:
    head = sum_of(volumes(), 1, None)
    assert isinstance(head, FreeSum)
    cond, volume = torch.zeros(2, 1), torch.rand(2, 1, 2, 3, 2)
    r = head.draw(cond)
    assert r.shape == (2, 0)
    assert torch.equal(head(volume, r, cond), volume)
    assert head.losses(volume, cond) == {}
