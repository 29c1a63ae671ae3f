"""Precision, recall, density and coverage against the plain definition, in memory and of showers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from simulacra.core import Batch
from simulacra.metrics.distances import neighbours
from simulacra.metrics.distances.neighbours import nearest, radii
from simulacra.metrics.distances.prdc import PRDC, feature_prdc, prdc, shower_prdc, standardised
from simulacra.metrics.engine.score import NotRun, judged


def plain(real: np.ndarray, fake: np.ndarray, k: int = 5) -> dict[str, float]:
    def distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.linalg.norm(a[:, None] - b[None], axis=2)

    ends = [np.sort(distances(x, x), axis=1)[:, k] for x in (real, fake)]  # itself comes first
    between = distances(real, fake)
    inside = between < ends[0][:, None]
    return {
        "precision": inside.any(0).mean(),
        "recall": (between < ends[1][None]).any(1).mean(),
        "density": inside.sum(0).mean() / k,
        "coverage": (between.min(1) < ends[0]).mean(),
    }


def pair(n: int = 230, m: int = 170, features: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    x, y = (
        torch.randn(size, features, generator=generator, dtype=torch.float64) for size in (n, m)
    )
    return x, 1.2 * y + 0.2


def values(figures) -> dict[str, float]:  # type: ignore[no-untyped-def]
    return {name.removeprefix("prdc/"): figure.value for name, figure in figures.items()}


@pytest.mark.parametrize("rows", [24, 4096])
@pytest.mark.parametrize("k", [1, 5])
def test_figures_are_those_of_the_definition_for_any_blocks(
    rows: int, k: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(neighbours, "BLOCK_ROWS", rows)
    x, y = pair()
    assert values(prdc(x, y, k)) == pytest.approx(plain(x.numpy(), y.numpy(), k), abs=1e-12)


@pytest.mark.parametrize("rows", [8, 16, 4096])
def test_neighbours_are_those_of_all_distances(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "BLOCK_ROWS", rows)
    x, y = pair(61, 45)
    everything = torch.cdist(x, y)
    torch.testing.assert_close(nearest(x, y), everything.amin(1))
    own = torch.cdist(x, x).fill_diagonal_(torch.inf).sort(1).values
    torch.testing.assert_close(radii(x, 3), own[:, 2])


def test_collapse_is_a_high_density_with_a_low_recall() -> None:
    generator = torch.Generator().manual_seed(1)
    truth = [torch.randn(600, 30, generator=generator) for _ in range(2)]
    collapsed = 0.1 * truth[1]
    good, bad = values(prdc(truth[0], truth[1])), values(prdc(truth[0], collapsed))
    assert good["density"] == pytest.approx(1, abs=0.15)
    assert bad["density"] > 10
    assert bad["recall"] < 0.1 < 0.2 < good["recall"]


@pytest.mark.parametrize("dimensions", [3, 30])
def test_errors_of_shares_are_their_spread_over_samples(dimensions: int) -> None:
    generator = torch.Generator().manual_seed(2)
    pairs = [torch.randn(2, 200, dimensions, generator=generator) for _ in range(60)]
    found = [prdc(*each.unbind(0)) for each in pairs]
    for name in ("precision", "recall", "coverage"):
        spread = np.std([figures[name].value for figures in found])
        error = np.mean([figures[name].error for figures in found])
        assert 0.9 < error / spread < 1.9, name  # a binomial one alone is down to 0.6 of it


def test_an_error_leaves_out_each_event_of_either_sample() -> None:
    x, y = pair(61, 45)
    real = radii(x, 5)
    inside = torch.cdist(x, y) < real[:, None]
    share = inside.any(1).double().mean()
    without = torch.stack(
        [inside[:, torch.arange(45) != j].any(1).double().mean() for j in range(45)]
    )
    expected = share * (1 - share) / 61 + (without - without.mean()).square().sum()
    found = prdc(x, y)["coverage"]
    assert found.value == pytest.approx(float(share))
    assert found.error == pytest.approx(float(expected) ** 0.5)


def test_too_few_events_are_refused() -> None:
    with pytest.raises(NotRun, match="more than 5 events"):
        prdc(torch.randn(5, 2), torch.randn(9, 2))


def test_metric_in_parts_is_the_metric_of_all() -> None:
    x, y = pair()
    whole, first, second = PRDC(), PRDC(), PRDC()
    whole.update(x, y)
    first.update(x[:100], y[:30])
    second.update(x[100:], y[30:])
    first.merge_state(second)
    assert first.compute() == whole.compute()
    assert set(whole.compute()) == {"precision", "recall", "density", "coverage"}


def test_showers_are_compared_in_logarithms_of_their_cells(
    toy, monkeypatch: pytest.MonkeyPatch
) -> None:  # type: ignore[no-untyped-def]
    module = toy("ds1_photons")
    x, y = (module.batch(35, part) for part in ("train", "test"))
    y = replace(y, x=1.3 * y.x)
    monkeypatch.setattr(neighbours, "BLOCK_ROWS", 16)
    reference, generated = (judged(batch, module.observables) for batch in (x, y))

    def features(batch: Batch) -> np.ndarray:
        cells = batch.x.flatten(1).double().numpy()
        cells = np.where(cells < module.spec.cut, 0, cells)
        return np.log10(np.where(cells > 0, cells, 0.1))

    for events in (20, 1000):
        expected = plain(features(x[:events]), features(y[:events]), k=3)
        found = shower_prdc(reference, generated, 0, events=events, k=3)
        assert values(found) == pytest.approx(expected, abs=1e-12)
    assert expected["recall"] < 1


def test_other_events_are_compared_in_standardised_features(toy) -> None:  # type: ignore[no-untyped-def]
    module = toy("jetnet30")
    reference, generated = (
        judged(module.batch(30, p), module.observables) for p in ("train", "test")
    )
    pairs = [item.sample.features for item in (reference, generated)]
    scaled = [standardised(x, pairs[0]).numpy() for x in pairs]
    assert np.abs(scaled[0].mean(0)).max() < 1e-9
    assert set(scaled[0].std(0).round(5)) <= {0.0, 1.0}
    found = feature_prdc(reference, generated, 0, k=3)
    assert values(found) == pytest.approx(plain(*scaled, k=3), abs=1e-12)
    with pytest.raises(NotRun, match="calorimeter"):
        shower_prdc(reference, generated, 0)
