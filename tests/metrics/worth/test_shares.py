"""What samples are worth by their shares in cells."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.spatial.distance import jensenshannon

from simulacra.core import UserError
from simulacra.metrics.engine.weighted import Rows
from simulacra.metrics.worth.averaging import Cells
from simulacra.metrics.worth.shares import (
    jensen_shannon,
    mean_square,
    true_mean_square,
    worth_by_shares,
    worth_of_mean_square,
)  # fmt: skip


def normal(n: int, seed: int, columns: int = 1, width: float = 1.0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return width * torch.randn(n, columns, generator=generator, dtype=torch.float64)


def test_the_divergence_is_that_of_scipy() -> None:
    rng = np.random.default_rng(0)
    shares = rng.dirichlet(np.ones(12), size=3)
    shares[0, :4] = 0.0
    shares[0] /= shares[0].sum()
    truth = rng.dirichlet(np.ones(12))
    found = jensen_shannon(torch.from_numpy(shares), torch.from_numpy(truth)).numpy()
    np.testing.assert_allclose(found, [jensenshannon(row, truth) ** 2 for row in shares], rtol=1e-9)
    apart = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])
    assert float(jensen_shannon(*apart)) == pytest.approx(math.log(2))


def test_the_mean_square_of_true_samples_is_that_of_counting() -> None:
    truth = normal(400_000, 0)
    cells = Cells(truth, 10)
    known = cells.shares(truth)
    shares = torch.stack([cells.shares(sample) for sample in normal(100_000, 1).split(200)])
    found = mean_square(shares, known)
    assert true_mean_square(known, 200) == pytest.approx(0.1 * 0.9 / 200, rel=1e-6)
    assert float(found.mean()) == pytest.approx(true_mean_square(known, 200), rel=0.07)
    assert float(worth_of_mean_square(found.mean(), known)) == pytest.approx(200, rel=0.07)


@pytest.mark.parametrize(("columns", "parts"), [(1, 10), (3, 2)])
def test_true_events_are_worth_their_number(columns: int, parts: int) -> None:
    reference, pool = (Rows(normal(8_000, seed, columns)) for seed in (0, 1))
    cells = Cells(reference.values, parts)
    found = [
        worth_by_shares(cells, reference, pool, Rows(normal(800, 10 + k, columns)))
        for k in range(5)
    ]
    values = [item.at_least if math.isnan(item.value) else item.value for item in found]
    assert 400 < float(np.median(values)) < 1_600
    assert all(item.perfect == 800 for item in found)


def test_a_wrong_width_costs_events_however_many_are_generated() -> None:
    reference, pool = (Rows(normal(8_000, seed)) for seed in (0, 1))
    cells = Cells(reference.values, 10)
    for n in (2_000, 20_000):
        wide = worth_by_shares(cells, reference, pool, Rows(normal(n, 3, width=1.3)))
        assert wide.value < 400
        assert 0 < wide.error < wide.value


def test_a_weight_of_two_is_an_event_that_is_there_twice() -> None:
    reference, pool = (Rows(normal(2_000, seed)) for seed in (0, 1))
    cells = Cells(reference.values, 5)
    some = normal(500, 2)
    weight = torch.ones(500).index_fill(0, torch.arange(0, 500, 3), 2.0).double()
    twice = some.repeat_interleave(weight.long(), 0)
    found, expected = (
        worth_by_shares(cells, reference, pool, item) for item in (Rows(some, weight), Rows(twice))
    )
    assert found.distance == pytest.approx(expected.distance, rel=1e-12)
    assert found.value == pytest.approx(expected.value, rel=1e-9)
    assert found.perfect < expected.perfect  # as an error it is not worth two


def test_a_curve_needs_true_events() -> None:
    rows = Rows(normal(50, 0))
    with pytest.raises(UserError, match="10 cells need a curve of 40 true events, got 30"):
        worth_by_shares(Cells(rows.values, 10), rows, Rows(normal(30, 1)), rows)
