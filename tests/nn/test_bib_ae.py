"""Networks of BIB-AEs: any grid comes back, what critics see of a batch, post-processors without norms."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from simulacra.core import UserError
from simulacra.nn.bib_ae import (
    BatchPairCritic,
    BatchStatistics,
    CroppedVolumeCoder,
    PostProcessor,
    VolumeCoder,
)

SIZES = (8, 6, 5)


def critic(cond: int = 2) -> BatchPairCritic:
    torch.manual_seed(0)
    return BatchPairCritic(SIZES, cond, 2, 8, (6,), (8,), 1.0, 0.1)


@pytest.mark.parametrize("coder", [VolumeCoder, CroppedVolumeCoder])
@pytest.mark.parametrize("sizes", [(12, 9, 10), (11, 8, 13), (30, 10, 10)])
def test_any_grid_comes_back_from_its_vector(coder: type[VolumeCoder], sizes: tuple[int, ...]):
    torch.manual_seed(0)
    net, cond = coder(sizes, 2, 3, 4, 2, (16,)), torch.rand(5, 2)
    mean, log_variance = net.encode(torch.rand(5, 1, *sizes), cond)
    assert mean.shape == log_variance.shape == (5, 3)
    made = net.decode(net.filled(mean, torch.Generator().manual_seed(0)), cond)
    assert made.shape == (5, 1, *sizes)
    assert float(made.detach().min()) >= 0


@pytest.mark.parametrize("size", [9, 10, 11, 12])
def test_the_decoder_is_cropped_by_its_convolutions_so_that_no_cell_is_made_for_nothing(size: int):
    net = CroppedVolumeCoder((size,) * 3, 1, 3, 4, 1, (8,))
    coarse = net.unflat(net.entry(torch.rand(1, 8)))
    assert net.up(coarse).shape[2:] == (size,) * 3


def test_statistics_of_a_batch_are_those_of_a_loop_over_pairs() -> None:
    torch.manual_seed(0)
    net, q = BatchStatistics((6,), 3), torch.rand(5, 2)
    found = net(q, q)
    for i in range(5):
        values = torch.stack([net.net((q[i] - q[j])[:, None]) for j in range(5)])  # (5, 2, 3)
        wanted = torch.cat([values.mean(0), values.std(0, correction=0)], dim=-1).flatten()
        torch.testing.assert_close(found[i], wanted, atol=1e-3, rtol=1e-3)


def test_a_critic_of_batches_sees_the_other_events_and_each_condition() -> None:
    net, cond = critic(), torch.rand(6, 2)
    pairs = 5 * torch.rand(6, 2, *SIZES)
    whole = net(pairs, cond)
    others = pairs.clone()
    others[3:] *= 3
    assert not torch.allclose(net(others, cond)[:3], whole[:3])
    torch.testing.assert_close(net(pairs, cond, None, pairs), whole)
    torch.testing.assert_close(net(pairs[:2], cond[:2], None, pairs), whole[:2])
    for column in (0, 1):
        changed = cond.clone()
        changed[:, column] += 0.5
        assert not torch.allclose(net(pairs, changed), whole)
    order = torch.randperm(6)
    torch.testing.assert_close(net(pairs[order], cond[order]), whole[order])


def test_true_and_generated_showers_in_one_batch_would_be_scored_otherwise() -> None:
    """So each has a batch of its own."""
    net, cond = critic(), torch.rand(4, 2)
    real, fake = 5 * torch.rand(4, 2, *SIZES), 2 * torch.rand(4, 2, *SIZES)
    mixed = net(torch.cat([real, fake]), torch.cat([cond, cond]))
    assert not torch.allclose(mixed[:4], net(real, cond))


def test_slopes_beside_held_events_are_those_of_single_events() -> None:
    net, cond = critic(), torch.rand(4, 2)
    pairs = (5 * torch.rand(4, 2, *SIZES)).requires_grad_(True)
    (slope,) = torch.autograd.grad(net(pairs, cond, None, pairs.detach()).sum(), pairs)
    for i in range(4):
        alone = net(pairs[i : i + 1], cond[i : i + 1], None, pairs.detach())
        (own,) = torch.autograd.grad(alone.sum(), pairs)
        torch.testing.assert_close(own[i], slope[i])


def test_empty_showers_have_finite_scores_and_slopes() -> None:
    net = critic()
    pairs = torch.zeros(3, 2, *SIZES, requires_grad=True)
    score = net(pairs, torch.zeros(3, 2))
    (slope,) = torch.autograd.grad(score.sum(), pairs)
    assert bool(score.isfinite().all())
    assert bool(slope.isfinite().all())


def test_features_that_do_not_divide_are_refused() -> None:
    with pytest.raises(UserError, match="divisible by 4, got 6"):
        BatchPairCritic(SIZES, 1, 2, 6, (6,), (8,), 1.0, 0.1)


def test_without_norms_a_cell_knows_the_sum_alone_and_what_is_told() -> None:
    torch.manual_seed(0)
    net, told = PostProcessor(SIZES, 3, 8, 8, 6, normed=False), torch.rand(2, 3)
    nn.init.ones_(net.rest[-1].weight)
    assert not any(isinstance(part, nn.LayerNorm) for part in net.modules())
    shower = 100 * torch.rand(2, 1, *SIZES)
    whole = net(shower, told)
    torch.testing.assert_close(net(shower.flip(2), told), whole.flip(2))
    for column in range(3):
        changed = told.clone()
        changed[:, column] += 1
        assert not torch.allclose(net(shower, changed) - shower, whole - shower)
    heavier = shower.clone()
    heavier[:, :, 0] += 50
    assert not torch.allclose(net(heavier, told)[:, :, 1:], whole[:, :, 1:], atol=1e-4)
    with pytest.raises(UserError, match="at least 4 layers, got 3"):
        PostProcessor(SIZES, 3, 8, 8, 3)
