"""Calibrations against the truth of a toy, and weights as repeated events."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from simulacra.tasks.calibration import Calibration, Isotonic, Temperature


def sample(n: int, slope: float, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Logits, and labels whose true logit is ``slope`` times that."""
    g = torch.Generator().manual_seed(seed)
    logit = 2 * torch.randn(n, generator=g)
    label = (torch.rand(n, generator=g) < torch.sigmoid(slope * logit)).float()
    return logit, label


@pytest.mark.parametrize("slope", [0.3, 1.0, 2.5])
def test_the_temperature_is_found(slope: float) -> None:
    calibration = Temperature()
    calibration.fit(*sample(20_000, slope), torch.ones(20_000))
    assert float(calibration.slope) == pytest.approx(slope, rel=0.05)


def test_what_has_found_nothing_weighs_nothing() -> None:
    calibration = Temperature()
    logit, label = sample(20_000, -0.5)
    calibration.fit(logit, label, torch.ones(20_000))
    assert float(calibration.slope) == 0
    assert torch.equal(calibration(logit), torch.zeros(20_000))


def test_a_curve_is_found_between_knots() -> None:
    g = torch.Generator().manual_seed(1)
    logit = 2 * torch.randn(40_000, generator=g)
    truth = torch.where(logit > 0, 0.3 * logit, 1.5 * logit)
    label = (torch.rand(40_000, generator=g) < torch.sigmoid(truth)).float()
    calibration = Isotonic()
    assert torch.equal(calibration(logit), logit)
    calibration.fit(logit, label, torch.ones(40_000))
    inner = logit.abs() < 3
    assert float((calibration(logit) - truth)[inner].abs().mean()) < 0.12
    assert bool((calibration(logit.sort().values).diff() >= 0).all())
    assert bool(calibration(torch.tensor([-1e6, 1e6])).isfinite().all())


@pytest.mark.parametrize("calibration", [Temperature(), Isotonic()])
def test_a_weight_is_a_number_of_events(calibration: Calibration) -> None:
    logit, label = sample(300, 0.7)
    count = torch.randint(3, (300,), generator=torch.Generator().manual_seed(2))
    keep = count > 0
    calibration.fit(logit[keep], label[keep], count[keep].float())
    weighted = calibration(logit)
    rows = torch.repeat_interleave(torch.arange(300), count)
    calibration.fit(logit[rows], label[rows], torch.ones(len(rows)))
    if isinstance(calibration, Temperature):
        torch.testing.assert_close(calibration(logit), weighted)
    plain = Temperature()
    plain.fit(logit, label, torch.ones(300))
    assert not torch.allclose(plain(logit), weighted)


def test_a_fitted_calibration_travels_with_the_weights() -> None:
    for one, two in ((Temperature(), Temperature()), (Isotonic(), Isotonic())):
        one.fit(*sample(1000, 0.4), torch.ones(1000))
        two.load_state_dict(one.state_dict())
        probe = torch.linspace(-3, 3, 50)
        assert torch.equal(one(probe), two(probe))
        assert not torch.equal(one(probe), probe)
