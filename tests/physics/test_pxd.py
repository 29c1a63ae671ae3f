from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from simulacra.core import Batch, UserError
from simulacra.formats.pxd import pxd, pxd_small
from simulacra.metrics.engine.bins import resolve
from simulacra.physics.correlation import spearman
from simulacra.physics.pxd import (
    Fired,
    PxdObservables,
    correlation_difference,
)
from simulacra.physics.pxd_reference import pxd_reference


@pytest.fixture(scope="module")
def batch() -> Batch:
    generator = torch.Generator().manual_seed(0)
    fired = torch.rand(6, 8, 32, 96, generator=generator) < 0.2
    x = torch.randint(1, 400, fired.shape, generator=generator) * fired
    x[2, 3] = 0  # a sensor with no hit
    x[5] = 0  # an event with none
    return Batch(x.float())


def test_observables_agree_with_numpy(batch: Batch) -> None:
    found = PxdObservables(pxd_small())(batch)
    x = batch.x.numpy().astype(float)
    x[x < 7] = 0
    fired = (x > 0).sum((2, 3))
    np.testing.assert_allclose(found["sensor_occupancy"], fired / 3072)
    np.testing.assert_allclose(found["occupancy_sensor_22"], fired[:, 5] / 3072)
    np.testing.assert_allclose(found["occupancy_layer_1"], fired[:, :4].mean(1) / 3072)
    np.testing.assert_allclose(found["total_charge"], x.sum((1, 2, 3)))
    with np.errstate(invalid="ignore"):
        np.testing.assert_allclose(found["charge_sensor_12"], x[:, 3].sum((1, 2)) / fired[:, 3])
        np.testing.assert_allclose(
            found["charge_layer_2"], x[:, 4:].sum((1, 2, 3)) / fired[:, 4:].sum(1)
        )
    assert math.isnan(found["charge_sensor_12"][2])
    charges = found["pixel_charge"]
    np.testing.assert_array_equal(charges.values, x[x > 0])
    np.testing.assert_array_equal(charges.counts, fired.sum(1))


def test_every_observable_has_an_axis_and_every_input_is_finite(batch: Batch) -> None:
    observables = PxdObservables(pxd_small())
    found = observables(batch)
    assert set(found) == set(observables.axes())
    assert observables.features(batch).shape == (6, 2 * 8 + 2 * 7)
    assert bool(observables.features(batch).isfinite().all())
    assert observables.cells(batch).shape == (6, 8 * 32 * 96)
    profile = observables.profiles(batch)["charge_by_sensor"]
    assert float(profile.values.sum()) == pytest.approx(float(found["total_charge"].sum()))
    images = observables.images(batch)
    assert float(sum(image.values.sum() for image in images.values())) == pytest.approx(
        float(found["total_charge"].sum())
    )
    assert {name: image.values.shape for name, image in images.items()} == {
        "layer_1": (32, 96),
        "layer_2": (32, 96),
    }


def test_full_images_are_binned_as_published() -> None:
    spec = pxd(["1.1.1", "2.1.1"])
    observables = PxdObservables(spec)
    axes = observables.axes()
    charge = resolve(axes["pixel_charge"], torch.ones(1))
    assert charge.tolist() == list(range(7, 257))
    occupancy = resolve(axes["sensor_occupancy"], torch.ones(1))
    assert len(occupancy) == 201
    assert float(occupancy[-1]) == pytest.approx(0.02)
    x = torch.zeros(1, *spec.shape)
    x[0, 0, :, :10] = 30
    x[0, 1, 7, 7] = 6.9  # below the cut
    found = observables(Batch(x))
    assert float(found["occupancy_sensor_0"]) == pytest.approx(10 / 768)
    assert float(found["occupancy_sensor_16"]) == 0
    assert observables.cells(Batch(x)).shape == (1, 2 * 32 * 96)


def test_the_spectrum_of_large_events_takes_every_nth_pixel() -> None:
    x = torch.zeros(2, 1, 4, 6)
    x[0, 0].view(-1)[:11] = torch.arange(11.0) + 7
    x[1, 0, 3, 5] = 99
    found = Fired.of(x, 7).spectrum(stride=4)
    assert found.values.tolist() == [7, 11, 15, 99]
    assert found.counts.tolist() == [3, 1]


def test_the_correlation_is_that_of_spearman() -> None:
    generator = np.random.default_rng(0)
    common = generator.normal(size=(200, 1))
    occupancy = np.round(common + generator.normal(size=(200, 5)), 1)  # with ties
    expected = spearmanr(occupancy).statistic
    np.testing.assert_allclose(spearman(torch.from_numpy(occupancy)), expected, atol=1e-12)
    shuffled = np.stack([generator.permutation(column) for column in occupancy.T], axis=1)
    truth, control = torch.from_numpy(occupancy), torch.from_numpy(shuffled)
    assert correlation_difference(truth, truth) == 0
    assert correlation_difference(truth, control) == pytest.approx(
        expected[np.triu_indices(5, 1)].mean(), abs=0.1
    )
    occupancy[:, 2] = 1
    assert spearman(torch.from_numpy(occupancy))[2].tolist() == [0] * 5
    with pytest.raises(UserError, match="two sensors"):
        correlation_difference(truth[:, :1], truth[:, :1])


def test_the_reference_is_that_of_the_publication() -> None:
    reference = pxd_reference()
    assert 100 * float(reference.mean_occupancy.mean()) == pytest.approx(0.903, abs=0.001)
    assert 100 * float(reference.mean_occupancy[:16].mean()) == pytest.approx(1.489, abs=0.001)
    assert float(reference.mean_charge[16::2].mean() - reference.mean_charge[17::2].mean()) == (
        pytest.approx(0.8, abs=0.1)
    )
    assert [reference.charge_quantiles[share] for share in (0.1, 0.5, 0.9, 0.99)] == [
        8,
        17,
        35,
        114,
    ]
