"""Every figure weighs its events, or says that it takes no weights.

An event of weight two is two equal events, one of weight zero is none, whatever the unit of weights. Every
score of the configuration tree is held to that on events of the smallest data set with its observables:
exactly where nothing is drawn. A score that deals events to folds or batches, in which copies would know each
other, must find in weighted events what it finds in others that were kept in proportion to their weights.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor

from simulacra import data
from simulacra.core import Batch
from simulacra.evaluation.build import build_scores
from simulacra.metrics import EvaluationResult, Evaluator
from simulacra.metrics.engine.score import Figure, NotRun, Score, judged
from simulacra.physics.base import ObservableSet
from support import composed, data_configs, spec_of

MANY = 3000
EVENTS = {"ild_cloud": 1200, "jetclass": 60, "pxd_small": 400, "lemurs": 450, "showerdata": 900}
"""Toy events, of slow ones fewer."""
QUICK = {"ds1_photons", "table"}
"""Data sets whose observables are tried each time, the others with the grid."""
EXACT = {"energies": 900, "reconstruction": 900}
"""Events of each sample behind exact comparisons where 400 do not fill the bins of a score."""
FACTOR = 20
"""Weight of the events on one side of the middle over that of the others."""
BRING_YOUR_OWN = {"fpnd"}
"""Scores that need a file of the user; they have tests of their own."""
OWN_TESTS = {"images"}
"""Scores that toy events tell too little, tested with other events in ``engine/test_weighted.py``."""
GROWING = ("nplm", "reconstruction/sigma", "chi2")
"""Figures in units of what chance does, which is less for more events: samples of other sizes have others."""
INSENSITIVE = {"reconstruction"}
"""Scores of which what is drawn hardly depends on the weights of toys; they have tests of their own."""
SMALL = {
    "epochs": 4,  # longer, and a network knows its events by heart, whatever they weigh
    "batch_size": 200,
    "learning_rate": 2e-3,
    "samples": 1000,
    "min_samples": 400,
    "max_samples": 800,
    "batches": 3,
    "iterations": 5,
    "toys": 5,
    "slices": 10,
}
"""Settings of scores that make them fast, where they have them."""
NETWORK = {
    "_target_": "simulacra.metrics.classifiers.networks.dense",
    "_partial_": True,
    "hidden": [32, 32],
}
RECIPE = {
    "_target_": "simulacra.metrics.classifiers.recipe.Recipe",
    "standardise": True,
    **{key: SMALL[key] for key in ("epochs", "batch_size", "learning_rate")},
}


def small(entry: Any) -> Any:
    """A score's configuration with few draws, small networks and short trainings."""
    if not isinstance(entry, dict):
        return entry
    found = {key: SMALL.get(key, small(value)) for key, value in entry.items()}
    if str(entry.get("_target_", "")).endswith(("NetworkScore", "Posterior")):
        recipe = {**RECIPE, **small(entry.get("recipe") or {})}
        found |= {"network": NETWORK, "recipe": recipe, "trainings": 1, "force": True}
        if "NetworkScore" in entry["_target_"]:
            selected = entry.get("proportions", (1, 1, 1))[1] > 0
            found["proportions"] = [2, int(selected), 2]
    if "cov_mmd" in str(entry.get("_target_", "")):
        found["samples"] = 20
    return found


@cache
def evaluation() -> dict[str, Any]:
    """What all data sets are judged by, at the level that has every score."""
    found = composed("evaluation", "evaluation=challenge")
    return {**found, "scores": small(found["scores"]), "posterior": small(found["posterior"])}


@cache
def config(name: str) -> dict[str, Any]:
    """What an evaluation of a data set is built from."""
    own = data_configs()[name]
    return {
        "data": {**own, "scores": small(own.get("scores") or {})}, "evaluation": evaluation()
    }  # fmt: skip


@cache
def data_sets() -> dict[str, str]:
    """The smallest data set with the same observables, by data set, but for detectors of one's own: toys in
    their few cells tell networks too little.
    """
    public = {n: one for n, one in data_configs().items() if "formats.produced." not in str(one)}
    kinds = {n: type(data.build(one).observables) for n, one in public.items()}
    ordered = sorted(
        kinds,
        key=lambda n: (spec_of(n, None).kind in ("cloud", "table"), spec_of(n, None).n_voxels),
    )
    return {n: next(m for m in ordered if kinds[m] is kinds[n]) for n in ordered}


def entries() -> list[tuple[str, str]]:
    """``(data set, score)`` of every different entry of ``conf/evaluation`` and ``conf/data``."""
    found: dict[str, tuple[str, str]] = {}
    for name in data_sets():
        for group in config(name).values():
            for key, entry in group["scores"].items():
                plain = {k: v for k, v in entry.items() if k not in ("level", "classes")}
                found.setdefault(json.dumps(plain, sort_keys=True), (name, key))
    return sorted(found.values())


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Batch, ObservableSet]]:
    """Shuffled toy events of a data set."""

    @cache
    def make(name: str) -> tuple[Batch, ObservableSet]:
        folder = tmp_path_factory.mktemp(name)
        module = data.build({**data_configs()[name], "root": str(folder)})
        module.write_toy(folder, EVENTS.get(name, MANY))
        batch = Batch.cat([module.batch(MANY, part) for part in ("train", "test")])
        order = torch.randperm(len(batch), generator=torch.Generator().manual_seed(0))
        return batch[order], module.observables

    return make


