"""Observables of six quarks: masses of what they come from, in the events that come with the package."""

from __future__ import annotations

import math

import pytest
import torch

from simulacra import data
from simulacra.core import Batch, IncompatibleError
from simulacra.physics.six_quarks import MASSES, SixQuarkObservables
from support import composed, spec_of

SPEC = spec_of("events", None)


def test_the_embedded_events_hold_resonances() -> None:
    module = data.build(composed("data", "data=events"))
    assert module.sizes() == {"train": 14_400, "val": 1_600, "test": 4_000}
    found = module.observables(module.part("test")[range(4_000)])
    for name, mass in (("w_plus", 80.4), ("w_minus", 80.4), ("top", 173.0), ("antitop", 173.0)):
        assert float(found[f"mass_{name}"].median()) == pytest.approx(mass, abs=0.3)
    assert float(found["mass_pair"].min()) > 250
    difference = found["pt_top"] - found["pt_antitop"]
    assert float(difference.abs().max()) < 0.01  # nothing else is radiated
    assert set(found) == set(module.observables.axes())
    assert all(bool(torch.isfinite(value).all()) for value in found.values())


def test_values_of_one_event() -> None:
    x = torch.zeros(1, 24)
    x[0, 4:8] = torch.tensor([5.0, 3.0, 0.0, 4.0])  # q1
    x[0, 8:12] = torch.tensor([5.0, -3.0, 0.0, -4.0])  # q2
    found = SixQuarkObservables(SPEC)(Batch(x, {}))
    assert found["mass_w_plus"].item() == 10
    assert found["mass_top"].item() == 10
    assert found["mass_w_minus"].item() == 0
    assert found["pt_q1"].item() == 3
    assert found["eta_q2"].item() == pytest.approx(-math.asinh(4 / 3))


def test_a_negative_squared_mass_is_zero_and_classifier_inputs_stay_finite() -> None:
    x = torch.ones(2, 24)
    x[:, ::4] = 0.0
    observables = SixQuarkObservables(SPEC)
    assert all(float(observables(Batch(x, {}))[f"mass_{name}"].max()) == 0 for name in MASSES)
    assert bool(torch.isfinite(observables.features(Batch(x, {}))).all())


def test_other_tables_are_refused() -> None:
    with pytest.raises(IncompatibleError, match="table does not hold the four-momenta"):
        SixQuarkObservables(spec_of("table", None))
