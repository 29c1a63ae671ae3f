"""A sample of the truth is worth its number of events, a wrong one is worth fewer."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from simulacra.core import Batch, Field, Prior, Spec
from simulacra.metrics import Evaluator
from simulacra.metrics.engine.score import NotRun
from simulacra.metrics.engine.weighted import Rows
from simulacra.metrics.worth.equivalent import equivalent_n, equivalent_of
from simulacra.metrics.worth.score import compressed, equivalent_n_score
from simulacra.physics.base import Axis, ObservableSet

FEATURES = 12
ALL = {"all": list(range(FEATURES))}


def events(n: int, seed: int) -> Tensor:
    """A dozen observables; one has a spike, one few values."""
    x = torch.randn(n, FEATURES, generator=torch.Generator().manual_seed(seed)).double()
    x[:, 1] += x[:, 0]
    x[:, 2] = x[:, 2].clamp(min=0)
    x[:, 3] = x[:, 3].round()
    return x


REFERENCE, TRUTH = events(3000, 0), events(2400, 1)


@pytest.mark.parametrize("independent", [True, False])
def test_truth_is_worth_its_number_of_events_and_the_error_is_its_spread(independent: bool) -> None:
    truth = Rows(TRUTH) if independent else None
    found = [
        equivalent_n([(Rows(REFERENCE), Rows(events(200, seed)))], truth, ALL, seed)["all"]
        for seed in range(10, 26)
    ]
    values = np.array([item.value for item in found])
    errors = np.array([item.error for item in found])
    assert values.mean() == pytest.approx(200, rel=0.25)
    assert 0.5 < np.mean(errors / values) / np.std(np.log(values)) < 2
    assert all(item.perfect == 200 for item in found)


def test_a_wrong_sample_is_worth_fewer_and_more_events_do_not_help() -> None:
    found = [equivalent_of(REFERENCE, TRUTH, events(n, 3) * 1.1) for n in (1000, 4000)]
    for item in found:
        assert 30 < item.value < 400
        assert 0 < item.error < item.value
    assert found[0].value == pytest.approx(found[1].value, rel=0.6)


def test_beyond_the_ends_of_the_curve_there_are_bounds_and_no_numbers() -> None:
    copy, far = (
        equivalent_of(REFERENCE, TRUTH, REFERENCE),
        equivalent_of(REFERENCE, TRUTH, TRUTH + 9),
    )
    assert math.isnan(copy.value)
    assert math.isnan(copy.error)
    assert copy.at_least == pytest.approx(2400)
    assert math.isnan(copy.at_most)
    assert far.at_most == pytest.approx(10, rel=0.01)
    assert math.isnan(far.value)
    assert math.isnan(far.at_least)


def test_constant_observables_do_not_enter() -> None:
    def wider(x: Tensor) -> Tensor:
        return torch.cat([x, torch.ones(len(x), 1).double()], 1)

    made = events(300, 4)
    assert equivalent_of(REFERENCE, TRUTH, made) == equivalent_of(
        wider(REFERENCE), wider(TRUTH), wider(made)
    )


def test_weights_undo_what_they_are_the_inverse_of() -> None:
    made = events(4000, 5)
    kept = made[torch.rand(4000, generator=torch.Generator().manual_seed(0)) < made[:, 0].sigmoid()]
    weight = 1 / kept[:, 0].sigmoid()
    plain, weighted = (
        equivalent_n([(Rows(REFERENCE), Rows(kept, w))], Rows(TRUTH), ALL)["all"]
        for w in (None, weight)
    )
    assert plain.value < 600
    assert np.nanmax([weighted.value, weighted.at_least]) > 2 * plain.value
    assert weighted.perfect < len(kept)


def test_too_few_true_events_are_refused() -> None:
    with pytest.raises(NotRun, match="200 true events, got 50"):
        equivalent_of(REFERENCE, TRUTH[:50], TRUTH)


SPEC = Spec(
    "toy", "table", (FEATURES,), "GeV", tuple(Field(f"f{i}") for i in range(FEATURES)),
    (Field("incident_energy", "GeV", low=1.0, high=100.0, role="energy"),),
    prior=(Prior("incident_energy", "uniform", (1.0, 100.0)),),
)  # fmt: skip


class Observables(ObservableSet):
    """Two of one category, one of another, one of none."""

    def __call__(self, batch: Batch) -> dict[str, Tensor]:
        return {name: batch.x[:, i] for i, name in enumerate(self.axes())}

    def axes(self) -> dict[str, Axis]:
        kinds = {"energy_1": "energy", "energy_2": "energy", "spike": "width", "steps": ""}
        return {name: Axis(name, category=kind) for name, kind in kinds.items()}

    def features(self, batch: Batch) -> Tensor:
        return batch.x


def batch(n: int, seed: int) -> Batch:
    asked = torch.rand(n, 1, generator=torch.Generator().manual_seed(seed + 1000)) * 99 + 1
    return Batch(events(n, seed), {"incident_energy": asked})


def test_the_score_has_categories_names_its_observables_and_bounds_are_keys_of_their_own() -> None:
    judge = Evaluator(
        batch(1500, 0),
        Observables(SPEC),
        truth=batch(1500, 1),
        scores={"equivalent_n": equivalent_n_score},
    )
    made = batch(400, 2)
    made.x[:, 2] += 9
    result = judge(made, "")
    found = result.metrics
    assert 100 < found["equivalent_n/energy"] < 1500
    assert found["equivalent_n/energy/floor"] == 400
    assert 0 < found["equivalent_n/energy/error"] < found["equivalent_n/energy"]
    assert found["equivalent_n/width/at_most"] == pytest.approx(10, rel=0.01)
    assert "equivalent_n/width" not in found
    assert "equivalent_n" not in found
    assert found["equivalent_n/at_most"] == pytest.approx(10, rel=0.01)
    assert found["equivalent_n/width/at_most/ks"] > 0.5
    note = result.notes["equivalent_n/at_most"]
    assert note.startswith("worse than 10 true events; ")
    assert "in 4 observables (energy: energy_{1,2}; width: spike; in none: steps)" in note
    assert "worse than 10 true events" in result.notes["equivalent_n/width/at_most"]


def test_events_with_the_conditions_of_the_reference_do_not_profit_from_them() -> None:
    """Observables here are the condition itself, so that equal conditions make equal events."""
    reference, truth = batch(1200, 0), batch(2000, 1)
    for item in (reference, truth):
        item.x[:, :] = item.cond["incident_energy"]
    judge = Evaluator(
        reference, Observables(SPEC), truth=truth, scores={"equivalent_n": equivalent_n_score}
    )
    found = judge(reference, "").metrics
    assert found["equivalent_n/floor"] == 600
    assert found["equivalent_n"] < 2000


def test_a_window_of_incident_energies_is_a_choice() -> None:
    judge = Evaluator(
        batch(1500, 0),
        Observables(SPEC),
        truth=batch(1500, 1),
        scores={"n": lambda *pair: equivalent_n_score(*pair, energies=[20.0, 60.0])},
    )
    made = batch(1000, 2)
    inside = (made.cond["incident_energy"] >= 20) & (made.cond["incident_energy"] <= 60)
    assert judge(made, "").metrics["equivalent_n/floor"] == float(inside.sum())


def test_names_that_differ_in_a_number_are_listed_once() -> None:
    assert compressed(["e_1", "e_2", "x", "w_3"]) == "e_{1,2}, x, w_3"
