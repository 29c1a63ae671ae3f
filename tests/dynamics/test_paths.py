from __future__ import annotations

import math

import pytest
import torch

from simulacra.dynamics.diffusion import Links
from simulacra.dynamics.paths import (
    BetaPath,
    Chain,
    CosineChain,
    CosinePath,
    KarrasPath,
    OptimalTransportPath,
    Path,
    stratified_times,
)
from simulacra.dynamics.score_paths import ExplodingPath, PreservingPath, SubPreservingPath

PATHS: list[Path] = [
    OptimalTransportPath(0.1),
    CosinePath(0.02, 0.05),
    CosinePath(),
    KarrasPath(),
    BetaPath(7),
    CosineChain(7),
    ExplodingPath(),
    PreservingPath(),
    SubPreservingPath(),
]
VARIANCE_PRESERVING = [
    path for path in PATHS if isinstance(path, (CosinePath, Chain, PreservingPath))
]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("path", PATHS, ids=lambda path: type(path).__name__)
def test_velocity_is_the_derivative_of_the_point(path: Path) -> None:
    noise, data = torch.randn(2, 5, 4, 3, generator=generator(), dtype=torch.float64)
    t = torch.tensor([0.11, 0.3, 0.52, 0.77, 0.9], dtype=torch.float64)
    before, _ = path.at(t - 1e-5, noise, data)
    here, velocity = path.at(t, noise, data)
    after, _ = path.at(t + 1e-5, noise, data)
    assert here.shape == data.shape
    torch.testing.assert_close((after - before) / 2e-5, velocity, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("path", PATHS, ids=lambda path: type(path).__name__)
def test_a_walk_leads_from_noise_to_data(path: Path) -> None:
    for steps in (1, 2, 9):
        knots = path.knots(steps)
        assert len(knots) == steps + 1
        ratios = [knot.noise / max(knot.signal, 1e-12) for knot in knots]
        assert ratios == sorted(ratios, reverse=True)
        assert all(knot.noise > 0 for knot in knots[:-1])
        assert (knots[-1].signal, knots[-1].noise) == pytest.approx((1, 0), abs=0.11)
    assert path.start == pytest.approx(path.knots(3)[0].noise, rel=1e-3) or isinstance(path, Chain)


@pytest.mark.parametrize("path", VARIANCE_PRESERVING, ids=lambda path: type(path).__name__)
def test_variance_is_preserved(path: Path) -> None:
    a, s = path.scales(torch.linspace(0, 1, 50, dtype=torch.float64))
    torch.testing.assert_close(a.square() + s.square(), torch.ones_like(a))


def test_ends_of_the_paths() -> None:
    t = torch.tensor([0.0, 1.0], dtype=torch.float64)
    signal, noise = CosinePath(0.02, 0.05).scales(t)
    assert signal[0] == pytest.approx(0.02)
    assert noise[1] == pytest.approx(0.05)
    assert KarrasPath(0.002, 80.0).scales(t)[1].tolist() == pytest.approx([80.0, 0.002])
    smallest = (1 + math.exp(20)) ** -0.5
    signal, noise = CosinePath(smallest, smallest).scales(t)
    assert (2 * (signal / noise).log()).tolist() == pytest.approx([-20, 20], rel=1e-6)


def test_karras_noise_and_its_time_are_inverse() -> None:
    path, sizes = KarrasPath(), torch.tensor([0.001, 0.002, 0.3, 80.0, 200.0], dtype=torch.float64)
    torch.testing.assert_close(path.scales(path.time(sizes))[1], sizes)


def test_the_chain_of_betas_is_the_product_of_its_links() -> None:
    path = BetaPath(100, 1e-4, 0.02)
    betas = torch.linspace(1e-4**0.5, 0.02**0.5, 100, dtype=torch.float64).square()
    t = 1 - torch.arange(1, 101, dtype=torch.float64) / 100
    torch.testing.assert_close(path.scales(t)[0].square(), (1 - betas).cumprod(0))


def test_paths_of_score_matching_have_the_published_ends_and_rates() -> None:
    """Song et al., arXiv:2011.13456, equations 30 to 33, at a depth of 0.3."""
    depth = 0.3
    t = torch.tensor([1 - depth, 0.0], dtype=torch.float64)
    assert ExplodingPath().scales(t)[1].tolist() == pytest.approx([0.01 * 5000**depth, 50.0])
    beta, whole = 0.1 + depth * 19.9, 0.1 * depth + 0.5 * depth**2 * 19.9
    for path in (PreservingPath(end=1e-12), SubPreservingPath(end=1e-12)):
        (a, s), (da, ds) = path.scales(t), path.slopes(t)
        assert float(a[0]) == pytest.approx(math.exp(-0.5 * whole))
        diffusion = 2 * s * (da * s / a - ds)  # that of the reverse stochastic equation
        known = beta * (1 if isinstance(path, PreservingPath) else 1 - math.exp(-2 * whole))
        assert float(diffusion[0]) == pytest.approx(known)
        assert float(s[1]) == pytest.approx(1, abs=1e-4)


def test_the_sub_preserving_path_has_the_smaller_variance_and_the_same_ends() -> None:
    t = torch.linspace(0, 1, 50, dtype=torch.float64)
    (a, s), (b, r) = PreservingPath().scales(t), SubPreservingPath().scales(t)
    torch.testing.assert_close(a, b)
    torch.testing.assert_close(r, s.square())
    assert bool((r < s).all())
    ends = torch.tensor([0.0, 1.0], dtype=torch.float64)
    torch.testing.assert_close(
        torch.stack(SubPreservingPath(end=1e-9).scales(ends)),
        torch.stack(PreservingPath(end=1e-9).scales(ends)),
        rtol=0, atol=1e-4,
    )  # fmt: skip


def test_the_chain_of_a_cosine_follows_it_but_for_its_ends() -> None:
    path, k = CosineChain(400), torch.arange(5, 399, dtype=torch.float64)
    square = (((k / 400 + 0.008) / 1.008) * math.pi / 2).cos().square()
    found = path.scales(1 - k / 400)[0].square()
    torch.testing.assert_close(found / found[0], square / square[0], rtol=1e-6, atol=1e-12)
    last = path.scales(torch.tensor([0.0, 1 / 400], dtype=torch.float64))[0].square()
    assert float(last[0] / last[1]) == pytest.approx(1e-4)  # the largest beta is 0.9999


def test_each_event_has_a_link_of_its_own_and_none_is_without_noise() -> None:
    path, like = CosineChain(8), torch.zeros(1)
    for seed in range(20):
        t = Links().draw(8, like, path, generator(seed))
        assert sorted(t.tolist()) == [k / 8 for k in range(8)]
        assert float(path.scales(t)[1].min()) > 0.05
    with pytest.raises(ValueError, match="need a Chain"):
        Links().draw(8, like, CosinePath(), generator())


def test_times_are_uniform_and_cover_the_interval() -> None:
    t = stratified_times(1000, torch.zeros(1), generator())
    assert torch.equal(torch.histc(t, 10, 0, 1), torch.full((10,), 100.0))
    first = torch.stack([stratified_times(4, torch.zeros(1), generator(i))[0] for i in range(400)])
    assert abs(float(first.mean()) - 0.5) < 0.05
