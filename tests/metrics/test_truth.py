"""Truth against truth: pulls of the headline figures against their floors, with the errors that both state.

Pairs are random disjoint parts of 1,500 events of all events that there are (train and test together), with
4,500 others behind the floors; different pairs share events. A pull is the figure minus its floor over the
two errors in quadrature (the floor of an AUC, 0.5, has none). The mean of 40 pulls is known to 0.16 and their
width to 0.11 of it; with 20 pairs other seeds put one or two of some thirty figures just outside. The
folder ``SIMULACRA_TRUTH`` holds Geant4 and Pythia events as ``calochallenge_ds1_photons_*.hdf5``,
``calochallenge_ds2_electrons_*.hdf5`` and ``jets_jetnet/*/t.hdf5``. About forty minutes of one core:

    SIMULACRA_TRUTH=FOLDER python -m pytest -m faults tests/metrics/test_truth.py --log-cli-level=INFO
"""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from simulacra import data
from simulacra.core import Batch
from simulacra.data.base import EventDataModule
from simulacra.metrics import Evaluator
from simulacra.metrics.classifiers.boosted import boosted_score
from simulacra.metrics.classifiers.boosted_low import boosted_low_score
from simulacra.metrics.distances.frechet import feature_distances
from simulacra.metrics.distances.kernel import kpd
from simulacra.metrics.distances.prdc import feature_prdc, shower_prdc
from simulacra.metrics.engine.sample import Sample, reduce
from simulacra.metrics.engine.score import Figure, Judged, Score
from simulacra.metrics.protocols.jets import w1_score
from simulacra.metrics.protocols.jets_features import polynomials
from support import composed

log = logging.getLogger(__name__)
PAIRS, SIZE, PARTS, SEED = 40, 1500, 3, 1
FILES = {
    "ds1_photons": "calochallenge_ds1_photons_*.hdf5",
    "ds2": "calochallenge_ds2_electrons_*.hdf5",
    "jetnet30": "jets_jetnet/*/t.hdf5",
}


def kernel_alone(reference: Judged, generated: Judged, seed: int) -> dict[str, Figure]:
    """KPD; 362 features are more than 1,500 events carry for FPD."""
    return {"kpd": kpd(reference.sample.features, generated.sample.features, batch_size=10_000)}


def jet_masses(reference: Judged, generated: Judged, seed: int) -> dict[str, Figure]:
    return {"w1m": w1_score(reference, generated, seed)["w1m"]}


JUDGES: Mapping[str, Score] = {"boosted": boosted_score, "boosted_low": boosted_low_score}
SHOWERS = {"min_samples": 10_000, "batch_size": 10_000}
SCORES: Mapping[str, Mapping[str, Score]] = {
    "ds1_photons": {"features": partial(feature_distances, **SHOWERS), "prdc": shower_prdc},
    "ds2": {"kernel": kernel_alone, "prdc": shower_prdc},
    "jetnet30": {
        "features": partial(feature_distances, features=polynomials),
        "prdc": feature_prdc,
        "w1m": jet_masses,
    },
}
HEADLINES = (
    *(f"classifier/{name}/auc" for name in JUDGES),
    *("w1_mean", "fpd", "kpd", "w1m"),
    *(f"prdc/{name}" for name in ("precision", "recall", "density", "coverage")),
)


def everything(name: str, module: EventDataModule) -> Batch:
    folder = os.environ.get("SIMULACRA_TRUTH")
    if not folder:
        pytest.skip("SIMULACRA_TRUTH names no folder of events")
    files = sorted(Path(folder).glob(FILES[name]))
    return Batch.cat([module.format.read(path) for path in files])


def part(events: Batch, sample: Sample, module: EventDataModule, index: torch.Tensor) -> Judged:
    """Some events, reduced before."""
    return Judged(events[index], sample.take(index), module.observables)


def pull(metrics: Mapping[str, float], key: str) -> float:
    """How many errors a figure lies above its floor."""
    errors = metrics[f"{key}/error"], metrics.get(f"{key}/floor/error", 0.0)
    return (metrics[key] - metrics[f"{key}/floor"]) / math.hypot(*errors)


def pulls(
    name: str, pairs: int = PAIRS, scores: Mapping[str, Score] = JUDGES
) -> dict[str, list[float]]:
    """Pulls of all headline figures of a data set."""
    change = ["data.classes=[t]"] if name == "jetnet30" else []
    module = data.build(composed("data", f"data={name}", *change))
    events = everything(name, module)
    sample = reduce(events, module.observables)
    numbers = np.random.default_rng(SEED)
    found: dict[str, list[float]] = {}
    for _ in range(pairs):
        order = torch.from_numpy(numbers.permutation(len(events)))
        true, made, rest = order[: (2 + PARTS) * SIZE].split([SIZE, SIZE, PARTS * SIZE])
        judge = Evaluator(
            part(events, sample, module, true),
            module.observables,
            truth=part(events, sample, module, rest),
            scores={**scores, **SCORES[name]},
        )
        metrics = judge(part(events, sample, module, made), "").metrics
        for key in HEADLINES:
            if key in metrics:
                found.setdefault(key, []).append(pull(metrics, key))
    return found


@pytest.mark.faults
@pytest.mark.timeout(9000)
@pytest.mark.parametrize("name", FILES)
def test_truth_scores_its_floor_within_the_errors(name: str) -> None:
    found = pulls(name)
    assert len(found) >= 8
    for key, values in found.items():
        mean, width = float(np.mean(values)), float(np.std(values, ddof=1))
        log.info("%s %s: mean %+.2f, width %.2f", name, key, mean, width)
    for key, values in found.items():
        assert abs(np.mean(values)) < 0.5, key
        assert 0.6 < np.std(values, ddof=1) < 1.5, key
