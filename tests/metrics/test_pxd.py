import pytest
import torch

from simulacra.core import Batch
from simulacra.metrics.pxd import sensor_scores


def events(n: int, seed: int, shared: float) -> Batch:
    """Images of four sensors whose occupancies share an event-level rate."""
    generator = torch.Generator().manual_seed(seed)
    rate = 0.2 + 0.2 * (
        shared * torch.rand(n, 1, generator=generator)
        + (1 - shared) * torch.rand(n, 4, generator=generator)
    )
    fired = torch.rand(n, 4, 30, 30, generator=generator) < rate[:, :, None, None]
    return Batch(20.0 * fired)


def test_independent_sensors_score_the_mean_correlation_of_the_truth() -> None:
    truth, more = events(300, 0, 1.0), events(300, 1, 1.0)
    shuffled = Batch(
        torch.stack([truth.x[torch.randperm(300), sensor] for sensor in range(4)], dim=1)
    )
    same, apart = (
        sensor_scores(truth, events(300, 2, 1.0), more),
        sensor_scores(truth, shuffled, more),
    )
    assert same["sensor_correlation"] < 3 * same["sensor_correlation/floor"] + 0.02
    assert apart["sensor_correlation"] > 0.6
    assert apart["sensor_correlation"] > 5 * apart["sensor_correlation/floor"]
    assert 0 < same["sensor_correlation/error"] < 0.1


def test_without_further_truth_the_floor_comes_from_scaled_halves() -> None:
    truth = events(400, 0, 0.5)
    floor = sensor_scores(truth, events(400, 1, 0.5))["sensor_correlation/floor"]
    wanted = sensor_scores(truth, events(400, 1, 0.5), events(400, 2, 0.5))[
        "sensor_correlation/floor"
    ]
    assert floor == pytest.approx(wanted, abs=0.03)
