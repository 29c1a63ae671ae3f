"""A causal transformer, all steps at once and one after the other."""

from __future__ import annotations

import pytest
import torch

from simulacra.core import UserError
from simulacra.nn.causal_transformer import CausalTransformer, MultiQueryAttention
from simulacra.nn.delayed_hits import delayed
from simulacra.nn.positions import LineRotary, turned


def transformer(registers: int = 2, seed: int = 0) -> CausalTransformer:
    torch.manual_seed(seed)
    return CausalTransformer(16, 2, 4, 32, registers).eval()


def steps(n: int, b: int = 3) -> torch.Tensor:
    return torch.randn(b, n, 16, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("registers", [0, 2])
@torch.no_grad()
def test_steps_with_a_cache_are_those_of_the_whole_pass(registers: int) -> None:
    net, x = transformer(registers), steps(40)  # longer than the first buffer
    caches = net.start(3)
    found = torch.stack([net.step(x[:, i], caches) for i in range(40)], 1)
    torch.testing.assert_close(found, net(x), rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_events_that_are_left_out_do_not_change_the_others() -> None:
    net, x = transformer(), steps(20)
    caches, kept = net.start(3), torch.tensor([0, 2])
    for i in range(10):
        net.step(x[:, i], caches)
    for cache in caches:
        cache.keep(kept)
    found = torch.stack([net.step(x[kept, i], caches) for i in range(10, 20)], 1)
    torch.testing.assert_close(found, net(x)[kept, 10:], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("place", [0, 3, 7])
def test_a_step_sees_all_up_to_itself_and_none_behind(place: int) -> None:
    net, x = transformer(), steps(8).requires_grad_()
    net(x)[:, place].square().sum().backward()
    assert x.grad is not None
    size = x.grad.abs().sum((0, 2))
    assert bool((size[: place + 1] > 0).all())
    assert bool((size[place + 1 :] == 0).all())


def test_all_heads_share_one_row_of_keys_and_one_of_values() -> None:
    attention = MultiQueryAttention(32, 4)
    assert attention.key_value.weight.shape == (2 * 8, 32)
    with pytest.raises(UserError, match="5 heads"):
        MultiQueryAttention(32, 5)


def test_phases_depend_on_distances_alone() -> None:
    rotary = LineRotary(8)
    query, key = (torch.randn(1, 8, generator=torch.Generator().manual_seed(k)) for k in (0, 1))

    def product(first: int, second: int) -> torch.Tensor:
        return (turned(query, *rotary(first, 1)) * turned(key, *rotary(second, 1))).sum()

    torch.testing.assert_close(product(2, 7), product(12, 17))
    assert abs(float(product(2, 7) - product(2, 8))) > 1e-4
    with pytest.raises(UserError, match="pairs"):
        LineRotary(7)


def test_streams_follow_each_other_with_a_delay() -> None:
    hits = torch.tensor([[[0.0, 1, 2, 0.5], [1, 0, 1, 0.25]], [[2, 2, 0, 0.75], [9, 9, 9, 9]]])
    mask = torch.tensor([[True, True], [True, False]])
    made = delayed(hits, mask, (4, 3, 3))
    none, over = (4, 3, 3), (5, 4, 4)  # no hit yet, no hit any more
    assert made.index[0].tolist() == [
        list(none),
        [0, none[1], none[2]],
        [1, 1, none[2]],
        [over[0], 0, 2],
        [over[0], over[1], 1],
    ]
    assert made.energy[0].tolist() == [0, 0, 0, 0, 0.5]
    assert made.index[1, :, 0].tolist() == [none[0], 2, over[0], over[0], over[0]]
    assert made.count.tolist() == [[0, 1, 2, 2, 2], [0, 1, 1, 1, 1]]
    torch.testing.assert_close(made.spent[:, 4], torch.tensor([0.5, 0.75]).exp())
    assert made.spent[:, :4].abs().sum() == 0
