"""Terms of the images of an event: closed forms, events apart, weights, where gradients go."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from simulacra.core import UserError
from simulacra.dynamics.sensor_terms import (
    Consistency,
    Contrastive,
    IntraEvent,
    Moments,
    Term,
    Turn,
    Uniformity,
    off_diagonal,
)
from simulacra.nn.diff_augment import Augment
from simulacra.nn.sensor_gan import StackVerdict


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def verdict(events: int, sensors: int = 4, width: int = 5, seed: int = 0) -> StackVerdict:
    source = generator(seed)
    k, p, score = (
        torch.randn(*shape, generator=source, dtype=torch.float64)
        for shape in ((events, sensors, width), (sensors, width), (events, sensors))
    )
    return StackVerdict(
        score, embedding=functional.normalize(k, dim=-1), proxies=functional.normalize(p, dim=-1)
    )


def turn(known: StackVerdict, weight: Tensor | None = None, real: Tensor | None = None) -> Turn:
    real = torch.zeros(len(known.score), 4, 2, 2) if real is None else real

    def judge(events: Tensor) -> StackVerdict:
        scale = events.mean((2, 3)).double()
        return StackVerdict(
            scale, embedding=scale[..., None].expand(-1, -1, 3), proxies=known.proxies
        )

    return Turn(real, real + 1, weight, judge, lambda: known, lambda x: x.flatten(2), generator())


def part(whole: StackVerdict, index: list[int]) -> StackVerdict:
    return StackVerdict(whole.score[index], embedding=whole.embedding[index], proxies=whole.proxies)


def test_terms_are_their_formulas_written_out_as_loops() -> None:
    made, known = verdict(2, seed=1), verdict(2, seed=2)
    contrast, apart, alike = [], [], []
    for k, true in zip(made.embedding, known.embedding, strict=True):
        pairs = []
        a, b = ([[math.exp(float(x @ y)) for y in rows] for x in rows] for rows in (true, k))
        for i in range(4):
            own = math.exp(float(k[i] @ made.proxies[i]) / 0.5)
            others = sum(math.exp((float(k[i] @ k[j]) - 0.1) / 0.5) for j in range(4) if j != i)
            contrast.append(-math.log(own / (own + others)))
            pairs += [math.exp(-2 * float((k[i] - k[j]).square().sum())) for j in range(i)]
            p, q = ([value / sum(row[i]) for value in row[i]] for row in (a, b))
            alike.append(sum(x * math.log(x / y) for x, y in zip(p, q, strict=True)))
        apart.append(math.log(sum(pairs) / len(pairs)))
    for term, values, weight in (
        (Contrastive(3.0, 0.5, 0.1), contrast, 3.0),
        (Uniformity(0.1), apart, 0.1),
        (IntraEvent(2.0), alike, 2.0),
    ):
        found = term.net(made, turn(known))
        assert found is not None
        assert math.isclose(float(found), weight * sum(values) / len(values), rel_tol=1e-6)


def test_a_weight_counts_events_and_no_image_meets_those_of_another_event() -> None:
    made, known = verdict(3, seed=1), verdict(3, seed=2)
    for term in (Contrastive(1.0, 1.0, 0.0), Uniformity(1.0), IntraEvent(1.0)):
        weighted = term.net(made, turn(known, torch.tensor([2.0, 0.0, 1.0])))
        again = term.net(part(made, [0, 0, 2]), turn(part(known, [0, 0, 2])))
        alone = [float(term.net(part(made, [i]), turn(part(known, [i])))) for i in (0, 0, 2)]
        torch.testing.assert_close(weighted, again)
        assert math.isclose(float(again), sum(alone) / 3, rel_tol=1e-9)


def test_the_truth_is_no_way_to_lower_the_intra_event_term() -> None:
    made, known = verdict(2, seed=1), verdict(2, seed=2)
    made.embedding.requires_grad_(True)
    known.embedding.requires_grad_(True)
    term = IntraEvent(1.0)
    value = term.net(made, turn(known))
    assert value is not None
    value.backward()
    assert known.embedding.grad is None
    assert float(made.embedding.grad.abs().sum()) > 0
    assert float(term.net(known, turn(known)).detach()) == 0
    assert term.critic(turn(known)) is None


class Brighter(Augment):
    def __call__(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return x + 0.5


def test_consistency_is_the_squared_change_of_scores_and_embeddings() -> None:
    """Both follow the mean of an image here, which the change moves by a half."""
    known, real = verdict(2), torch.rand(2, 4, 2, 2, generator=generator())
    term = Consistency(10.0, Brighter())
    assert math.isclose(
        float(term.critic(turn(known, real=real))), 10 * (0.25 + 0.25), rel_tol=1e-5
    )
    assert term.net(known, turn(known)) is None


def test_moments_are_those_of_each_sensor_over_the_events() -> None:
    """The made events are the true ones moved by 1, so that means differ by 1 and widths by nothing."""
    real = torch.rand(3, 4, 2, 2, generator=generator())
    found = Moments(2.0).net(verdict(3), turn(verdict(3), real=real))
    assert math.isclose(float(found), 2.0, rel_tol=1e-5)
    with pytest.raises(UserError, match="matching of moments takes no weights"):
        Moments(2.0).net(verdict(3), turn(verdict(3), torch.ones(3), real))


def test_every_term_can_be_weighed_away() -> None:
    made = verdict(2)
    terms: list[Term] = [Contrastive(0.0, 1.0, 0.0), Uniformity(0.0), IntraEvent(0.0)]
    assert all(float(term.net(made, turn(verdict(2, seed=3)))) == 0 for term in terms)


def test_off_diagonal_is_the_sum_over_pairs_of_rows_of_tall_and_wide_weights() -> None:
    weights = [
        torch.randn(7, 3, generator=generator()),
        torch.randn(3, 2, 2, 2, generator=generator()),
    ]
    wanted = 0.0
    for weight in weights:
        gram = weight.flatten(1) @ weight.flatten(1).T
        wanted += float((gram - gram.diag().diag()).square().sum()) / 2
    assert math.isclose(float(off_diagonal(weights)), wanted, rel_tol=1e-5)
    assert abs(float(off_diagonal([torch.eye(4)]))) < 1e-6
