"""Errors of spectra that hold several values per event: whole events fluctuate."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from simulacra.core import Batch, Field, Spec
from simulacra.metrics import evaluate
from simulacra.physics.base import Axis, ObservableSet
from simulacra.plotting.figures import _panel

N, VALUES = 400, 30
SPEC = Spec("toy", "table", (VALUES,), "GeV", tuple(Field(f"f{i}") for i in range(VALUES)))


class Spectrum(ObservableSet):
    """Thirty values per event, and the first of them."""

    def __call__(self, batch: Batch) -> dict[str, Tensor]:
        return {"all": batch.x, "first": batch.x[:, 0]}

    def axes(self) -> dict[str, Axis]:
        return {name: Axis(name, "GeV", 12, -3.0, 3.0) for name in ("all", "first")}

    def features(self, batch: Batch) -> Tensor:
        return batch.x


def events(seed: int, common: float) -> Batch:
    """Values around a number that those of an event share."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(N, VALUES, generator=generator) * 0.5
    return Batch(x + common * torch.randn(N, 1, generator=generator), {})


@pytest.mark.parametrize("weighted", [False, True])
def test_the_error_of_a_spectrum_is_that_of_a_bootstrap_of_events(weighted: bool) -> None:
    generator, numbers = torch.Generator().manual_seed(5), np.random.default_rng(0)
    truth = events(0, 0.8)
    weight = 0.5 + torch.rand(N, generator=generator) if weighted else torch.ones(N)
    truth = Batch(truth.x, {}, weight=weight)
    result = evaluate(truth, events(1, 0.8), Spectrum(SPEC), scores={}, replicas=0)
    panel = _panel(result, "all")
    edges = np.linspace(-3, 3, 13)
    per_event = np.stack([np.histogram(row, edges)[0] for row in truth.x.double().numpy()])
    draws = []
    for _ in range(1500):
        counts = (numbers.poisson(1, N) * weight.double().numpy()) @ per_event
        draws.append(counts / counts.sum())
    filled = panel.reference > 1e-3
    np.testing.assert_allclose(panel.reference_error[filled], np.std(draws, 0)[filled], rtol=0.12)
    values = np.sqrt(panel.reference / (N * VALUES))  # of values that are independent
    assert np.median(panel.reference_error[filled] / values[filled]) > 2


def test_independent_values_and_single_ones_have_the_error_of_counting() -> None:
    result = evaluate(events(0, 0.0), events(1, 0.0), Spectrum(SPEC), scores={}, replicas=0)
    many, single = _panel(result, "all"), result.histograms["first"]
    filled = many.reference > 1e-3
    counting = np.sqrt(many.reference * (1 - many.reference) / (N * VALUES))
    np.testing.assert_allclose(many.reference_error[filled], counting[filled], rtol=0.2)
    np.testing.assert_array_equal(single.variances[0], single.reference)
