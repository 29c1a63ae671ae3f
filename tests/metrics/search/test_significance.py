"""Significance improvement, background sculpting and excesses against counts and closed forms."""

from __future__ import annotations

import math

import pytest
import torch
from scipy.stats import kstest
from sklearn.metrics import roc_auc_score

from simulacra.core import UserError
from simulacra.metrics.search.excess import excess
from simulacra.metrics.search.sculpting import sculpting
from simulacra.metrics.search.significance import significance


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def shifted(n: int, seed: int = 0, by: float = 1.5) -> tuple[torch.Tensor, torch.Tensor]:
    """Scores of normal background and of signal that lies higher."""
    signal = torch.arange(n) < n // 2
    return torch.randn(n, generator=generator(seed)) + by * signal, signal


def test_a_curve_counts_events_above_each_cut() -> None:
    score = torch.tensor([3.0, 2.0, 2.0, 1.0, 0.0, -1.0])
    signal = torch.tensor([True, True, False, False, True, False])
    found = significance(score, signal)
    assert found.cut.tolist() == [3, 2, 1, 0, -1]  # events of one score are cut together
    torch.testing.assert_close(found.signal, torch.tensor([1, 2, 2, 3, 3]).double() / 3)
    torch.testing.assert_close(found.background, torch.tensor([0, 1, 2, 2, 3]).double() / 3)
    assert found.events.tolist() == [0, 1, 2, 2, 3]
    assert math.isinf(float(found.sic[0]))
    assert float(found.sic[1]) == pytest.approx(2 / 3 / math.sqrt(1 / 3))
    relative = (1 / 3) / (2 / 3 * 3) + (2 / 3) / (1 / 3 * 3) / 4  # of binomial shares
    assert float(found.error[1] / found.sic[1]) == pytest.approx(math.sqrt(relative))
    assert found.auc == pytest.approx(roc_auc_score(signal, score))


def test_the_maximum_keeps_enough_background_events() -> None:
    score, signal = shifted(4000, by=3)
    curve = significance(score, signal)
    found = curve.figures(25)
    assert found["max_sic/background"] * 2000 >= 25
    assert found["max_sic"] == float(curve.sic[curve.events >= 25].max())
    assert curve.figures(400)["max_sic"] < found["max_sic"]
    with pytest.raises(UserError, match="at 2001 background events or more"):
        curve.best(2001)
    assert float(curve.background[curve.at(0.1)]) == pytest.approx(0.1, abs=1e-3)


def test_the_error_is_the_scatter_of_repetitions() -> None:
    level = 1.0
    found = []
    for seed in range(200):
        curve = significance(*shifted(1000, seed))
        k = int((curve.cut >= level).sum()) - 1
        found.append((float(curve.sic[k]), float(curve.error[k])))
    values, errors = torch.tensor(found).T
    assert float(values.std() / errors.mean()) == pytest.approx(1, abs=0.15)
    above = 0.5 * torch.erfc(torch.tensor([level - 1.5, level]).double() / math.sqrt(2))
    assert float(values.mean()) == pytest.approx(float(above[0] / above[1].sqrt()), rel=0.01)


def test_a_weight_of_two_is_two_events_and_enters_the_error() -> None:
    score, signal = shifted(300)
    weight = torch.ones(300)
    weight[::3] = 2
    twice = torch.repeat_interleave(torch.arange(300), weight.long())
    one, two = significance(score, signal, weight), significance(score[twice], signal[twice])
    torch.testing.assert_close(one.sic, two.sic)
    assert one.auc == pytest.approx(two.auc)
    assert bool(
        (one.error[60:240] > two.error[60:240]).all()
    )  # one event of weight two tells less than two
    scaled = significance(score, signal, 7 * weight)
    torch.testing.assert_close(scaled.error, one.error, equal_nan=True)


def test_what_has_no_significance_is_refused() -> None:
    score, signal = shifted(10)
    with pytest.raises(UserError, match="1 of 10 scores are NaN"):
        significance(score.index_fill(0, torch.tensor([3]), math.nan), signal)
    for mask, weight in ((signal | True, None), (signal, -torch.ones(10))):
        with pytest.raises(UserError, match="events of signal and of background"):
            significance(score, mask, weight)


def test_a_score_that_follows_the_mass_sculpts_it_and_one_of_chance_does_not() -> None:
    mass = 3 + torch.randn(4000, generator=generator()).abs()
    chance = torch.rand(4000, generator=generator(1))
    free = sculpting(mass, chance, 0.05)
    assert abs(free["sculpting/sigma"]) < 3
    # as many values as are kept differ by sqrt(pi / 2) ln 2 / sqrt(n) in the mean
    assert free["sculpting/floor"] == pytest.approx(0.8687 / math.sqrt(200), rel=0.1)
    bound = sculpting(mass, mass + chance, 0.05)
    assert bound["sculpting"] > 0.6
    assert bound["sculpting/sigma"] > 10
    alike = sculpting(mass, mass + chance, 0.05, torch.full((4000,), 3.0))
    assert alike["sculpting"] == pytest.approx(bound["sculpting"])
    with pytest.raises(UserError, match="is no cut"):
        sculpting(mass, chance, 1e-4)


def smooth(n: int, seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Generator]:
    """Masses of a falling spectrum, and a cut that keeps more of them the higher they are."""
    g = generator(seed)
    mass = 2.5 - 0.8 * torch.rand(n, generator=g, dtype=torch.float64).log()
    share = torch.sigmoid(-4 + 0.6 * (mass - 3.5) - 0.1 * (mass - 3.5) ** 2)
    return mass, torch.rand(n, generator=g) < share, g


def test_p_values_behind_a_cut_are_uniform_without_an_excess() -> None:
    found = [excess(*smooth(8000, seed)[:2], (3.3, 3.7)) for seed in range(100)]
    assert kstest([item["p"] for item in found], "uniform").pvalue > 0.01
    z = torch.tensor([item["z"] for item in found])
    assert abs(float(z.mean())) < 0.35
    assert float(z.std()) == pytest.approx(1, abs=0.2)
    mean = sum(item["kept"] / item["expected"] for item in found) / 100
    assert mean == pytest.approx(1, abs=0.07)


def test_an_excess_within_the_window_is_seen_with_its_size() -> None:
    mass, kept, g = smooth(20000, 0)
    more = 3.3 + 0.4 * torch.rand(60, generator=g, dtype=torch.float64)
    both = torch.cat([mass, more]), torch.cat([kept, torch.ones(60, dtype=torch.bool)])
    plain, found = excess(mass, kept, (3.3, 3.7)), excess(*both, (3.3, 3.7))
    assert found["kept"] == plain["kept"] + 60
    assert found["expected"] == pytest.approx(plain["expected"], rel=0.05)
    assert found["p"] < 1e-5
    heavy = excess(*both, (3.3, 3.7), torch.full((20060,), 2.0))
    assert heavy["expected"] == pytest.approx(2 * found["expected"])
    assert heavy["z"] == pytest.approx(found["z"])
    with pytest.raises(UserError, match="got 0 within"):
        excess(mass, kept, (0.1, 0.2))
    with pytest.raises(UserError, match="kept beside"):
        excess(mass, kept & False, (3.3, 3.7))
