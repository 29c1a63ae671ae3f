"""Error bands: the spread of networks beside the statistical error, and how often they hold the truth."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from simulacra.core import UserError
from simulacra.metrics import Evaluator
from simulacra.metrics.engine.band import ONE_SIGMA, Band, figures
from simulacra.plotting import figures as draw

BINS, NETWORKS = 400, 30


def sampled(
    relative: float, events: float, seed: int, shift: float = 0.0
) -> tuple[Band, np.ndarray]:
    """A band of networks that scatter by ``relative`` around a wrong or right mean, and a truth's counts."""
    generator = np.random.default_rng(seed)
    shape = 1 + 0.5 * np.sin(np.arange(BINS))
    expected = events * shape / shape.sum()
    centre = expected * (1 + shift * generator.standard_normal(BINS))
    factors = 1 + relative * generator.standard_normal((NETWORKS, BINS))
    counts = [generator.poisson(np.maximum(centre * item, 0)).astype(float) for item in factors]
    return Band.counted([(n, n) for n in counts]), generator.poisson(expected).astype(float)


def test_the_spread_is_that_of_the_networks_without_their_statistical_error():
    band, truth = sampled(0.05, 400.0 * BINS, 0)  # statistical errors of about the same size
    relative = float(np.mean(band.spread / band.mean))
    assert relative == pytest.approx(0.05, rel=0.1)
    np.testing.assert_allclose(
        band.error, np.sqrt(truth / NETWORKS) / truth.sum(), rtol=0.3, atol=1e-9
    )


def test_equal_networks_have_nearly_no_spread():
    band, _ = sampled(0.0, 400.0 * BINS, 1)
    assert (
        float(np.sqrt(np.mean(np.square(band.spread))))
        < 0.4 * np.sqrt(NETWORKS) * band.error.mean()
    )


def test_an_honest_band_covers_the_truth_in_two_thirds_of_the_bins():
    honest, small = (
        figures([(band, truth, truth)])["band/coverage"]
        for band, truth in (sampled(width, 1e4 * BINS, 2, shift=0.04) for width in (0.04, 0.004))
    )
    assert honest.value == pytest.approx(ONE_SIGMA, abs=3 * honest.error)
    assert honest.floor == ONE_SIGMA
    assert small.value < 0.45


def test_bins_without_truth_give_no_figure():
    band, truth = sampled(0.05, 1.0, 0)
    assert figures([(band, truth, truth)]) == {}


def test_an_evaluation_gives_every_histogram_and_profile_a_band(toy):
    data = toy("ds1_photons")
    batch = data.batch(30)
    judge = Evaluator(batch, data.observables, scores={}, replicas=2)
    networks = [data.batch(30, "train")._apply(lambda v, f=f: v * f) for f in (0.9, 1.0, 1.1)]
    result = judge(batch, networks=networks)
    assert result.networks == 3
    for histogram in result.histograms.values():
        assert histogram.band.mean.shape == histogram.generated.shape
    profile = next(iter(result.profiles.values()))
    middle = profile.generated > 0
    np.testing.assert_allclose(profile.band.mean[middle], profile.generated[middle], rtol=1e-3)
    name, histogram = next(iter(result.histograms.items()))
    few = replace(result, histograms={name: histogram}, images={}, response=(), correlation=None)
    for page in draw(few).values():
        assert page.legends[0].get_texts()[-1].get_text() == "spread of 3 networks"
    assert {"test/band/coverage", "test/band/width"} <= set(result.metrics)
    assert judge(batch).networks == 0
    with pytest.raises(UserError, match="at least two networks"):
        judge(batch, networks=networks[:1])
