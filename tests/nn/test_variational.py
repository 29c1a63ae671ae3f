"""Normally distributed weights: divergence, noise of a layer, draws, the posterior of a regression."""

from __future__ import annotations

import math

import pytest
import torch
from torch.distributions import Normal, kl_divergence
from torch.nn import functional

from simulacra.nn.mlp import MLP
from simulacra.nn.variational import (
    Bayesian,
    VariationalLinear,
    divergence,
    has_posterior,
    one_network,
)


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def layer(inputs: int = 3, outputs: int = 2, prior: float = 0.7) -> VariationalLinear:
    torch.manual_seed(0)
    made = VariationalLinear(inputs, outputs, prior, 0.1)
    with torch.no_grad():
        for widths in made.spread.parameters():
            widths.add_(0.5 * torch.randn(widths.shape))
    return made


def network(prior: float = 1.0, start: float = 0.3) -> MLP:
    torch.manual_seed(0)
    return MLP(3, 2, [5], linear=Bayesian(prior, start).linear)


def test_the_divergence_is_that_of_normal_distributions():
    made = layer()
    pairs = [(made.weight, made.spread.weight), (made.bias, made.spread.bias)]
    expected = sum(
        kl_divergence(Normal(mean, width.exp()), Normal(0.0, 0.7)).sum() for mean, width in pairs
    )
    torch.testing.assert_close(divergence(made), expected)


def test_the_noise_of_a_training_step_has_the_variance_of_the_weights():
    made, x = layer(), torch.randn(1, 3, generator=generator(1))
    drawn = made.train()(x.expand(40_000, -1)).detach()
    mean = functional.linear(x, made.weight, made.bias)[0].detach()
    weight, bias = ((2 * width).exp() for width in (made.spread.weight, made.spread.bias))
    std = (functional.linear(x.square(), weight) + bias).sqrt()[0].detach()
    assert ((drawn.mean(0) - mean) / (std / 200)).abs().max() < 4
    assert (drawn.std(0) / std - 1).abs().max() < 0.02


def test_evaluation_takes_the_means_and_a_draw_is_one_affine_map():
    made = layer().eval()
    x, y = torch.randn(2, 6, 3, generator=generator(1))
    mean = functional.linear(x, made.weight, made.bias)
    torch.testing.assert_close(made(x), mean)
    with one_network(made, generator(2)):
        torch.testing.assert_close(made(x), made(x), rtol=0, atol=0)
        torch.testing.assert_close(made(x) + made(y), made(x + y) + made(torch.zeros(6, 3)))
        assert (made(x) - mean).abs().min() > 0
    torch.testing.assert_close(made(x), mean)


def test_draws_follow_the_posterior_and_repeat_with_a_generator():
    made, x = layer().eval(), torch.randn(1, 3, generator=generator(1))
    source, values = generator(0), []
    for _ in range(1000):
        with one_network(made, source):
            values.append(made(x)[0].detach())
    drawn = torch.stack(values)
    weight, bias = ((2 * width).exp() for width in (made.spread.weight, made.spread.bias))
    std = (functional.linear(x.square(), weight) + bias).sqrt()[0].detach()
    assert ((drawn.mean(0) - made(x)[0].detach()) / (std / 32)).abs().max() < 4
    assert (drawn.std(0) / std - 1).abs().max() < 0.12
    with one_network(made, generator(0)):
        assert torch.equal(made(x)[0].detach(), values[0])


def test_a_draw_ends_with_its_block_also_after_an_error():
    made, x = network().eval(), torch.ones(1, 3)
    mean = made(x)
    with pytest.raises(ValueError, match="stop"), one_network(made, generator(0)):
        raise ValueError("stop")
    torch.testing.assert_close(made(x), mean)


def test_the_posterior_of_a_linear_regression_is_the_exact_one():
    """With inputs of mean 0 the posteriors of slope and intercept are independent normals."""
    x = torch.linspace(-1, 1, 41)[:, None]
    y = 0.8 * x + 0.3 + torch.randn(41, 1, generator=generator(3))
    prior = 0.5
    made = VariationalLinear(1, 1, prior, 0.5)
    optimizer = torch.optim.Adam(made.parameters(), lr=0.05)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 200)
    torch.manual_seed(0)
    for _ in range(200):
        loss = 0.5 * (made(x.repeat(8, 1)) - y.repeat(8, 1)).square().mean() + divergence(made) / 41
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    for mean, log_width, column in (
        (made.weight, made.spread.weight, x),
        (made.bias, made.spread.bias, torch.ones_like(x)),
    ):
        precision = float(column.square().sum()) + 1 / prior**2
        assert mean.item() == pytest.approx(float((column * y).sum()) / precision, abs=0.02)
        assert log_width.exp().item() == pytest.approx(1 / math.sqrt(precision), rel=0.1)


def test_networks_know_whether_they_have_a_posterior():
    assert has_posterior(network())
    assert not has_posterior(MLP(3, 2, [5]))


def test_widths_that_are_not_positive_are_refused():
    for prior, start in ((0.0, 0.1), (1.0, -0.1)):
        with pytest.raises(ValueError, match="positive widths"):
            Bayesian(prior, start).linear(2, 2)
