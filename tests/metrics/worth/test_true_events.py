"""Truth against truth with Geant4's photons: what true events are worth, and how well they fit.

The folder ``SIMULACRA_TRUTH`` holds ``calochallenge_ds1_photons_*.hdf5`` with 30,000 events or more, of which
20,000 are the reference, at all energies. About two minutes of one core:

    SIMULACRA_TRUTH=FOLDER python -m pytest -m faults tests/metrics/worth/test_true_events.py -o log_cli=true
"""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import kstest
from torch import Tensor

from simulacra import data
from simulacra.core import Batch
from simulacra.metrics.distances.nplm import nplm, width_of
from simulacra.metrics.distances.prdc import standardised
from simulacra.metrics.engine.columns import table
from simulacra.metrics.engine.null import against
from simulacra.metrics.engine.sample import Sample, reduce
from simulacra.metrics.worth.averaging import Cells, amplification
from simulacra.metrics.worth.equivalent import equivalent_of
from support import composed

log = logging.getLogger(__name__)
REFERENCE, DRAWS, SEED = 20_000, 20, 5
pytestmark = [pytest.mark.faults, pytest.mark.timeout(3000)]


@pytest.fixture(scope="module")
def showers() -> tuple[Batch, Sample, data.base.EventDataModule]:
    folder = os.environ.get("SIMULACRA_TRUTH")
    if not folder:
        pytest.skip("SIMULACRA_TRUTH names no folder of events")
    module = data.build(composed("data", "data=ds1_photons"))
    files = sorted(Path(folder).glob("calochallenge_ds1_photons_*.hdf5"))
    events = Batch.cat([module.format.read(path) for path in files])
    events = events[torch.from_numpy(np.random.default_rng(SEED).permutation(len(events)))]
    return events, reduce(events, module.observables), module


def observables(sample: Sample) -> Tensor:
    return table(sample, [name for name, column in sample.columns.items() if column.scalar])


@pytest.mark.parametrize("n", [300, 1000, 3000])
def test_true_events_are_worth_their_number(n: int, showers) -> None:  # type: ignore[no-untyped-def]
    values = observables(showers[1])
    reference, rest = values[:REFERENCE], values[REFERENCE:]
    found = []
    for seed in range(DRAWS):
        order = torch.from_numpy(np.random.default_rng(seed).permutation(len(rest)))
        found.append(equivalent_of(reference, rest[order[n:]], rest[order[:n]], seed))
    numbers = np.array([item.value for item in found])
    errors = np.array([item.error for item in found])
    spread = float(numbers.std(ddof=1))
    log.info("%d: mean %.0f, spread %.0f, error %.0f", n, numbers.mean(), spread, errors.mean())
    assert numbers.mean() == pytest.approx(n, rel=0.2)
    assert 0.6 < errors.mean() / spread < 1.7


def shuffled(made: Batch, groups: list[Tensor]) -> Batch:
    """Each voxel from another shower of the same group of events."""
    x, generator = made.x.clone(), torch.Generator().manual_seed(0)
    for same in groups:
        order = torch.rand(len(same), x.shape[1], generator=generator).argsort(0)
        x[same] = made.x[same].gather(0, order)
    return Batch(x, made.cond)


def test_shuffled_voxels_are_worth_less_than_thirty_events(showers) -> None:  # type: ignore[no-untyped-def]
    """Among all showers; among those of one energy, which keeps what it fixes, the worth is logged."""
    events, sample, module = showers
    made, values = events[torch.arange(REFERENCE, REFERENCE + 5000)], observables(sample)
    energy = made.cond["incident_energy"][:, 0]
    alike = [(energy == value).nonzero()[:, 0] for value in energy.unique()]
    reference, truth = values[:REFERENCE], values[REFERENCE + 5000 :]
    found = {}
    for name, groups in (("all", [torch.arange(5000)]), ("one energy", alike)):
        wrong = observables(reduce(shuffled(made, groups), module.observables))
        found[name] = equivalent_of(reference, truth, wrong)
    asked = events.cond["incident_energy"][:, 0] == energy.unique()[3]
    alone = [
        observables_at[asked[window]]
        for observables_at, window in (
            (reference, slice(0, REFERENCE)),
            (truth, slice(REFERENCE + 5000, None)),
            (wrong, slice(REFERENCE, REFERENCE + 5000)),
        )
    ]
    log.info("shuffled: %s; at one energy: %s", found, equivalent_of(alone[0], alone[1], alone[2]))
    assert np.nanmax([found["all"].value, found["all"].at_most]) < 30


