"""Work in groups that fit a cache: results and gradients are those of one pass, whatever the sizes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from simulacra.core import draws
from simulacra.nn import groups
from simulacra.nn.attention import SHORT, attended
from simulacra.nn.message_passing import MessagePassing
from simulacra.nn.pointwise import ConcatSquash
from simulacra.nn.set_transformers import AttentionGenerator, InducedGenerator
from simulacra.nn.transformers import CrossAttention, NormFormer, PreNorm

COUNTS = (5, 0, 9, 1, 9, 3, 2, 6)
MASK = torch.arange(9) < torch.tensor(COUNTS)[:, None]
SHAPE = {"width": 8, "layers": 2, "heads": 2, "hidden": 12, "frequencies": 3}
NETS: dict[str, Callable[[], nn.Module]] = {
    "norm_former": partial(NormFormer, 3, 2, context=4, **SHAPE),
    "pre_norm": partial(PreNorm, 3, 2, embedding=4, dropout=0.0, **SHAPE),
    "cross_attention": partial(CrossAttention, 3, 2, tokens=2, context=4, **SHAPE),
    "gapt": partial(
        AttentionGenerator, 3, 2, noise=3, width=8, heads=2, blocks=2, norm=True, bound=3.0
    ),
    "igapt": partial(
        InducedGenerator, 3, 2, width=8, event=6, heads=2, blocks=2, norm=True, bound=3.0
    ),
}


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=generator(seed), dtype=torch.float64)


def called(name: str, net: nn.Module, mask: Tensor) -> Tensor:
    """Points of the events."""
    context = random(len(mask), 2, seed=3)
    if name in ("gapt", "igapt"):
        given = {"gapt": (3,), "igapt": (8, 6)}[name]
        noise = (random(*mask.shape, given[0]), *(random(len(mask), w) for w in given[1:]))
        found: Tensor = net(noise, mask, context)
        return found
    t = torch.linspace(0, 1, len(mask), dtype=torch.float64)
    made: Tensor = net(random(*mask.shape, 3), t, mask, context)
    return made


@pytest.mark.parametrize("scattered", [False, True])
@pytest.mark.parametrize("cache", [1, 24 * 12])
@pytest.mark.parametrize("name", NETS)
def test_groups_change_neither_results_nor_gradients(
    name: str, cache: int, scattered: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    net = NETS[name]().double()
    with torch.no_grad():  # leave the zeros at which last layers start
        for parameter in net.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator(1)))
    mask = MASK[:, torch.randperm(9, generator=generator(2))] if scattered else MASK
    weight = random(*mask.shape, 3, seed=5)

    def results() -> tuple[Tensor, list[Tensor]]:
        made = called(name, net, mask)
        slopes = torch.autograd.grad((weight * made).sum(), list(net.parameters()))
        return made.detach(), list(slopes)

    whole, slopes = results()
    seen: list[int] = []
    inner = net._of_group
    monkeypatch.setattr(
        net, "_of_group", lambda x, *rest: (seen.append(len(x)), inner(x, *rest))[1]
    )
    monkeypatch.setattr(groups, "CACHE", cache)
    cut, cut_slopes = results()
    assert sum(seen) == len(mask)
    assert len(seen) > 2
    torch.testing.assert_close(cut, whole)
    torch.testing.assert_close(cut_slopes, slopes)
    with draws.given(Given()):  # a graph is recorded for all events at once
        seen.clear()
        called(name, net, mask)
    assert seen == [len(mask)]


class Given(draws.Source):
    def take(self, kind: draws.Kind, shape: object) -> Tensor:
        raise AssertionError("nothing is drawn here")


def test_events_of_like_size_are_together_and_cut_to_the_longest() -> None:
    def seen(x: Tensor, mask: Tensor, counts: Tensor) -> Tensor:
        shapes.append(tuple(mask.shape))
        assert bool((mask.sum(1) == counts).all())
        return x * mask[..., None]

    shapes: list[tuple[int, ...]] = []
    x = random(len(COUNTS), 9, 2)
    made = groups.in_groups(seen, groups.CACHE // 20, x, MASK, (torch.tensor(COUNTS),))
    assert torch.equal(made, x * MASK[..., None])
    assert shapes == [(3, 2), (3, 6), (2, 9)]


@pytest.mark.parametrize("cache", [2**18, 80, 500])
def test_messages_are_the_sum_over_all_pairs(cache: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(groups, "CACHE", cache)
    torch.manual_seed(0)
    layer = MessagePassing(3, 2, [5, 4], [6], 7, sum_scale=0.3, dropout=0.0).double()
    h, context = random(len(COUNTS), 9, 3).requires_grad_(), random(len(COUNTS), 2, seed=1)
    found = layer(h, MASK[:, None].double(), context)
    first = layer.receiver.linear
    rows = []
    for event, count in enumerate(COUNTS):
        for i in range(9):
            total = torch.zeros(4, dtype=torch.float64)
            for j in range(count):
                both = torch.cat([h[event, i], context[event]])
                inner = first(both) + layer.sender.weight @ h[event, j]
                inner = torch.where(inner > 0, inner, 0.2 * inner)
                message = layer.message[1](inner)
                total = total + torch.where(message > 0, message, 0.2 * message)
            known = torch.cat([0.3 * total, h[event, i], context[event]])
            rows.append(layer.update(layer.node.linear(known)))
    plain = torch.stack(rows).unflatten(0, (len(COUNTS), 9))
    torch.testing.assert_close(found, plain)
    weights = [h, *layer.parameters()]
    ours, theirs = (torch.autograd.grad(x.square().sum(), weights) for x in (found, plain))
    torch.testing.assert_close(ours, theirs)


def test_a_gated_layer_is_what_its_formula_says() -> None:
    torch.manual_seed(0)
    layer = ConcatSquash(3, 2, 4).double()
    x, context = random(5, 7, 3).requires_grad_(), random(5, 2, seed=1).requires_grad_()
    gate = torch.sigmoid(layer.gate(context))[:, None]
    plain = gate * layer.point(x) + layer.shift(context)[:, None]
    found = layer(x, context)
    torch.testing.assert_close(found, plain)
    weights = [x, context, *layer.parameters()]
    ours, theirs = (torch.autograd.grad(y.square().sum(), weights) for y in (found, plain))
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("keys", [7, SHORT + 1])
@pytest.mark.parametrize("form", ["all", "keys", "pairs", "causal"])
def test_attention_without_gradients_is_a_softmax_of_products(keys: int, form: str) -> None:
    query, key, value = (random(3, 2, n, 4, seed=k) for k, n in enumerate((keys, keys, keys)))
    pairs = torch.rand(3, 1, keys, keys, generator=generator(7)) < 0.6
    pairs |= torch.eye(keys, dtype=torch.bool)
    causal = torch.ones(keys, keys, dtype=torch.bool).tril()
    allowed = {"all": None, "keys": pairs[:, :, :1], "pairs": pairs, "causal": None}[form]
    scores = torch.einsum("bhmd,bhnd->bhmn", query, key) / 2
    hidden = {"all": None, "keys": ~pairs[:, :, :1], "pairs": ~pairs, "causal": ~causal}[form]
    if hidden is not None:
        scores = scores.masked_fill(hidden, -torch.inf)
    plain = torch.einsum("bhmn,bhnd->bhmd", scores.softmax(-1), value)
    for grad in (False, True):
        with torch.set_grad_enabled(grad):
            found = attended(query, key, value, allowed, causal=form == "causal")
        torch.testing.assert_close(found, plain)


def test_attention_of_half_as_many_bits_is_computed_in_single_precision() -> None:
    parts = [random(2, 2, 9, 4, seed=k).bfloat16() for k in range(3)]
    with torch.autocast("cpu", torch.bfloat16):
        found = attended(*parts)
    assert torch.equal(found, attended(*(part.float() for part in parts)).bfloat16())
