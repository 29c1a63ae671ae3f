"""What a network predicts and what is compared may differ, on the straight path as in CaloArt."""

from __future__ import annotations

import pytest
import torch

from simulacra.dynamics.denoiser import Data, Noise, Prediction, Velocity
from simulacra.dynamics.diffusion import Diffusion, LogitNormal, MeanSquare, Uniform, WeightedHuber
from simulacra.dynamics.paths import CosinePath, OptimalTransportPath, along

STRAIGHT = OptimalTransportPath(0.0)
N = 64
PARTS = {"velocity": Velocity(), "noise": Noise(floor=1e-3), "data": Data()}


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("compared", PARTS)
@pytest.mark.parametrize("predicts", PARTS)
def test_the_distance_is_that_of_what_is_compared(predicts: str, compared: str) -> None:
    data, noise, found = torch.randn(3, N, 2, 3, generator=generator(), dtype=torch.float64)
    process = Diffusion(
        STRAIGHT, PARTS[predicts], LogitNormal(), MeanSquare(), compared=PARTS[compared]
    )
    t = along(process.times.draw(N, data, STRAIGHT, generator(1)), data)
    x = t * data + (1 - t) * noise
    expected = {
        "velocity": x + (1 - t) * found,
        "noise": (x - (1 - t) * found) / t,
        "data": found,
    }[predicts]
    differences = {
        "velocity": (expected - x) / (1 - t) - (data - noise),
        "noise": (x - t * expected) / (1 - t) - noise,
        "data": expected - data,
    }
    loss = process.loss(lambda seen, number: found, data, noise, None, generator(1))
    torch.testing.assert_close(loss, differences[compared].square().mean())


@pytest.mark.parametrize("compared", PARTS)
@pytest.mark.parametrize("predicts", PARTS)
@pytest.mark.parametrize("end", [0.0, 1.0])
def test_no_weight_is_without_bound_at_the_ends(predicts: str, compared: str, end: float) -> None:
    t = torch.full((1, 1), end)
    process = Diffusion(
        STRAIGHT, PARTS[predicts], Uniform(), MeanSquare(), compared=PARTS[compared]
    )
    assert 0 <= float(process.weight(t)) <= 1001


@pytest.mark.parametrize(
    "prediction", [Velocity(), Noise(), Data()], ids=lambda p: type(p).__name__
)
def test_what_is_predicted_may_be_named_as_what_is_compared(prediction: Prediction) -> None:
    path, (data, noise) = CosinePath(0.1, 0.1), torch.randn(2, N, 3, generator=generator())
    plain, named = (
        Diffusion(path, prediction, Uniform(), WeightedHuber(), compared).loss(
            lambda x, t: 0.3 * x, data, noise, None, generator(2)
        )
        for compared in (None, prediction)
    )
    torch.testing.assert_close(plain, named)


def test_logits_of_times_are_normal_and_times_keep_a_margin() -> None:
    like = torch.zeros(1, dtype=torch.float64)
    times = LogitNormal(-0.5, 1.5).draw(4000, like, STRAIGHT, generator())
    logits = times.logit()
    assert float(logits.mean()) == pytest.approx(-0.5, abs=0.01)
    assert float(logits.std()) == pytest.approx(1.5, rel=0.01)
    assert float((logits < -2).double().mean()) == pytest.approx(0.1587, abs=0.001)
    wide = LogitNormal(0.0, 50.0, margin=0.01).draw(100, torch.zeros(1), STRAIGHT, generator())
    assert float(wide.min()) == pytest.approx(0.01)
    assert float(wide.max()) == pytest.approx(0.99)
