"""Likelihoods of cells: normalisation and moments against closed forms, gradients, what is refused."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from simulacra.core import Layout, UserError, draws, regular_grid
from simulacra.dynamics.likelihoods import (
    REACH,
    BernoulliMean,
    ContinuousBernoulli,
    GaussianLogits,
    Likelihood,
    Multinomial,
)

AXIS = [tuple(float(k) for k in range(n + 1)) for n in (2, 3)]
GEOMETRY = regular_grid(2, (AXIS[0], AXIS[1]))
CELLS = Layout(12, 3, (6, 6), (2, 3), geometry=GEOMETRY)
ONE = Layout(1, 0)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def shares_to_logits(shares: Tensor) -> Tensor:
    return torch.log(shares) - torch.log1p(-shares)


def quanta(numbers: tuple[float, float], probabilities: Tensor) -> Tensor:
    """What a decoder gives for probabilities ``(12,)`` and numbers of quanta in both layers."""
    where = REACH * torch.atanh(probabilities.log() / REACH)
    return torch.cat([where, torch.tensor(numbers).sub(1).log()])[None]


@pytest.mark.parametrize("y", [-3.0, -0.004, 0.0, 0.3, 2.0])
def test_a_continuous_bernoulli_distribution_is_one_and_its_draws_have_its_mean(y: float) -> None:
    found = ContinuousBernoulli(ONE)
    shares = (torch.arange(40_000, dtype=torch.float64)[:, None] + 0.5) / 40_000
    density = (-found(shares_to_logits(shares), torch.full_like(shares, y))).exp()
    assert float(density.mean()) == pytest.approx(1, abs=1e-4)
    mean = float((density[:, None] * shares).mean())
    drawn = found.sample(torch.full((40_000, 1), y), generator()).sigmoid()
    error = float(drawn.std()) / 200
    assert float(drawn.mean()) == pytest.approx(mean, abs=4 * error)


def test_continuous_bernoulli_draws_reach_both_ends_without_infinities() -> None:
    drawn = ContinuousBernoulli(ONE).sample(
        torch.tensor([[-40.0], [40.0]]).repeat(500, 1), generator()
    )
    assert bool(torch.isfinite(drawn).all())
    assert float(drawn[::2].sigmoid().mean()) == pytest.approx(1 / math.sinh(12), rel=0.2)


def test_the_gaussian_is_that_of_torch_and_its_width_is_bounded() -> None:
    found = GaussianLogits(Layout(2, 0), least=0.1)
    x, y = torch.randn(5, 2, generator=generator()), torch.randn(5, 4, generator=generator(1))
    width = 0.1 + torch.nn.functional.softplus(y[:, 2:])
    wanted = -torch.distributions.Normal(y[:, :2], width).log_prob(x).sum(1)
    torch.testing.assert_close(found(x, y), wanted)
    narrow = torch.tensor([[1.0, 2.0, -100.0, -100.0]]).repeat(20_000, 1)
    assert found.sample(narrow, generator()).std(0).tolist() == pytest.approx([0.1, 0.1], rel=0.05)


def test_counts_have_the_probability_of_the_multinomial_distribution() -> None:
    """For whole counts, up to the factor that takes counts to shares."""
    p = torch.tensor([0.1, 0.2, 0.3, 0.15, 0.05, 0.2])
    counts = torch.tensor([[3.0, 1.0, 4.0, 2.0, 0.0, 2.0], [0.0, 2.0, 5.0, 1.0, 1.0, 3.0]])
    x = shares_to_logits((counts / 12).flatten()[None].clamp(min=1e-9))
    y = quanta((12.0, 12.0), torch.cat([p, p]))
    multinomial = torch.distributions.Multinomial(12, probs=p)
    hits = (counts > 0).sum(1)
    wanted = multinomial.log_prob(counts) + (hits - 1) * math.log(12)
    torch.testing.assert_close(Multinomial(CELLS, 1e-6)(x, y), -wanted.sum()[None])


def test_drawn_shares_have_the_mean_and_the_width_of_the_multinomial_and_no_comb() -> None:
    p = torch.tensor([0.4, 0.3, 0.2, 0.05, 0.03, 0.02])
    y = quanta((400.0, 30.0), torch.cat([p, p])).repeat(20_000, 1)
    shares = Multinomial(CELLS, 1e-6).sample(y, generator()).sigmoid()
    assert GEOMETRY.layer_sums(shares) == pytest.approx(1, abs=1e-5)
    for number, part in zip((400, 30), shares.split(6, dim=1), strict=True):
        torch.testing.assert_close(part.mean(0), p, rtol=0, atol=0.003)
        wide = (p * (1 - p) / number).sqrt()
        torch.testing.assert_close(part.std(0)[:3], wide[:3], rtol=0.06, atol=0)
    few = shares[:, 11]  # 0.6 quanta on average
    assert float((few < 1e-6).float().mean()) == pytest.approx(math.exp(-0.6), abs=0.02)
    assert len(few[few > 1e-6].unique()) > 5000


def test_draws_leave_cells_empty_that_hold_energy_on_average() -> None:
    p = torch.tensor([0.9, 0.02, 0.02, 0.02, 0.02, 0.02])
    y = quanta((10.0, 10.0), torch.cat([p, p])).repeat(2000, 1)
    hits = Multinomial(CELLS, 1e-6).sample(y, generator()).sigmoid() > 1e-6
    assert float(hits[:, 1:6].float().mean()) == pytest.approx(1 - math.exp(-0.2), abs=0.02)
    assert bool((BernoulliMean(CELLS).sample(p.repeat(2)[None].logit()).sigmoid() > 0.01).all())


def test_the_number_of_quanta_follows_from_the_scatter_of_the_showers() -> None:
    """The likelihood is the largest where showers of 100 quanta were drawn from 100."""
    p = torch.softmax(torch.randn(6, generator=generator(3)), 0)
    found = Multinomial(CELLS, 1e-6)
    x = found.sample(quanta((100.0, 100.0), torch.cat([p, p])).repeat(2000, 1), generator())
    losses = {
        n: float(found(x, quanta((n, n), torch.cat([p, p])).repeat(2000, 1)).mean())
        for n in (25.0, 50.0, 100.0, 200.0, 400.0)
    }
    assert min(losses, key=losses.get) == 100.0, losses


def test_a_layer_without_energy_counts_nothing_and_one_without_counts_has_a_strongest_cell() -> (
    None
):
    found = Multinomial(CELLS, 1e-6)
    p = torch.tensor([0.5, 0.1, 0.1, 0.1, 0.1, 0.1])
    shares = torch.cat([torch.full((6,), 1e-8), p])[None]
    y = quanta((7.0, 50.0), torch.cat([p, p]))
    other = quanta((900.0, 50.0), torch.cat([p.flip(0), p]))
    x = shares_to_logits(shares)
    torch.testing.assert_close(found(x, y), found(x, other))
    faint = y.clone()
    faint[:, 12:] = -20.0  # one quantum
    drawn = found.sample(faint.repeat(300, 1), generator())
    empty = (drawn[:, :6].sigmoid().sort(dim=1).values[:, -1] < 0.6).float().mean()
    assert float(empty) > 0  # no quantum at all: shares are those of the probabilities
    assert bool(torch.isfinite(drawn).all())


@pytest.mark.parametrize(
    "likelihood",
    [BernoulliMean(CELLS), ContinuousBernoulli(CELLS), GaussianLogits(CELLS, 0.1), Multinomial(CELLS, 1e-6)],
    ids=lambda item: type(item).__name__,
)  # fmt: skip
def test_gradients_are_finite_far_out_and_nan_stays_nan(likelihood: Likelihood) -> None:
    x = torch.linspace(-16, 10, 36).view(3, 12)
    for size in (0.0, 1.0, 100.0):
        noise = torch.randn(3, likelihood.outputs, generator=generator())
        y = (size * noise).requires_grad_()
        loss = likelihood(x, y).sum()
        loss.backward()
        assert bool(torch.isfinite(loss))
        assert bool(torch.isfinite(y.grad).all())
    unknown = x.clone()
    unknown[0, 0] = torch.nan
    assert likelihood(unknown, y.detach()).isnan().tolist() == [True, False, False]
    y = torch.full((1, likelihood.outputs), torch.nan)
    assert bool(likelihood.sample(y, generator()).isnan().all())


def test_quanta_without_layers_and_counts_in_a_graph_are_refused() -> None:
    with pytest.raises(UserError, match="take a transform with layer energies"):
        Multinomial(Layout(12, 1), 1e-6)

    class Nothing(draws.Source):
        def take(self, kind: draws.Kind, shape: object) -> Tensor:
            raise AssertionError

    with draws.given(Nothing()), pytest.raises(UserError, match="draws counts, which an exported"):
        Multinomial(CELLS, 1e-6).sample(torch.zeros(2, 14))
