from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from simulacra.nn.attention import Attention
from simulacra.nn.transformers import CrossAttention, NormFormer, PreNorm

SHAPE = {"width": 16, "layers": 2, "heads": 4, "hidden": 24, "frequencies": 3}
NETS: list[Callable[..., nn.Module]] = [
    partial(NormFormer, context=8, **SHAPE),
    partial(PreNorm, embedding=8, dropout=0.0, **SHAPE),
    partial(CrossAttention, tokens=3, context=8, **SHAPE),
]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(params=NETS, ids=lambda net: net.func.__name__)
def net(request: pytest.FixtureRequest) -> nn.Module:
    torch.manual_seed(0)
    made = request.param(3, 2).double()
    with torch.no_grad():  # leave the zeros at which the last layers start
        for parameter in made.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator(1)))
    return made


def inputs(n: int = 5, points: int = 7) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    x = torch.randn(n, points, 3, generator=generator(2), dtype=torch.float64)
    mask = torch.arange(points) < torch.tensor([7, 3, 1, 5, 0])[:n, None]
    t, cond = torch.rand(n, 3, generator=generator(3), dtype=torch.float64).split([1, 2], 1)
    return x, t[:, 0], mask, cond


def test_permuting_points_permutes_the_result(net: nn.Module) -> None:
    x, t, mask, cond = inputs()
    order = torch.randperm(7, generator=generator(4))
    torch.testing.assert_close(
        net(x[:, order], t, mask[:, order], cond), net(x, t, mask, cond)[:, order]
    )


def test_padded_points_change_nothing_and_stay_zero(net: nn.Module) -> None:
    x, t, mask, cond = inputs()
    filled = torch.where(mask[..., None], x, 1e3)
    first, second = net(x, t, mask, cond), net(filled, t, mask, cond)
    assert torch.equal(first, second)
    assert bool((first[~mask] == 0).all())
    assert bool(first.isfinite().all())  # also for the event without points
    torch.testing.assert_close(net(x[:, :5], t, mask[:, :5], cond)[3], first[3, :5])


def test_time_and_conditions_matter_and_points_see_each_other(net: nn.Module) -> None:
    x, t, mask, cond = inputs()
    first = net(x, t, mask, cond)
    assert not torch.allclose(net(x, t.flip(0), mask, cond)[0], first[0])
    assert not torch.allclose(net(x, t, mask, cond.flip(0))[0], first[0])
    moved = x.clone()
    moved[0, 6] += 1
    assert not torch.allclose(net(moved, t, mask, cond)[0, 0], first[0, 0])


def test_no_conditions_are_needed() -> None:
    x, t, mask, _ = inputs()
    for make in NETS:
        assert make(3, 0).double()(x, t, mask).shape == x.shape


def test_attention_is_that_of_torch() -> None:
    torch.manual_seed(0)
    mine = Attention(8, 2).double()
    reference = nn.MultiheadAttention(8, 2, batch_first=True).double()
    with torch.no_grad():
        reference.in_proj_weight.copy_(torch.cat([mine.query.weight, mine.key_value.weight]))
        reference.in_proj_bias.copy_(torch.cat([mine.query.bias, mine.key_value.bias]))
    reference.out_proj.load_state_dict(mine.output.state_dict())
    x, keys = torch.randn(2, 4, 5, 8, dtype=torch.float64)
    mask = torch.arange(5) < torch.tensor([5, 3, 1, 2])[:, None]
    expected, _ = reference(x, keys, keys, key_padding_mask=~mask)
    torch.testing.assert_close(mine(x, keys, mask), expected)


@pytest.mark.parametrize("real", [5, 3])
def test_points_that_ask_themselves_find_the_same_by_one_product(real: int) -> None:
    torch.manual_seed(0)
    attention, x = Attention(8, 2).double(), torch.randn(4, 5, 8, dtype=torch.float64)
    mask = torch.arange(5) < torch.tensor([5, real, real, 5])[:, None]
    for _ in range(2):
        with torch.no_grad():
            found = attention(x, x, mask)
        torch.testing.assert_close(found, attention(x, x.clone(), mask))
        with torch.no_grad():  # what is kept follows from the weights as they are
            attention.query.bias.add_(1)
            attention.key_value.weight.mul_(2)


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(ValueError, match="cannot be split into 3 heads"):
        Attention(16, 3)
