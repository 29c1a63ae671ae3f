"""Scores of sensors: correlations, published means, image distances, and what they read."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from scipy.stats import spearmanr

from simulacra.core import Batch
from simulacra.formats.pxd import pxd
from simulacra.metrics.engine.sample import Column, Sample
from simulacra.metrics.engine.score import Judged, NotRun, judged
from simulacra.metrics.protocols.pxd import (
    PublishedStatistics,
    SensorCorrelation,
    occupancies,
    reference_stats,
    sensor_scores,
    sensors,
)
from simulacra.metrics.protocols.pxd_images import (
    FrechetImageDistance,
    ImageDistance,
    frechet_distance,
    frechet_error_of_images,
    image_features,
    kernel_distance,
)
from simulacra.physics.base import Axis, Profile
from simulacra.physics.pxd import PxdObservables
from simulacra.physics.pxd_reference import pxd_reference

SPEC = pxd(["1.1.1", "1.3.2", "2.1.1"])
NUMBERS = [0, 5, 16]


def sample(occupancy: torch.Tensor, charge: torch.Tensor) -> Judged:
    """A reduced sample of the three sensors without its images."""
    n = len(occupancy)
    columns = {
        f"occupancy_sensor_{number}": Column(occupancy[:, i], torch.ones(n, dtype=torch.long), True)
        for i, number in enumerate(NUMBERS)
    }
    edges, axis = torch.arange(4.0), Axis("sensor")
    profiles = {
        "occupancy_by_sensor": Profile(occupancy, edges, axis, ""),
        "charge_by_sensor": Profile(charge, edges, axis, ""),
    }
    reduced = Sample(
        n, torch.ones(n, dtype=torch.float64), columns, torch.zeros(n, 1), profiles, {}, None
    )
    return Judged(Batch(torch.zeros(n, 1)), reduced, PxdObservables(SPEC))


def rates(n: int, seed: int, shared: float = 1.0) -> torch.Tensor:
    """Occupancies near the published ones that share an event-level rate."""
    generator = torch.Generator().manual_seed(seed)
    common = torch.rand(n, 1, generator=generator, dtype=torch.float64)
    own = torch.rand(n, 3, generator=generator, dtype=torch.float64)
    mean = pxd_reference().mean_occupancy[NUMBERS]
    return mean * (0.5 + shared * common + (1 - shared) * own)


def charges(occupancy: torch.Tensor, factor: float = 1.0) -> torch.Tensor:
    return occupancy * 250 * 768 * pxd_reference().mean_charge[NUMBERS] * factor


def item(n: int, seed: int, shared: float = 1.0, factor: float = 1.0) -> Judged:
    occupancy = rates(n, seed, shared)
    return sample(occupancy, charges(occupancy, factor))


def test_the_score_is_the_mean_difference_of_spearman_matrices() -> None:
    truth, other = item(300, 0, 0.7), item(260, 1, 0.3)
    found = sensor_scores(truth, other, 0)["sensor_correlation"]
    matrices = [spearmanr(occupancies(i.sample)).statistic for i in (truth, other)]
    expected = np.abs(matrices[0] - matrices[1])[np.triu_indices(3, 1)].mean()
    assert found.value == pytest.approx(expected, abs=1e-12)
    assert found.error is not None
    assert 0 < found.error < 0.15
    metric = SensorCorrelation()
    for part in range(3):
        metric.update(
            occupancies(truth.sample)[part * 100 : part * 100 + 100],
            occupancies(other.sample)[part * 90 : part * 90 + 90],
        )
    assert float(metric.compute()) == pytest.approx(expected, abs=1e-12)


def test_independent_sensors_score_the_mean_correlation_of_the_truth() -> None:
    truth, floor = item(300, 0), sensor_scores(item(300, 0), item(300, 1), 0)
    apart = sensor_scores(truth, item(300, 2, shared=0.0), 0)["sensor_correlation"]
    assert apart.value == pytest.approx(1, abs=0.1)
    assert apart.value > 5 * floor["sensor_correlation"].value
    with pytest.raises(NotRun, match="need 8 events"):
        sensor_scores(item(7, 0), item(300, 1), 0)


def test_published_means_are_compared_sensor_by_sensor() -> None:
    truth = item(400, 0)
    for factor, deviation in ((1.0, 0.0), (1.2, 0.2)):
        other = item(400, 3, factor=factor)
        found = reference_stats(truth, other, 0)
        assert found["reference_stats/charge"].value == pytest.approx(deviation, abs=1e-9)
        mean = other.sample.profiles["occupancy_by_sensor"].values.mean(0)
        expected = (mean / pxd_reference().mean_occupancy[NUMBERS] - 1).abs().mean()
        assert found["reference_stats/occupancy"].value == pytest.approx(float(expected))
        assert found["reference_stats/occupancy"].power == 0
    assert sensors(truth.sample) == NUMBERS


def test_sums_over_batches_give_the_same_deviations() -> None:
    other = item(90, 3, factor=1.1)
    fired = other.sample.profiles["occupancy_by_sensor"].values * 250 * 768
    charge = other.sample.profiles["charge_by_sensor"].values
    halves = [PublishedStatistics(NUMBERS) for _ in range(2)]
    halves[0].update(fired[:30], charge[:30])
    halves[1].update(fired[30:60], charge[30:60])
    halves[1].update(fired[60:], charge[60:])
    halves[0].merge_state(halves[1])
    found = reference_stats(other, other, 0)
    assert halves[0].compute().tolist() == pytest.approx(
        [found[f"reference_stats/{name}"].value for name in ("occupancy", "charge")]
    )


class Files:
    """Images made when they are asked for, that remember how many were asked for at once."""

    def __init__(self, n: int) -> None:
        self.n, self.most = n, 0

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, index: range) -> Batch:
        self.most = max(self.most, len(index))
        images = []
        for number in index:
            generator = torch.Generator().manual_seed(number)
            fired = torch.rand(SPEC.shape, generator=generator) < 0.01
            images.append(fired * torch.randint(1, 100, SPEC.shape, generator=generator))
        return Batch(torch.stack(images).float())


def test_images_are_read_a_few_at_a_time_and_scored_as_in_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    files, judge = Files(8), PxdObservables(SPEC)
    monkeypatch.setattr("simulacra.metrics.engine.sample.CHUNK_VALUES", 2 * SPEC.n_voxels)
    read, memory = judged(files, judge), judged(files[range(8)], judge)
    assert files.most == 8
    files.most = 0
    first, second = ({**sensor_scores(i, i, 0), **reference_stats(i, i, 0)} for i in (read, memory))
    assert first == second
    assert files.most == 0, "scores use the reduced sample"
    image_features(files, lambda x: x.flatten(1), 8, 16)
    assert files.most == 1
    x = files[range(8)].x
    kept = torch.where(x < 7, 0.0, x)
    published = pxd_reference()
    expected = (kept > 0).double().mean((0, 2, 3)) / published.mean_occupancy[NUMBERS] - 1
    assert first["reference_stats/occupancy"].value == pytest.approx(float(expected.abs().mean()))
    mean = kept.double().sum((0, 2, 3)) / (kept > 0).sum((0, 2, 3))
    expected = mean / published.mean_charge[NUMBERS] - 1
    assert first["reference_stats/charge"].value == pytest.approx(float(expected.abs().mean()))


def test_image_distances_need_a_network_and_carry_its_name() -> None:
    pair = judged(Files(4), PxdObservables(SPEC)), judged(Files(3), PxdObservables(SPEC))
    with pytest.raises(NotRun, match="not public"):
        ImageDistance()(*pair, 0)

    def pooled(images: torch.Tensor) -> torch.Tensor:
        assert images.shape[1:] == (1, 32, 32)
        return torch.nn.functional.avg_pool2d(images, 16).flatten(1)

    found = ImageDistance(pooled, "pooled", images=100, size=32)(*pair, 0)
    assert found["fid/pooled"].factor((80, 80), (40, 40)) == 1.0, "more than 100 images"
    found = ImageDistance(pooled, "pooled", images=11, size=32)(*pair, 0)
    assert set(found) == {"fid/pooled", "kid/pooled"}
    features = [image_features(i.events, pooled, 11, 32) for i in pair]
    assert [len(f) for f in features] == [11, 9]
    assert found["fid/pooled"].value == pytest.approx(frechet_distance(*features))
    metric = FrechetImageDistance()
    metric.update(features[0][:6], features[1][:2])
    metric.update(features[0][6:], features[1][2:])
    assert float(metric.compute()) == pytest.approx(found["fid/pooled"].value)


def test_errors_of_image_distances_are_those_of_whole_events() -> None:
    """Each event is there twice as two images; one subset is the whole sample, whose spread is 0."""
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(30, 2, 60, 1, 4, generator=generator, dtype=torch.float64)
    rows = rows.expand(-1, -1, -1, 2, -1).flatten(2, 3) + 0.4 * torch.arange(2)[:, None, None]
    events = np.arange(120) // 2, np.arange(120) // 2
    found = [
        (
            frechet_distance(*pair),
            frechet_error_of_images(*pair, (None, None), events),
            kernel_distance(*pair, events=events),
        )
        for pair in rows
    ]
    assert all(abs(figure.details["subset_error"]) < 1e-12 for _, _, figure in found)
    for values, errors in (
        ([item[0] for item in found], [item[1] for item in found]),
        ([item[2].value for item in found], [item[2].error or 0 for item in found]),
    ):
        error = np.sqrt(np.mean(np.square(errors)))
        assert 0.75 < error / np.std(values, ddof=1) < 1.35


def test_image_distances_are_the_textbook_ones() -> None:
    generator = torch.Generator().manual_seed(0)
    a = torch.randn(300, 4, generator=generator, dtype=torch.float64)
    b = torch.randn(200, 4, generator=generator, dtype=torch.float64) * 1.5 + 0.3
    p, q = (np.cov(x.numpy(), rowvar=False) for x in (a, b))
    expected = float(((a.mean(0) - b.mean(0)) ** 2).sum()) + np.trace(p + q - 2 * sqrtm(p @ q).real)
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-9)
    a, b = a[:40], b[:40]  # one subset: everything
    found = kernel_distance(a, b)

    def kernel(x: torch.Tensor, y: torch.Tensor) -> float:
        return float((x @ y / 4 + 1) ** 3)

    within = [
        np.mean([kernel(z[i], z[j]) for i in range(40) for j in range(40) if i != j])
        for z in (a, b)
    ]
    cross = np.mean([kernel(x, y) for x in a for y in b])
    assert found.value == pytest.approx(sum(within) - 2 * cross, rel=1e-9)
