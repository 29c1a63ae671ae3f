"""Chains of layers: what each layer sees, in density and in sampling."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from simulacra.core import Layout
from simulacra.dynamics.autoregressive import autoregressive_flow
from simulacra.dynamics.layer_chain import CausalChain
from simulacra.dynamics.splines import RationalQuadratic

WIDTHS = [3, 3, 3, 3]


class Embedding(nn.Module):
    """The layers before the present one, at most two, and two numbers, as they are."""

    def forward(self, past: list[torch.Tensor], given: torch.Tensor) -> torch.Tensor:
        empty = [torch.zeros(len(given), 3)] * (2 - len(past))
        return torch.cat([*empty, *past, given], dim=-1)


@pytest.fixture(scope="module")
def chain() -> CausalChain:
    torch.manual_seed(0)
    flows = [
        autoregressive_flow(Layout(3, 8), 1, RationalQuadratic(4, 5.0), [8], seed=n)
        for n in range(4)
    ]
    made = CausalChain(WIDTHS, 2, 1, [Embedding() for _ in WIDTHS], flows)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape))
    return made


def numbers(n: int, width: int, seed: int) -> torch.Tensor:
    return torch.randn(n, width, generator=torch.Generator().manual_seed(seed))


def test_the_density_is_the_sum_over_layers(chain: CausalChain):
    x, context = numbers(5, 12, 0), numbers(5, 5, 1)
    assert chain.log_probs(x, context).shape == (5, 4)
    torch.testing.assert_close(chain.log_prob(x, context), chain.log_probs(x, context).sum(-1))


def test_a_layer_depends_on_itself_and_the_layers_of_its_history_and_on_its_own_energy(
    chain: CausalChain,
):
    x, context = numbers(5, 12, 0), numbers(5, 5, 1)
    with torch.no_grad():
        before = chain.log_probs(x, context)
        for layer in range(4):
            changed = x.clone()
            changed[:, 3 * layer : 3 * layer + 3] += 0.5
            moved = (chain.log_probs(changed, context) - before).abs().amax(0) > 1e-4
            assert moved.tolist() == [layer <= n <= layer + 2 for n in range(4)]
            louder = context.clone()
            louder[:, 1 + layer] += 0.5
            moved = (chain.log_probs(x, louder) - before).abs().amax(0) > 1e-4
            assert moved.tolist() == [n == layer for n in range(4)]


def test_sampling_after_true_layers_uses_them_in_place_of_generated_ones(chain: CausalChain):
    context, truth, other = numbers(6, 5, 1), numbers(6, 12, 2), numbers(6, 12, 3)

    def sample(truth: torch.Tensor | None) -> torch.Tensor:
        with torch.no_grad():
            return chain.sample(6, context, torch.Generator().manual_seed(4), truth)

    free, taught = sample(None), sample(truth)
    assert torch.equal(free[:, :3], taught[:, :3])
    assert not torch.equal(free[:, 3:], taught[:, 3:])
    assert torch.equal(free, sample(free))  # own layers as truth change nothing
    assert not torch.equal(taught[:, 3:], sample(other)[:, 3:])


def test_later_layers_see_what_is_shown_of_a_generated_one(chain: CausalChain, monkeypatch):
    context = numbers(6, 5, 1)
    with torch.no_grad():
        plain = chain.sample(6, context, torch.Generator().manual_seed(4))
        monkeypatch.setattr(chain, "seen", lambda n, x, context: torch.zeros_like(x))
        cut = chain.sample(6, context, torch.Generator().manual_seed(4))
    assert torch.equal(plain[:, :3], cut[:, :3])
    assert not torch.equal(plain[:, 3:], cut[:, 3:])


def test_a_chain_needs_layers():
    with pytest.raises(ValueError, match="needs layers"):
        CausalChain([], 2, 1, [], [])
