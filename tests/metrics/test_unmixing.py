"""Histograms of mixtures taken apart: exact where they are, errors that cover, topics of known classes."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from simulacra.core import UserError
from simulacra.metrics.unmixing import Shares, extreme, misfit, topics, unmixed

SIGNAL = torch.tensor([0.0, 0.1, 0.2, 0.3, 0.4], dtype=torch.float64)
BACKGROUND = torch.tensor([0.5, 0.2, 0.2, 0.1, 0.0], dtype=torch.float64)


def exact(density: Tensor) -> Shares:
    return Shares(density, torch.zeros(5, dtype=torch.float64), 1e6 * torch.ones(5))


def drawn(fraction: float, n: int, generator: torch.Generator) -> Shares:
    density = fraction * SIGNAL + (1 - fraction) * BACKGROUND
    place = torch.multinomial(density, n, True, generator=generator)
    return Shares.of(place, 5, torch.ones(n))


def mixture(fraction: float) -> Shares:
    return exact(fraction * SIGNAL + (1 - fraction) * BACKGROUND)


def test_exact_mixtures_give_the_classes_back() -> None:
    signal, background = unmixed(mixture(0.7), mixture(0.25), (0.7, 0.25))
    torch.testing.assert_close(signal[0], SIGNAL)
    torch.testing.assert_close(background[0], BACKGROUND)
    assert not bool(signal[1].any())
    with pytest.raises(UserError, match=r"equal fractions, 0\.5, cannot be taken apart"):
        unmixed(mixture(0.5), mixture(0.5), (0.5, 0.5))


def test_an_uncertain_fraction_moves_templates_by_as_much_as_it_says() -> None:
    first, second, step = mixture(0.7), mixture(0.25), 1e-4
    moved = []
    for change in ((step, 0.0), (0.0, step)):
        up, down = (
            unmixed(first, second, (0.7 + sign * change[0], 0.25 + sign * change[1]))
            for sign in (1, -1)
        )
        moved.append([(u[0] - d[0]) / (2 * step) for u, d in zip(up, down, strict=True)])
    found = unmixed(first, second, (0.7, 0.25), uncertain=0.01)
    for k in range(2):
        expected = 0.01 * torch.hypot(moved[0][k], moved[1][k])
        torch.testing.assert_close(found[k][1], expected, rtol=1e-5, atol=1e-9)


def test_errors_are_the_spread_over_samples() -> None:
    generator = torch.Generator().manual_seed(0)
    values, errors, pulls = [], [], []
    for _ in range(300):
        pair = drawn(0.8, 2000, generator), drawn(0.2, 3000, generator)
        value, error = unmixed(*pair, (0.8, 0.2))[0]
        values.append(value)
        errors.append(error)
        pulls.append(misfit(value, error, drawn(1.0, 1500, generator))[0])
    torch.testing.assert_close(
        torch.stack(errors).mean(0), torch.stack(values).std(0), rtol=0.15, atol=0
    )
    assert sum(pulls) / len(pulls) == pytest.approx(1.0, abs=0.15)


def test_weights_of_two_count_twice_and_are_one_event() -> None:
    place = torch.tensor([0, 1, 1, 4])
    plain, weighted = (Shares.of(place, 5, k * torch.ones(4)) for k in (1.0, 2.0))
    for name in ("value", "variance", "events"):
        torch.testing.assert_close(getattr(plain, name), getattr(weighted, name))
    assert plain.value.tolist() == [0.25, 0.5, 0, 0, 0.25]


def test_topics_of_classes_that_exclude_each_other_are_the_classes() -> None:
    (most, _), (least, _) = topics(mixture(0.7), mixture(0.25), 1)
    assert (most, least) == (pytest.approx(0.7), pytest.approx(0.25))
    generator = torch.Generator().manual_seed(1)
    found = [
        topics(drawn(0.7, 5000, generator), drawn(0.25, 5000, generator), 20) for _ in range(200)
    ]
    for k, truth in enumerate((0.7, 0.25)):
        values, errors = torch.tensor([item[k] for item in found]).T
        assert abs(float(values.mean()) - truth) < 0.02
        assert float(errors.mean()) == pytest.approx(float(values.std()), rel=0.35)


def test_bins_of_few_events_are_not_extreme() -> None:
    above = Shares.of(torch.tensor([0] * 50 + [1] * 50 + [2]), 5, torch.ones(101))
    below = Shares.of(torch.tensor([0] * 25 + [1] * 50 + [2] * 2), 5, torch.ones(77))
    assert extreme(above, below, 20)[0] == pytest.approx(77 / 101)
    with pytest.raises(UserError, match="no bin holds 60 events of both samples"):
        extreme(above, below, 60)
    with pytest.raises(UserError, match="do not differ"):
        topics(above, above, 20)
