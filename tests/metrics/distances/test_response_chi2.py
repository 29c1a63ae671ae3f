"""Chi2 of the seen energy: its law for equal samples, weights, and what never is a figure."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from simulacra import dataset
from simulacra.core import Batch
from simulacra.metrics import Evaluator
from simulacra.metrics.distances.response_chi2 import chi2, response_chi2
from simulacra.metrics.engine.score import NotRun, judged
from simulacra.metrics.engine.suite import flat
from simulacra.physics.base import ObservableSet

SCORES = {"chi2": response_chi2}


def normal(n: int, seed: int) -> torch.Tensor:
    return torch.randn(n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def spoil(values: torch.Tensor) -> torch.Tensor:
    """The first value is none."""
    return values.index_fill(0, torch.tensor([0]), math.nan)


def same(n: int) -> torch.Tensor:
    return torch.ones(n, dtype=torch.float64)


@pytest.fixture(scope="module")
def photons() -> tuple[Batch, Batch, ObservableSet]:
    data = dataset("ds1_photons")
    return data.batch(2000, "test"), data.batch(2000), data.observables


@pytest.mark.parametrize("sizes", [(300, 300), (2000, 300), (300, 2000)])
def test_equal_distributions_have_one_in_the_mean_at_any_number_of_events(
    sizes: tuple[int, int],
) -> None:
    n, m = sizes
    found = [
        chi2((normal(n, 2 * k), same(n)), (normal(m, 2 * k + 1), same(m)), 10) for k in range(300)
    ]
    ratios = torch.tensor([value / ndf for value, ndf in found])
    assert {ndf for _, ndf in found} == {9}
    assert float(ratios.mean()) == pytest.approx(1.0, abs=4 * math.sqrt(2 / 9 / 300))
    assert float(ratios.std()) == pytest.approx(math.sqrt(2 / 9), rel=0.25)


def test_it_is_the_sum_of_the_formula() -> None:
    truth = torch.tensor([1.0, 2.0, 3.0, 4.0], dtype=torch.float64)
    made = torch.tensor([0.0, 1.0, 2.0, 9.0, 9.0, 9.0], dtype=torch.float64)
    weight = torch.tensor([1.0, 1.0, 2.0, 1.0, 1.0, 1.0], dtype=torch.float64)
    # bins below and from the third value on: v = (2, 2) of 4, w = (4, 3) of 7, squares 2, 2 and 6, 3
    wanted = 2**2 / (7**2 * 2 + 4**2 * 6) + 2**2 / (7**2 * 2 + 4**2 * 3)
    value, ndf = chi2((truth, same(4)), (made, weight), 2)
    assert value == pytest.approx(wanted)
    assert ndf == 1


def test_events_beyond_the_truth_count() -> None:
    truth = normal(500, 0), same(500)
    assert chi2(truth, (normal(500, 1) + 100, same(500)), 10)[0] > 500


def test_a_wrong_energy_scale_and_a_wrong_width_are_found_and_named(
    photons: tuple[Batch, Batch, ObservableSet],
) -> None:
    reference, truth, observables = photons
    judge = Evaluator(reference, observables, scores=SCORES, replicas=0)
    good = judge(truth).metrics
    assert good["test/chi2"] == pytest.approx(1.0, abs=0.5)
    assert good["test/chi2/floor"] == pytest.approx(1.0, abs=0.5)
    assert good["test/chi2/error"] < 0.5
    high = truth.cond["incident_energy"] > 3000.0
    shifted = judge(replace(truth, x=torch.where(high, 1.05 * truth.x, truth.x))).metrics
    assert shifted["test/chi2"] > 3 * good["test/chi2"]
    assert shifted["test/chi2/256MeV"] == good["test/chi2/256MeV"]
    assert shifted["test/chi2/8192MeV"] > 5 * good["test/chi2/8192MeV"]


def test_a_weight_of_two_is_two_events(photons: tuple[Batch, Batch, ObservableSet]) -> None:
    """In the sums; fewer events that weigh more are less certain than several that weigh one."""
    reference, truth, observables = photons
    true = judged(reference, observables)
    weight = 1.0 + (torch.arange(2000) % 3 == 0).float()
    weighted = response_chi2(true, judged(replace(truth, weight=weight), observables), 0)["chi2"]
    repeated = truth[torch.repeat_interleave(torch.arange(2000), weight.long())]
    several = response_chi2(true, judged(repeated, observables), 0)["chi2"]
    assert weighted.value < several.value
    plain = response_chi2(true, judged(truth, observables), 0)["chi2"]
    alike = judged(replace(truth, weight=torch.full((2000,), 3.0)), observables)
    assert response_chi2(true, alike, 0)["chi2"].value == pytest.approx(plain.value)


def test_nan_is_no_figure(photons: tuple[Batch, Batch, ObservableSet]) -> None:
    value, _ = chi2((normal(100, 0), same(100)), (normal(100, 1) * math.nan, same(100)), 10)
    assert math.isnan(value)
    reference, truth, observables = photons
    made = judged(truth, observables)
    assert made.sample.response is not None
    asked, seen = made.sample.response
    spoiled = replace(made, sample=replace(made.sample, response=(asked, spoil(seen))))
    found = response_chi2(judged(reference, observables), spoiled, 0)
    wrong = {key for key, figure in found.items() if math.isnan(figure.value)}
    assert wrong == {"chi2", f"chi2/{float(asked[0]):g}MeV"}
    assert "test/chi2" not in flat(found.items())


def test_few_events_of_every_energy_are_not_judged(
    photons: tuple[Batch, Batch, ObservableSet],
) -> None:
    reference, truth, observables = photons
    with pytest.raises(NotRun, match="at least 30 events"):
        response_chi2(judged(reference, observables), judged(truth[:40], observables), 0)
