"""What every generator and critic of point clouds owes: symmetry, masks, empty events, gradients, sizes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import pairwise

import pytest
import torch
from hydra.utils import get_class
from torch import Tensor, nn

from simulacra.nn.cloud_gan import Bounded, CloudCritic, CloudGenerator
from simulacra.nn.epic_gan import EPiCCritic, EPiCGenerator
from simulacra.nn.mean_field import MeanFieldCritic, MeanFieldGenerator
from simulacra.nn.message_passing import MessagePassing, MPCritic, MPGenerator
from simulacra.nn.set_attention import PMA
from simulacra.nn.set_transformers import (
    AttentionCritic,
    AttentionGenerator,
    InducedCritic,
    InducedGenerator,
)
from simulacra.nn.sets import SplitLinear
from support import composed

GENERATORS = {
    "epic_gan": partial(EPiCGenerator, noise=3, hidden=8, latent=5, layers=2, sum_scale=0.1),
    "mpgan": partial(
        MPGenerator, width=6, layers=2, edges=[7, 8], nodes=[9, 8], noise_std=0.2, bound=1.0,
        sum_scale=0.1,
    ),
    "gapt": partial(
        AttentionGenerator, noise=5, width=8, heads=2, blocks=2, norm=True, bound=3.0
    ),
    "igapt": partial(InducedGenerator, width=6, event=8, heads=2, blocks=2, norm=True, bound=3.0),
    "mdma": partial(
        MeanFieldGenerator, noise=3, width=6, hidden=8, heads=2, blocks=2, sum_scale=0.1
    ),
}  # fmt: skip
CRITICS = {
    "epic_gan": partial(EPiCCritic, hidden=8, latent=5, layers=2, sum_scale=0.1),
    "mpgan": partial(
        MPCritic, width=6, layers=2, edges=[7, 8], nodes=[9, 8], dropout=0.5, sum_scale=0.1,
        squash=True,
    ),
    "gapt": partial(
        AttentionCritic, width=8, heads=2, blocks=2, norm=True, dropout=0.5, squash=True
    ),
    "igapt": partial(
        InducedCritic, width=6, event=8, heads=2, blocks=2, norm=True, dropout=0.5,
        sum_scale=0.1, squash=True,
    ),
    "mdma": partial(MeanFieldCritic, width=6, hidden=8, heads=2, blocks=2, sum_scale=0.1),
}  # fmt: skip
POINTS = 6
MASK = torch.arange(POINTS) < torch.tensor([[POINTS], [2], [0], [1]])
families = pytest.mark.parametrize("family", sorted(GENERATORS))


def source(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, generator=source(seed), dtype=torch.float64)


def made(make: Callable[[int, int], nn.Module], context: int = 2) -> nn.Module:
    torch.manual_seed(0)
    return make(3, context).double().eval()


def noise_of(net: CloudGenerator, mask: Tensor = MASK) -> tuple[Tensor, ...]:
    return tuple(part.double() for part in net.noise(mask, source()))


def permuted(parts: tuple[Tensor, ...], order: Tensor) -> tuple[Tensor, ...]:
    """Noise of points in another order; that of events stays."""
    return tuple(part[:, order] if part.ndim == 3 else part for part in parts)


@families
def test_permuting_points_permutes_what_is_generated_and_keeps_scores(family: str) -> None:
    net, critic, context = made(GENERATORS[family]), made(CRITICS[family]), normal(4, 2)
    order = torch.randperm(POINTS, generator=source(2))
    noise, mask = noise_of(net), MASK[:, order]
    plain = net(noise, MASK, context)
    assert torch.allclose(net(permuted(noise, order), mask, context), plain[:, order], atol=1e-12)
    score = critic(plain, MASK, context)
    assert score.shape == (4, 1)
    assert torch.allclose(critic(plain[:, order], mask, context), score, atol=1e-12)


@families
def test_padding_reaches_neither_points_nor_scores(family: str) -> None:
    net, critic, context = made(GENERATORS[family]), made(CRITICS[family]), normal(4, 2)
    noise = noise_of(net)
    for part in noise:
        assert part.ndim == 2 or bool((part[~MASK] == 0).all())
    plain = net(noise, MASK, context)
    assert bool((plain[~MASK] == 0).all())
    dirty = tuple(
        part if part.ndim == 2 else torch.where(MASK[..., None], part, 1e3) for part in noise
    )
    assert torch.allclose(net(dirty, MASK, context), plain, atol=1e-12)
    longer = tuple(
        part if part.ndim == 2 else nn.functional.pad(part, (0, 0, 0, 3), value=7.0)
        for part in noise
    )
    wide = nn.functional.pad(MASK, (0, 3))
    assert torch.allclose(net(longer, wide, context)[:, :POINTS], plain, atol=1e-12)
    score = critic(plain, MASK, context)
    filled = torch.where(MASK[..., None], plain, 1e3)
    assert torch.allclose(critic(filled, MASK, context), score, atol=1e-12)
    padded = nn.functional.pad(plain, (0, 0, 0, 3), value=-50.0)
    assert torch.allclose(critic(padded, wide, context), score, atol=1e-12)


@families
@pytest.mark.parametrize("context", [0, 2])
def test_empty_events_are_finite_and_every_parameter_has_a_gradient(
    family: str, context: int
) -> None:
    net, critic = made(GENERATORS[family], context), made(CRITICS[family], context)
    given = normal(4, context) if context else None
    points = net(noise_of(net), MASK, given)
    score = critic(points, MASK, given)
    assert bool(torch.isfinite(score).all())
    assert bool(torch.isfinite(points).all())
    (points.square().sum() + (score * torch.arange(1.0, 5.0)[:, None]).sum()).backward()
    for part in (net, critic):
        for name, parameter in part.named_parameters():
            assert parameter.grad is not None, name
            assert bool(torch.isfinite(parameter.grad).all()), name
            still = name.endswith("key.bias")  # softmax does not see what all keys share
            assert still or bool(parameter.grad.abs().sum() > 0), name


@families
def test_context_other_points_and_noise_matter(family: str) -> None:
    net, critic, context = made(GENERATORS[family]), made(CRITICS[family]), normal(4, 2)
    noise, x = noise_of(net), normal(4, POINTS, 3, seed=3)
    moved = [part.clone() for part in noise]
    moved[0][0, 1] += 1.0
    plain, score = net(noise, MASK, context), critic(x, MASK, context)
    changes = [
        net(tuple(moved), MASK, context)[0, 0] - plain[0, 0],
        net(tuple(part.roll(1, 0) for part in noise), MASK, context)[1] - plain[1],
        net(noise, MASK, context + 1)[0, 0] - plain[0, 0],
        critic(x, MASK, context + 1) - score,
        critic(1.5 * x, MASK, context)[:2] - score[:2],
    ]
    assert all(bool((change.abs() > 1e-7).any()) for change in changes)


@families
def test_noise_repeats_with_a_generator_and_is_normal(family: str) -> None:
    net = made(GENERATORS[family])
    mask = torch.ones(500, 8, dtype=torch.bool)
    first, again = (net.noise(mask, source(4)) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    wanted = 0.2 if family == "mpgan" else 1.0
    assert all(abs(float(part.std()) - wanted) < 0.05 * wanted for part in first)


def published(family: str) -> tuple[int, int]:
    """Parameters of generator and critic at 3 features and without context."""
    config = composed("model", f"model={family}", "model/size=published")
    counts = []
    for key in ("net", "critic"):
        arguments = {k: v for k, v in config[key].items() if not k.startswith("_")}
        with torch.device("meta"):
            net = get_class(config[key]["_target_"])(3, 0, **arguments)
        counts.append(sum(p.numel() for p in net.parameters()))
    return counts[0], counts[1]


def linear(*widths: int) -> int:
    """Parameters of linear layers from width to width."""
    return sum((a + 1) * b for a, b in pairwise(widths))


def passing(inputs: int, outputs: int) -> int:
    """A layer of messages at the sizes of the paper."""
    return linear(2 * inputs, 96, 160, 192) + linear(192 + inputs, 256, 256, outputs)


def block(width: int, other: int, norm: bool = False) -> int:
    """Queries, keys, values and output of an attention, and the layer after it."""
    return 3 * linear(width, width) + 2 * linear(other, width) + 4 * width * norm


def test_published_sizes() -> None:
    assert published("epic_gan") == (424_850, 313_170)
    assert published("mpgan") == (
        passing(32, 32) + passing(32, 3),
        passing(3, 32) + passing(32, 32) + linear(32, 1),
    )
    assert published("gapt") == (
        linear(128, 128) + 4 * block(128, 128) + linear(128, 3),
        linear(3, 128) + 3 * block(128, 128) + 128 + linear(128, 1),
    )
    spread = linear(128, 16) + linear(16, 16)
    assert published("igapt") == (
        linear(16, 16) + linear(128, 128) + 4 * (block(128, 16) + spread) + linear(16, 3),
        linear(3, 16) + linear(32, 128) + 8 * block(128, 16, True) + 7 * (spread + 4 * 16)
        + linear(128, 1),
    )  # fmt: skip
    gather = linear(16, 48) + 2 * 48 + 4 * linear(48, 48) + linear(48, 48)
    assert published("mdma")[0] == (
        linear(3, 16) + 7 * (gather + linear(96, 16)) + 6 * linear(48, 16) + linear(16, 3)
    )


def test_messages_are_summed_over_real_pairs() -> None:
    torch.manual_seed(0)
    layer = MessagePassing(3, 2, [4, 5], [6], 2, sum_scale=0.5, dropout=0.0).double()
    h, context = normal(4, POINTS, 3), normal(4, 2, seed=2)
    made = layer(h, MASK[:, None].double(), context)
    received = torch.zeros(5, dtype=torch.float64)
    for j in range(2):  # event 1 has two points
        pair = layer.receiver(h[1, None, 0], context[1, None]) + layer.sender(h[1, j])
        received += 0.5 * layer.message(pair)[0]
    both = torch.cat([received, h[1, 0]])[None]
    assert torch.allclose(
        made[1, 0], layer.update(layer.node(both, context[1, None]))[0], atol=1e-12
    )


def test_no_view_of_messages_is_written_to() -> None:
    layer = MessagePassing(3, 0, [4, 5], [6], 2, sum_scale=0.5, dropout=0.0)
    made = layer(torch.randn(2, 6, 3), torch.ones(2, 1, 6), torch.zeros(2, 0))
    waiting, copies = [made.grad_fn], 0  # each such copies all messages in the backward pass
    while waiting:
        node = waiting.pop()
        copies += node.name().endswith("CopySlices")
        waiting += [before for before, _ in node.next_functions if before is not None]
    assert copies == 0


def test_pooling_of_equal_points_does_not_depend_on_their_number() -> None:
    torch.manual_seed(0)
    pool = PMA(8, 0, 2, norm=False, dropout=0.0).double()
    x = normal(1, 1, 8).expand(4, POINTS, 8)
    pooled = pool(x, MASK, x.new_zeros(4, 0))
    assert torch.allclose(pooled[0], pooled[1], atol=1e-12)
    assert torch.allclose(pooled[0], pooled[3], atol=1e-12)


def test_split_linear_equals_a_linear_layer_of_the_joined_input() -> None:
    torch.manual_seed(0)
    split = SplitLinear(4, 3, 6)
    x, context = torch.randn(5, 8, 4), torch.randn(5, 3)
    expected = split.linear(torch.cat([x, context[:, None].expand(-1, 8, -1)], -1))
    assert torch.allclose(split(x, context), expected, atol=1e-6)
    assert torch.allclose(split(x[:, 0], context), expected[:, 0], atol=1e-6)


def test_the_bound_is_nearly_the_identity_inside() -> None:
    x = torch.linspace(-30, 30, 101)
    y = Bounded(10.0)(x)
    assert float(y.abs().max()) <= 10.0
    assert torch.allclose(y[(x.abs() < 1)], x[x.abs() < 1], atol=4e-3)


def test_dropout_acts_in_training_alone() -> None:
    for family in ("mpgan", "gapt", "igapt"):
        critic: CloudCritic = made(CRITICS[family])
        x, context = normal(4, POINTS, 3), normal(4, 2)
        assert torch.equal(critic(x, MASK, context), critic(x, MASK, context))
        critic.train()
        assert not torch.equal(critic(x, MASK, context), critic(x, MASK, context))