def weighted(batch: Batch, weight: Tensor) -> Batch:
    return replace(batch, weight=weight.double())


def heavy(batch: Batch, observables: ObservableSet) -> Tensor:
    """Which events lie on one side of the middle, in what the high-level inputs share."""
    features = observables.features(batch).double()
    scaled = (features - features.mean(0)) / features.std(0).clamp(min=1e-9)
    along = scaled @ torch.linalg.svd(scaled, full_matrices=False).Vh[0]
    return along > along.median()


def uneven(n: int) -> Tensor:
    """Weights without a unit."""
    return 0.01 * (0.5 + torch.rand(n, generator=torch.Generator().manual_seed(7)).double())


def twice(batch: Batch, observables: ObservableSet) -> tuple[Batch, Batch]:
    """Some events with twice their weights, and the same events repeated."""
    weight, chosen = uneven(len(batch)), heavy(batch, observables)
    copies = weighted(batch, weight)[torch.arange(len(batch)).repeat_interleave(1 + chosen.long())]
    return weighted(batch, weight * (1 + chosen)), copies


def with_nothing(batch: Batch, others: Batch) -> Batch:
    """Other events of weight zero behind the events, which weigh unevenly."""
    none = weighted(others, torch.zeros(len(others)))
    return Batch.cat([weighted(batch, uneven(len(batch))), none])


def run(
    score: Score, batches: tuple[Batch, Batch, Batch], observables: ObservableSet, seed: int = 0
) -> dict[str, Figure]:
    """Figures of true, generated and training events."""
    true, made, training = (judged(batch, observables) for batch in batches)
    found = score(replace(true, training=training), made, seed)
    return dict(_distance(key, figure) for key, figure in found.items())


def _distance(key: str, figure: Figure) -> tuple[str, Figure]:
    """In place of a number of events, which repeated events raise, the distance that it comes from."""
    if "ks" not in figure.details:
        return key, figure
    plain = key.removesuffix("/at_least").removesuffix("/at_most")
    return plain, replace(figure, value=figure.details["ks"])


def differ(first: Mapping[str, Figure], second: Mapping[str, Figure]) -> set[str]:
    """Keys of figures that are not equal, up to rounding: products in float32 may cost a thousandth of the
    error.
    """
    assert first.keys() == second.keys()
    return {key for key in first if not _equal(first[key], second[key])}


def _equal(first: Figure, second: Figure) -> bool:
    error = first.error if first.error is not None and math.isfinite(first.error) else 0.0
    rounding = max(1e-11, 1e-3 * error)
    return first.value == pytest.approx(second.value, rel=1e-6, abs=rounding, nan_ok=True)


SCORES = [(name, key) for name, key in entries() if key not in OWN_TESTS]


def test_every_score_is_found() -> None:
    names = {name for _, name in SCORES}
    assert {"boosted", "features", "prdc", "memorisation", "high", "low", "low_normed"} <= names
    assert {"correlation", "energies", "splits", "caloclouds", "jets", "kl", "sensors"} <= names
    assert len(SCORES) >= 20


