"""Dropout by bits: the share that is dropped, what stays, and where it does nothing."""

from __future__ import annotations

import pytest
import torch

from simulacra.nn.dropout import RandomDrop


@pytest.mark.parametrize("probability", [0.01, 0.1, 0.5, 0.9])
def test_each_number_is_dropped_with_the_probability_and_the_mean_stays(probability: float) -> None:
    torch.manual_seed(0)
    n = 400_003  # four numbers share a draw
    made = RandomDrop(probability)(torch.ones(n))
    dropped = (made == 0).double().mean().item()
    error = (probability * (1 - probability) / n) ** 0.5
    assert abs(dropped - probability) < 4 * error + 2**-17
    assert abs(made.double().mean().item() - 1) < 4 * error / (1 - probability)
    assert torch.allclose(made[made != 0], torch.tensor(1 / (1 - probability)), rtol=2e-4)


def test_neighbours_are_dropped_independently() -> None:
    torch.manual_seed(0)
    dropped = (RandomDrop(0.5)(torch.ones(100_000, 8)) == 0).double()
    correlations = torch.corrcoef(dropped.T) - torch.eye(8)
    assert correlations.abs().max() < 5 * 100_000**-0.5


def test_gradients_pass_where_numbers_stay() -> None:
    torch.manual_seed(0)
    x = torch.rand(3, 5, 7, requires_grad=True)
    made = RandomDrop(0.5)(x)
    made.sum().backward()
    assert x.grad is not None
    assert torch.equal(x.grad, 2.0 * (made != 0))


def test_the_same_seed_drops_the_same_and_evaluation_nothing() -> None:
    x, layer = torch.rand(6, 5), RandomDrop(0.5)

    def drawn() -> torch.Tensor:
        torch.manual_seed(1)
        return layer(x)

    first = drawn()
    assert torch.equal(drawn(), first)
    assert not torch.equal(layer(x), first)
    assert layer.eval()(x) is x
    assert RandomDrop(0.0)(x) is x


def test_a_probability_of_one_is_refused() -> None:
    with pytest.raises(ValueError, match=r"in \[0, 1\)"):
        RandomDrop(1.0)
