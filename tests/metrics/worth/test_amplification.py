"""Copies of the training events amplify nothing, a right model does, and its spread is calibrated."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from simulacra.core import UserError
from simulacra.metrics.distances.nplm import nplm
from simulacra.metrics.worth.averaging import Cells, amplification, model_spread, pulls
from simulacra.metrics.worth.differential import differential, summary

TRAINED, NETWORKS, MADE = 400, 30, 4000


def drawn(n: int, seed: int, axes: int = 2) -> Tensor:
    return torch.randn(n, axes, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def copier(training: Tensor, seed: int) -> Tensor:
    """Events of a generator that repeats those of a training set that was drawn again."""
    generator = torch.Generator().manual_seed(seed)
    own = training[torch.randint(len(training), (len(training),), generator=generator)]
    return own[torch.randint(len(own), (MADE,), generator=generator)]


def fitted(training: Tensor, seed: int) -> Tensor:
    """Events of a normal distribution that was fitted to a training set that was drawn again."""
    generator = torch.Generator().manual_seed(seed)
    own = training[torch.randint(len(training), (len(training),), generator=generator)]
    return own.mean(0) + own.std(0) * drawn(MADE, seed + 10_000)


def ensemble(make, cells: Cells, training: Tensor) -> Tensor:  # type: ignore[no-untyped-def]
    return torch.stack([cells.shares(make(training, seed)) for seed in range(NETWORKS)])


SIZES = [float(MADE)] * NETWORKS


@pytest.mark.parametrize("axes", [1, 2, 4])
def test_cells_have_equal_content(axes: int) -> None:
    cells = Cells(drawn(4000, 0, axes), 3)
    assert len(cells) == 3**axes
    shares = cells.shares(drawn(8000, 1, axes))
    assert float(shares.sum()) == pytest.approx(1)
    assert float((shares * len(cells) - 1).abs().max()) < 10 / math.sqrt(8000 / len(cells))
    with pytest.raises(UserError, match="need as many events"):
        Cells(drawn(5, 0, axes), 6)


def test_copies_of_the_training_events_amplify_nothing() -> None:
    cells = Cells(drawn(4000, 0), 5)
    found = amplification(ensemble(copier, cells, drawn(TRAINED, 1)), SIZES, TRAINED)
    assert found.median == pytest.approx(1, abs=0.2)
    assert 0 < found.error < 0.3
    assert found.worst < found.median
    few = amplification(ensemble(copier, cells, drawn(TRAINED, 1)), SIZES, TRAINED, TRAINED)
    assert few.median == pytest.approx(0.5, abs=0.1), "as many generated as training events"


def test_a_model_that_knows_the_shape_amplifies_in_narrow_cells() -> None:
    training = drawn(TRAINED, 1)
    gains = []
    for parts in (2, 10):
        cells = Cells(drawn(8000, 0)[:, :1], parts)
        shares = torch.stack([
            cells.shares(fitted(training, seed)[:, :1]) for seed in range(NETWORKS)
        ])  # fmt: skip
        gains.append(amplification(shares, SIZES, TRAINED).median)
    assert gains[0] > 1
    assert gains[1] > 1.5 * gains[0]


def test_the_spread_of_the_ensemble_is_that_of_the_training_sets() -> None:
    cells, known = Cells(drawn(40_000, 0), 4), torch.full((16,), 1 / 16)
    found = []
    for trial in range(20):
        shares = ensemble(copier, cells, drawn(TRAINED, 100 + trial))
        found.append(pulls(shares, SIZES, known, 40_000))
    assert 0.8 < float(torch.cat(found).std()) < 1.2
    expected = math.sqrt(1 / 16 * 15 / 16 / TRAINED)
    assert float(model_spread(shares, SIZES).mean()) == pytest.approx(expected, rel=0.15)


def test_weights_of_generated_events_enter_the_shares() -> None:
    cells = Cells(drawn(4000, 0)[:, :1], 2)
    x = torch.tensor([[-1.0], [-1.0], [1.0]]).double()
    assert cells.shares(x, torch.tensor([1.0, 1.0, 2.0]).double()).tolist() == [0.5, 0.5]


def test_a_spread_needs_networks() -> None:
    with pytest.raises(UserError, match="needs 5 networks, got 3"):
        amplification(torch.full((3, 2), 0.5), [10.0] * 3, 10)


def test_the_differential_gain_of_true_events_is_their_number_over_the_training_events() -> None:
    reference, truth = drawn(3000, 0, 1)[:, 0], drawn(2400, 1, 1)[:, 0]
    found = [differential(reference, truth, drawn(300, s, 1)[:, 0], 150) for s in range(10, 22)]
    gains = [
        item.gain if not math.isnan(item.gain) else item.at_least for item in found
    ]  # a single observable fluctuates: some are nearer than all true samples
    assert np.median(gains) == pytest.approx(2, rel=0.4)
    assert all(item.error > 0 for item in found if not math.isnan(item.gain))
    p = [item.p for item in found]
    assert 0.2 < np.mean(p) < 0.8
    wrong = differential(reference, truth, drawn(300, 3, 1)[:, 0] + 0.5, 150)
    assert np.nanmax([wrong.gain, wrong.at_most]) < 0.5
    assert wrong.p < 1e-6


def test_the_summary_is_the_ratio_of_densities_and_finds_a_correlation() -> None:
    def related(n: int, seed: int) -> Tensor:
        x = drawn(n, seed)
        return torch.stack([x[:, 0], 0.6 * x[:, 0] + 0.8 * x[:, 1]], 1)

    true, other, made = summary(drawn(2000, 0), drawn(1000, 1), related(1000, 2))
    assert len(true) == 1000
    assert len(other) == 1000
    assert len(made) == 500
    found = differential(true, other, made, 500)
    assert np.nanmax([found.gain, found.at_most]) < 0.3
    assert float(made.mean()) > float(other.mean())
    assert (
        nplm(drawn(1000, 3), related(200, 4), 2.0)[0] > nplm(drawn(1000, 3), drawn(200, 5), 2.0)[0]
    )
