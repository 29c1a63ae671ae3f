"""Losses of both players against their formulas, labels that are flipped, and weights."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from simulacra.dynamics.games import (
    BinaryGame,
    Game,
    Hinge,
    Labels,
    LeastSquares,
    Regularised,
    Wasserstein,
    flipped,
)

REAL, FAKE = torch.tensor([[0.5], [-2.0], [3.0]]), torch.tensor([[1.5], [-0.3], [-4.0]])


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def mean(scores: Tensor, value) -> float:
    return sum(value(float(score)) for score in scores) / len(scores)


def sigmoid(s: float) -> float:
    return 1 / (1 + math.exp(-s))


GAMES = {
    "binary": (
        BinaryGame(),
        mean(REAL, lambda s: -math.log(sigmoid(s))) + mean(FAKE, lambda s: -math.log(1 - sigmoid(s))),
        mean(FAKE, lambda s: -math.log(sigmoid(s))),
    ),
    "regularised": (
        Regularised(0.1),
        mean(REAL, lambda s: -math.log(sigmoid(s))) + mean(FAKE, lambda s: -math.log(1 - sigmoid(s))),
        mean(FAKE, lambda s: -math.log(sigmoid(s))),
    ),
    "hinge": (
        Hinge(),
        mean(REAL, lambda s: max(0.0, 1 - s)) + mean(FAKE, lambda s: max(0.0, 1 + s)),
        mean(FAKE, lambda s: -s),
    ),
    "least_squares": (
        LeastSquares(),
        0.5 * mean(REAL, lambda s: (s - 1) ** 2) + 0.5 * mean(FAKE, lambda s: s**2),
        0.5 * mean(FAKE, lambda s: (s - 1) ** 2),
    ),
    "wasserstein": (
        Wasserstein(),
        mean(FAKE, lambda s: s) - mean(REAL, lambda s: s),
        mean(FAKE, lambda s: -s),
    ),
}  # fmt: skip
GAME = pytest.mark.parametrize(("game", "critic", "made"), GAMES.values(), ids=GAMES)


@GAME
def test_losses_are_those_of_the_formulas(game: Game, critic: float, made: float) -> None:
    assert float(game.critic(REAL, FAKE)) == pytest.approx(critic, rel=1e-5)
    assert float(game.generator(FAKE)) == pytest.approx(made, rel=1e-5)


@GAME
def test_a_weight_of_two_is_a_second_event(game: Game, critic: float, made: float) -> None:
    weight, twice = torch.tensor([2.0, 1.0, 0.0]), torch.tensor([0, 0, 1])
    for found, wanted in (
        (game.critic(REAL, FAKE, weight), game.critic(REAL[twice], FAKE[twice])),
        (game.generator(FAKE, weight), game.generator(FAKE[twice])),
    ):
        torch.testing.assert_close(found, wanted)
        assert float(found) != pytest.approx(critic)


def test_only_games_with_a_slope_at_single_events_ask_for_one() -> None:
    slope = torch.tensor([3.0, 4.0])
    events = torch.randn(5, 2, generator=generator()), torch.randn(5, 2, generator=generator(1))
    found = Wasserstein(2.0).penalty(lambda x: x @ slope, *events, generator=generator())
    assert float(found) == pytest.approx(2 * (5 - 1) ** 2)
    for game, _, _ in GAMES.values():
        penalty = game.penalty(lambda x: x @ slope, *events)
        sloped = isinstance(game, (Regularised, Wasserstein))
        assert (penalty is not None) == game.one_by_one == sloped


def test_a_critic_is_kept_flat_where_it_errs() -> None:
    """Half the weight times the mean of squared errors and slopes, of each kind of event at itself."""
    slope = torch.tensor([3.0, 4.0], requires_grad=True)
    real, fake = torch.tensor([[1.0, 0.0], [0.0, -0.5]]), torch.tensor([[0.5, 0.0], [-2.0, 1.0]])
    game = Regularised(0.3)
    found = game.penalty(lambda x: (x @ slope)[:, None], real, fake)
    errors = [1 - sigmoid(3.0), 1 - sigmoid(-2.0)], [sigmoid(1.5), sigmoid(-2.0)]
    wanted = 0.15 * 25 * sum(sum(e**2 for e in kind) / 2 for kind in errors)
    assert float(found.detach()) == pytest.approx(wanted, rel=1e-5)
    found.backward()
    assert slope.grad is not None
    assert bool(slope.grad.any())
    weight, twice = torch.tensor([2.0, 0.0]), torch.tensor([0, 0])
    torch.testing.assert_close(
        game.penalty(lambda x: (x @ slope)[:, None], real, fake, weight),
        game.penalty(lambda x: (x @ slope)[:, None], real[twice], fake[twice]),
    )


def test_flips_tell_the_critic_the_opposite_and_leave_the_generator_alone() -> None:
    """Where all are flipped, true and generated have changed places."""
    game = BinaryGame(flip=1.0)
    torch.testing.assert_close(
        game.critic(REAL, FAKE, generator=generator()), BinaryGame().critic(FAKE, REAL)
    )
    torch.testing.assert_close(game.generator(FAKE), BinaryGame().generator(FAKE))
    many = torch.full(
        (4000, 1), 30.0
    )  # costs 30 for each event that is flipped, or that is generated
    share = (float(BinaryGame(0.05).critic(many, many, generator=generator())) - 30) / 30
    assert share == pytest.approx(0.0, abs=0.02)  # as many cost more as less
    sure = float(BinaryGame(0.05).critic(many, -many, generator=generator())) / 60
    assert sure == pytest.approx(0.05, abs=4 * math.sqrt(0.05 * 0.95 / 8000))


def test_flipped_classes_are_others_and_as_many_as_asked() -> None:
    classes = torch.arange(3).repeat(2000)
    logits = torch.zeros(6000, 3)
    assert torch.equal(flipped(classes, logits, 0.0), classes)
    every = flipped(classes, logits, 1.0, generator())
    assert not bool((every == classes).any())
    assert set(every[classes == 0].tolist()) == {1, 2}
    some = (flipped(classes, logits, 0.3, generator()) != classes).double().mean()
    assert float(some) == pytest.approx(0.3, abs=4 * math.sqrt(0.21 / 6000))
    alone = torch.zeros(5, dtype=torch.int64)
    assert torch.equal(flipped(alone, torch.zeros(5, 1), 1.0), alone)


def test_labels_are_cross_entropies_of_true_and_generated_events() -> None:
    labels, classes = Labels(0.2, 0.0, 0.0), torch.tensor([0, 1, 1])
    real = torch.tensor([[1.0, -1.0], [0.5, 0.0], [2.0, 3.0]])
    fake = torch.tensor([[0.0, 2.0], [1.0, 1.0], [-1.0, 0.0]])

    def entropy(logits: Tensor) -> float:
        chosen = logits.exp().gather(1, classes[:, None])[:, 0] / logits.exp().sum(1)
        return float(-chosen.log().mean())

    critic = float(labels.critic(real, fake, classes))
    assert critic == pytest.approx(0.2 * (entropy(real) + entropy(fake)))
    assert float(labels.generator(fake, classes)) == pytest.approx(0.2 * entropy(fake))
    weight, twice = torch.tensor([2.0, 0.0, 1.0]), torch.tensor([0, 0, 2])
    torch.testing.assert_close(
        labels.critic(real, fake, classes, weight),
        labels.critic(real[twice], fake[twice], classes[twice]),
    )
    told = Labels(1.0, 1.0, 0.0)  # the critic is told another class of generated events alone
    torch.testing.assert_close(
        told.critic(real, fake, classes, generator=generator()),
        Labels(1.0, 0.0, 0.0).generator(real, classes)
        + Labels(1.0, 0.0, 0.0).generator(fake, 1 - classes),
    )
