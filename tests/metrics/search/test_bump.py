"""Bumps in a falling spectrum: the fit, its p-values by chance and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from scipy.stats import kstest
from torch import Tensor

from simulacra.core import UserError
from simulacra.metrics.search.bump import Spectrum

WINDOW = (3.3, 3.7)
SPECTRUM = Spectrum([2.9, 6.0], 0.1, 13.0)


def background(number: int, generator: torch.Generator) -> Tensor:
    """A Poisson number of masses of a dijet function, by cells of 1 GeV."""
    centres = torch.arange(2.7005, 6.5, 0.001, dtype=torch.float64)
    x = centres / 13.0
    rate = (8 * torch.log1p(-x) - 5 * x.log()).exp()
    rate = rate / rate[(centres > 2.9) & (centres < 6.0)].sum() * number
    return centres.repeat_interleave(torch.poisson(rate, generator=generator).long())


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_without_signal_p_values_are_uniform_from_many_events_to_few() -> None:
    source = generator(1)
    for number in (200, 8000):
        found = [SPECTRUM.bump(background(number, source), WINDOW) for _ in range(60)]
        assert kstest([item["p"] for item in found], "uniform").pvalue > 0.01
        z = torch.tensor([item["significance"] for item in found])
        assert float(z.std()) == pytest.approx(1, abs=0.3)


def test_the_fit_is_that_of_a_general_minimiser() -> None:
    mass = torch.cat([background(3000, generator(2)), torch.full((150,), 3.5)])
    found = SPECTRUM.bump(mass, WINDOW)
    edges = np.arange(29, 61) / 10
    x = (edges[1:] + edges[:-1]) / 26
    counts = np.histogram(mass.numpy(), edges)[0]
    inside = (edges[:-1] > 3.29) & (edges[:-1] < 3.69)
    rows = np.stack([np.ones_like(x), np.log(1 - x), np.log(x), np.log(x) ** 2], 1)
    rows = np.linalg.qr(rows)[0]

    def worse(theta: np.ndarray, signal: bool) -> float:
        rate = np.exp(rows @ theta)
        total = rate[inside].sum()
        side = (rate - counts * np.log(rate))[~inside].sum()
        n = counts[inside].sum()
        return float(side + (n - n * np.log(n) if signal else total - n * np.log(total)))

    start = np.linalg.lstsq(rows, np.log(counts + 1.0), rcond=None)[0]
    free, none = (
        minimize(worse, start, (signal,), method="Nelder-Mead",
                 options={"maxiter": 8000, "maxfev": 8000, "xatol": 1e-7, "fatol": 1e-9})
        for signal in (True, False)
    )  # fmt: skip
    assert found["significance"] == pytest.approx((2 * (none.fun - free.fun)) ** 0.5, abs=1e-3)
    assert found["expected"] == pytest.approx(np.exp(rows @ free.x)[inside].sum(), rel=1e-3)
    assert found["found"] == counts[inside].sum()
    assert found["significance"] > 2


def test_signal_beside_the_root_of_the_background_is_the_significance_of_many_events() -> None:
    mass = torch.cat([background(40000, generator(3)), torch.linspace(3.4, 3.6, 400)])
    found = SPECTRUM.bump(mass, WINDOW)
    error = (found["expected"] + found["expected/error"] ** 2) ** 0.5
    assert found["significance"] == pytest.approx(
        (found["found"] - found["expected"]) / error, rel=0.05
    )
    assert found["deviance"] == pytest.approx(1, abs=0.6)
    dip = SPECTRUM.bump(mass[(mass < 3.45) | (mass > 3.55)], WINDOW)
    assert dip["significance"] < -5
    assert dip["p"] > 0.999


def test_equal_weights_change_sums_alone() -> None:
    mass = background(3000, generator(4))
    plain = SPECTRUM.bump(mass, WINDOW)
    heavy = SPECTRUM.bump(mass, WINDOW, torch.full_like(mass, 5.0))
    for key in ("found", "expected", "expected/error"):
        assert heavy[key] == pytest.approx(5 * plain[key], rel=1e-6)
    for key in ("significance", "p", "deviance"):
        assert heavy[key] == pytest.approx(plain[key], rel=1e-4, abs=1e-6)


def test_a_window_without_events_has_a_deficit() -> None:
    mass = background(3000, generator(5))
    found = SPECTRUM.bump(mass[(mass < 3.3) | (mass >= 3.7)], WINDOW)
    assert found["found"] == 0
    assert found["significance"] < -5


def test_what_cannot_be_fitted_is_refused() -> None:
    mass = background(1000, generator(6))
    with pytest.raises(UserError, match="a positive mass to a higher one below 13"):
        Spectrum([2.9, 14.0], 0.1, 13.0)
    with pytest.raises(UserError, match=r"a window lies within 2.9 to 6.*got \[2.5, 3.5\]"):
        SPECTRUM.bump(mass, (2.5, 3.5))
    with pytest.raises(UserError, match="6 bins or more that hold events, got 0"):
        SPECTRUM.bump(torch.tensor([3.5]), WINDOW)