@pytest.mark.parametrize("axes", [1, 2, 4])
def test_copiers_of_training_sets_that_were_drawn_again_amplify_nothing(axes: int, showers) -> None:  # type: ignore[no-untyped-def]
    values = observables(showers[1])
    columns = torch.tensor([0, 2, 3, 14][:axes])  # response, energies of two layers, a width
    trained, made, networks, rng = 3000, 20_000, 30, np.random.default_rng(0)
    chosen = values[:, columns]
    cells = Cells(chosen[:REFERENCE], {1: 20, 2: 5, 4: 2}[axes])
    training = chosen[REFERENCE : REFERENCE + trained]
    shares = []
    for _ in range(networks):
        own = training[torch.from_numpy(rng.integers(trained, size=trained))]
        shares.append(cells.shares(own[torch.from_numpy(rng.integers(trained, size=made))]))
    found = amplification(torch.stack(shares), [float(made)] * networks, trained)
    log.info("%d: median %.2f ± %.2f, worst %.2f", axes, found.median, found.error, found.worst)
    assert found.median == pytest.approx(1, abs=0.2)


def test_p_values_of_the_test_of_fit_are_uniform(showers) -> None:  # type: ignore[no-untyped-def]
    features = showers[1].features
    varies = (features != features[0]).any(0)
    rows = standardised(features[:, varies], features[:REFERENCE, varies]).clamp(-10, 10)
    width, generator = width_of(rows), torch.Generator().manual_seed(0)
    times: list[float] = []

    def toy() -> float:
        order = torch.randperm(len(rows), generator=generator)
        before = time.process_time()
        found = nplm(rows[order[:10_000]], rows[order[10_000:11_000]], width, generator=generator)
        times.append(time.process_time() - before)
        return found[0]

    null = torch.tensor([toy() for _ in range(400)])
    pairs = [against(null, toy()) for _ in range(100)]
    uniform = float(kstest([p for _, p in pairs], "uniform").pvalue)
    log.info(
        "KS p %.2f, width of z %.2f, null %.1f ± %.1f, %.2f s per toy",
        uniform, np.std([z for z, _ in pairs]), null.mean(), null.std(), np.mean(times),
    )  # fmt: skip
    assert uniform > 0.05
    assert np.mean(times) < 2


@pytest.mark.parametrize(("name", "least"), [("correlation", 5), ("width", 3)])
def test_the_power_of_the_test_of_fit(name: str, least: float) -> None:
    """Five normal features, 12,000 true and 2,400 generated events."""
    generator = torch.Generator().manual_seed(0)

    def normal(n: int) -> Tensor:
        return torch.randn(n, 5, generator=generator, dtype=torch.float64)

    def wrong() -> Tensor:
        x = normal(2400)
        if name == "width":
            x[:, 0] *= 1.1
        else:
            x[:, 1] = 0.2 * x[:, 0] + 0.96**0.5 * x[:, 1]
        return x

    width = width_of(normal(1000))

    def statistic(made: Tensor) -> float:
        return nplm(normal(12_000), made, width, generator=generator)[0]

    null = torch.tensor([statistic(normal(2400)) for _ in range(40)])
    found = float(np.median([against(null, statistic(wrong()))[0] for _ in range(9)]))
    log.info("%s: median z %.1f", name, found)
    assert found > least