@pytest.mark.grid
@pytest.mark.parametrize(("name", "key"), SCORES)
def test_a_score_weighs_its_events_or_takes_no_weights(name: str, key: str, pool) -> None:  # type: ignore[no-untyped-def]
    score = build_scores(config(name))[key]
    batch, observables = pool(data_sets()[name])
    third = min(len(batch) // 3, EXACT.get(key, 400))
    true, made, rest = (batch[i * third : (i + 1) * third] for i in range(3))
    try:
        plain = run(score, (true, made, rest), observables)
    except NotRun:
        assert key in BRING_YOUR_OWN
        return
    again = run(score, (true, made, rest), observables, seed=1)
    drawn = {k for k in plain if plain[k].value != again[k].value}
    inexact: set[str] = set()
    moved = False
    for side in ("reference", "generated"):

        def figures(other: Batch, side: str = side) -> dict[str, Figure]:
            pair = (other, made) if side == "reference" else (true, other)
            return run(score, (*pair, rest), observables)

        mine = true if side == "reference" else made
        left_out = figures(weighted(mine, uneven(third)))
        assert not differ(figures(with_nothing(mine, rest)), left_out)
        doubled, repeated = twice(mine, observables)
        first, second = figures(doubled), figures(repeated)
        second = {key: second[key] for key in first}  # more events may be enough for more figures
        inexact |= {key for key in differ(first, second) if not key.startswith(GROWING)}
        moved |= bool(differ(first, plain))
        for figure in first.values():
            assert figure.error is None or figure.error >= 0
            assert not math.isnan(figure.value) or "takes no weights" in str(figure.note)
    assert moved, "weights change nothing"
    assert inexact <= drawn
    if inexact:
        for swapped in (False, True):
            seen = _in_proportion(score, batch, observables, inexact, swapped)
            assert seen or key in INSENSITIVE, "weights are ignored"


def shown(result: EvaluationResult) -> dict[str, Figure]:
    """All that an evaluation found or drew, as figures."""
    values = {k: v for k, v in result.metrics.items() if not k.endswith(("/error", "/floor"))}
    for name, h in result.histograms.items():
        for side, counts in (("reference", h.reference), ("generated", h.generated)):
            for i, share in enumerate(counts / (counts.sum() or 1.0)):
                values[f"histogram/{name}/{side}/{i}"] = share
    for name, profile in result.profiles.items():
        for i, pair in enumerate(zip(profile.reference, profile.generated, strict=True)):
            values[f"profile/{name}/{i}/reference"], values[f"profile/{name}/{i}/generated"] = pair
    for name, images in result.images.items():
        for side, image in zip(("reference", "generated"), images, strict=True):
            sums = image.values.double()
            for i, value in enumerate([*sums.sum(0), *sums.sum(1)]):
                values[f"image/{name}/{side}/{i}"] = float(value)
    for point in result.response:
        values[f"response/{point.name}/asked"] = point.asked
        for side, m in (("reference", point.reference), ("generated", point.generated)):
            values[f"response/{point.name}/{side}/mean"] = m.mean
            values[f"response/{point.name}/{side}/resolution"] = m.resolution
    if result.correlation is not None:
        for side in ("reference", "generated"):
            for i, value in enumerate(getattr(result.correlation, side).flatten()):
                values[f"correlation/{side}/{i}"] = value
    return {key: Figure(float(value)) for key, value in values.items()}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name in QUICK else pytest.mark.grid)
        for name in sorted(set(data_sets().values()))
    ],
)
def test_figures_and_plots_of_observables_weigh_their_events(
    name: str,
    pool,  # type: ignore[no-untyped-def]
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # their number depends on the effective number of events, which repeated events raise
    monkeypatch.setattr("simulacra.metrics.engine.bins._bins", lambda axis, n: axis.bins)
    # so does which of very many values enter a distance within a bin
    monkeypatch.setattr("simulacra.metrics.engine.conditional.VALUES", 10**9)
    batch, observables = pool(name)
    n = min(len(batch) // 3, 250)
    true, made, rest = (batch[i * n : (i + 1) * n] for i in range(3))
    unit = weighted(made, 1e3 * uneven(n))

    def result(reference: Batch, generated: Batch) -> EvaluationResult:
        judge = Evaluator(reference, observables, scores={}, conditional=True, replicas=2)
        return judge(generated)

    for side in ("reference", "generated"):

        def figures(other: Batch, side: str = side) -> EvaluationResult:
            return result(other, made) if side == "reference" else result(true, other)

        mine = true if side == "reference" else made
        doubled, repeated = twice(mine, observables)
        first, second, plain = (shown(figures(item)) for item in (doubled, repeated, mine))
        for key in first.keys() ^ second.keys():  # bins need 30 events
            assert any(word in key for word in ("response", "resolution", "conditional")), key
        both = first.keys() & second.keys() & plain.keys()
        first, second, plain = ({k: v[k] for k in both} for v in (first, second, plain))
        assert not differ(first, second)
        changed = differ(first, plain)
        for kind in ("test/w1/", "test/separation/", "histogram/", "profile/", "image/"):
            assert any(key.startswith(kind) for key in changed) or not any(
                key.startswith(kind) for key in first
            ), kind
        nothing, left_out = figures(with_nothing(mine, rest)), figures(weighted(mine, uneven(n)))
        assert not differ(shown(nothing), shown(left_out))
        assert nothing.metrics == pytest.approx(left_out.metrics, rel=1e-9)
    assert not differ(shown(result(true, unit)), shown(result(true, weighted(made, uneven(n)))))


def _in_proportion(
    score: Score, batch: Batch, observables: ObservableSet, drawn: set[str], swapped: bool
) -> bool:
    """Weighted events and events that are kept in proportion to the weights give the same figures.

    Returns:
        Whether one of them would be another one without weights.
    """
    n = min(len(batch) // 3, 900)
    true, made, others = (batch[i * n : (i + 1) * n] for i in range(3))
    chosen = heavy(batch, observables)
    weight = torch.where(chosen, float(FACTOR), 1.0)
    odds = weight[2 * n : 3 * n] / FACTOR
    lucky = torch.rand(n, generator=torch.Generator().manual_seed(3)) < odds
    kept = others[lucky]  # against as many, since a divergence wants equal sizes
    pairs = (true, weighted(made, weight[n : 2 * n])), (true[: len(kept)], kept), (true, made)
    found, expected, ignored = (
        run(score, (*(pair[::-1] if swapped else pair), others), observables) for pair in pairs
    )
    shown = False
    for key in drawn:
        width = math.hypot(found[key].error or 0.0, expected[key].error or 0.0)
        assert abs(found[key].value - expected[key].value) < 4 * width, (found[key], expected[key])
        off, off_ignored = (abs(x[key].value - expected[key].value) for x in (found, ignored))
        shown |= off_ignored > 2 * width and off < off_ignored / 2
    return shown
