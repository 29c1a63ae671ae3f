"""Every sampler on every path with the perfect denoiser of Gaussian data, whose flow is known."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor

from simulacra.core import UserError, draws
from simulacra.dynamics.denoiser import (
    AngularVelocity,
    Data,
    Denoiser,
    Hybrid,
    Noise,
    Preconditioned,
    Prediction,
    ResidualVelocity,
    Score,
    Velocity,
)
from simulacra.dynamics.paths import (
    BetaPath,
    CosineChain,
    CosinePath,
    KarrasPath,
    OptimalTransportPath,
    Path,
)
from simulacra.dynamics.samplers import (
    DDIM,
    DPMSolver2M,
    EulerMaruyama,
    KarrasHeun,
    PredictorCorrector,
    Sampler,
)
from simulacra.dynamics.score_paths import ExplodingPath, PreservingPath, SubPreservingPath
from simulacra.dynamics.solvers import RK4, DormandPrince, Euler, Heun, Midpoint, Solver

MEAN, WIDTH = 0.7, 0.5
COSINE, KARRAS, STRAIGHT = CosinePath(0.01, 0.01), KarrasPath(0.002, 80.0), OptimalTransportPath()
SCORE = [ExplodingPath(), PreservingPath(), SubPreservingPath()]
SMOOTH = CosinePath(0.3, 0.3)  # between two finite ratios, where orders of convergence show


class Perfect(Denoiser):
    """Expected data of N(MEAN, WIDTH^2), through any prediction."""

    def __init__(self, path: Path, predicts: Prediction | None = None) -> None:
        super().__init__(self.answer, path, predicts or Velocity())
        self.asked: list[Tensor] = []

    def answer(self, x: Tensor, t: Tensor) -> Tensor:
        raise AssertionError("asked through _ask")

    def _ask(self, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        self.asked.append(t)
        a, s = self.path.scales(t)
        variance = (a * WIDTH).square() + s.square()
        data = MEAN + a * WIDTH**2 / variance * (x - a * MEAN)
        return self.predicts.target(t, (x - a * data) / s, data, self.path), t


def exact(x: Tensor, path: Path, start: float = 0.0, end: float = 1.0) -> Tensor:
    """The flow of the perfect velocity: the rising map between the Gaussians at two times."""
    (a, s), (b, r) = (path.scales(torch.tensor(t, dtype=torch.float64)) for t in (start, end))
    spread = [(signal * WIDTH).square() + noise.square() for signal, noise in ((a, s), (b, r))]
    return b * MEAN + (spread[1] / spread[0]).sqrt() * (x - a * MEAN)


def noise(n: int = 41) -> Tensor:
    return torch.linspace(-2, 2, n, dtype=torch.float64)[:, None]


PREDICTIONS = [
    pytest.param(COSINE, Velocity(), id="cosine-velocity"),
    pytest.param(COSINE, Noise(), id="cosine-noise"),
    pytest.param(COSINE, AngularVelocity(), id="cosine-v"),
    pytest.param(COSINE, Hybrid(), id="cosine-hybrid"),
    pytest.param(CosineChain(400), Hybrid(), id="chain-hybrid"),
    pytest.param(CosineChain(400), Noise(), id="chain-noise"),
    pytest.param(KARRAS, Preconditioned(WIDTH), id="karras-preconditioned"),
    pytest.param(KARRAS, Noise(), id="karras-noise"),
    pytest.param(COSINE, Data(), id="cosine-data"),
    pytest.param(STRAIGHT, Velocity(), id="straight-velocity"),
    pytest.param(STRAIGHT, ResidualVelocity(), id="straight-residual"),
    pytest.param(KARRAS, ResidualVelocity(), id="karras-residual"),
    pytest.param(STRAIGHT, Noise(floor=1e-3), id="straight-noise"),
    pytest.param(STRAIGHT, Data(), id="straight-data"),
    *(pytest.param(path, Score(), id=f"{type(path).__name__}-score") for path in SCORE),
]


@pytest.mark.parametrize(("path", "predicts"), PREDICTIONS)
def test_every_prediction_says_the_same_of_data_and_velocity(
    path: Path, predicts: Prediction
) -> None:
    x, z = torch.randn(2, 6, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    t = torch.linspace(0.05, 0.95, 6, dtype=torch.float64)
    point, velocity = path.at(t, z, x)
    target = predicts.target(t[:, None], z, x, path)
    denoiser = Denoiser(lambda seen, number: target, path, predicts)
    torch.testing.assert_close(denoiser.data(point, t), x, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(denoiser.velocity(point, t), velocity, rtol=1e-6, atol=1e-4)


def test_a_preconditioned_network_sees_unit_inputs_and_times_in_the_unit_interval() -> None:
    predicts = Preconditioned(2.0)
    t = torch.tensor([0.0, 0.4, 1.0], dtype=torch.float64)[:, None]
    _, s = KARRAS.scales(t)
    wide = (4 + s.square()).sqrt()
    seen, number = predicts.inputs(wide, t, KARRAS)
    torch.testing.assert_close(seen, torch.ones_like(seen))
    assert float(number[0]) == pytest.approx(0, abs=1e-6)
    assert float(number[2]) == pytest.approx(1)


def test_a_consistency_model_is_the_identity_at_the_smallest_noise() -> None:
    predicts = Preconditioned(0.5, boundary=KARRAS.sigma_min)
    denoiser = Denoiser(lambda x, t: torch.full_like(x, 3.0), KARRAS, predicts)
    x = torch.randn(4, 2, dtype=torch.float64)
    torch.testing.assert_close(denoiser.data(x, 1.0), x)
    assert not torch.allclose(denoiser.data(x, 0.5), x)


@pytest.mark.parametrize("predicts", [AngularVelocity(), Hybrid()], ids=["v", "hybrid"])
@pytest.mark.parametrize(
    ("make", "order"),
    [
        (Euler, 1),
        (Midpoint, 2),
        (Heun, 2),
        (RK4, 4),
        (DDIM, 1),
        (DPMSolver2M, 2),
        (KarrasHeun, 2),
    ],
)
def test_error_falls_with_the_order_of_the_sampler(
    make: type[Solver], order: int, predicts: Prediction
) -> None:
    errors = []
    for steps in (32, 64, 128):
        made = make(steps).sample(Perfect(SMOOTH, predicts), noise())  # type: ignore[call-arg]
        errors.append(float((made - exact(noise(), SMOOTH)).abs().max()))
    orders = [math.log2(a / b) for a, b in itertools.pairwise(errors)]
    assert orders[-1] == pytest.approx(order, abs=0.35), (errors, orders)


@pytest.mark.parametrize(
    "predicts", [Velocity(), ResidualVelocity(), Noise(), Data()], ids=lambda p: type(p).__name__
)
@pytest.mark.parametrize(("make", "order"), [(Euler, 1), (Heun, 2), (DDIM, 1), (KarrasHeun, 2)])
def test_the_order_is_the_same_whatever_is_predicted(
    make: type[Solver], order: int, predicts: Prediction
) -> None:
    errors = [
        float(
            (make(steps).sample(Perfect(SMOOTH, predicts), noise()) - exact(noise(), SMOOTH))
            .abs()
            .max()
        )  # type: ignore[call-arg]
        for steps in (64, 128)
    ]
    assert math.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.35), errors


@pytest.mark.parametrize(
    "solver", [Euler(500), Heun(100), DDIM(500), KarrasHeun(60)], ids=lambda s: type(s).__name__
)
@pytest.mark.parametrize("predicts", [Noise(floor=1e-3), Data()], ids=lambda p: type(p).__name__)
def test_noise_and_data_lead_along_the_straight_path_too(
    predicts: Prediction, solver: Solver
) -> None:
    made = solver.sample(Perfect(STRAIGHT, predicts), noise())
    torch.testing.assert_close(made, exact(noise(), STRAIGHT), rtol=0, atol=0.02)


MANY: list[Solver] = [
    Euler(500),
    Midpoint(100),
    Heun(100),
    RK4(50),
    DormandPrince(),
    DDIM(500),
    KarrasHeun(60),
    DPMSolver2M(120),
]


@pytest.mark.parametrize("solver", MANY, ids=lambda s: type(s).__name__)
@pytest.mark.parametrize("path", [COSINE, STRAIGHT], ids=lambda p: type(p).__name__)
def test_deterministic_samplers_follow_the_flow_to_gaussian_data(
    solver: Solver, path: Path
) -> None:
    made = solver.sample(Perfect(path), noise())
    torch.testing.assert_close(made, exact(noise(), path), rtol=0, atol=0.02)


@pytest.mark.parametrize(
    "solver", [DDIM(300), KarrasHeun(36), DPMSolver2M(40)], ids=lambda s: type(s).__name__
)
def test_samplers_leap_from_the_smallest_noise_of_karras_to_data(solver: Solver) -> None:
    denoiser = Perfect(KARRAS, Preconditioned(WIDTH))
    made = solver.sample(denoiser, noise())
    torch.testing.assert_close(made, MEAN + WIDTH * noise(), rtol=0, atol=0.02)
    assert len(denoiser.asked) == solver.evaluations


@pytest.mark.parametrize(
    ("solver", "path", "predicts"),
    [
        (DDIM(200, eta=1.0), COSINE, Noise()),
        (DDIM(200, eta=0.5), COSINE, AngularVelocity()),
        (DDIM(200, eta=1.0), STRAIGHT, Velocity()),
        (DDIM(100, eta=1.0), BetaPath(100, 1e-3, 0.15), Noise()),
        (EulerMaruyama(400), CosinePath(0.02, 0.0), Noise()),
        (PredictorCorrector(200), SubPreservingPath(), Score()),
        (DDIM(400, eta=1.0), CosineChain(400), Hybrid()),
        (DDIM(400, eta=1.0, skip=2), CosineChain(400), Noise()),
        (PredictorCorrector(200, skip=1), CosineChain(400), Noise()),
    ],
    ids=["ddpm", "half", "straight", "betas", "sde", "corrected", "hybrid", "skip", "skip-sde"],
)
def test_random_samplers_give_the_mean_and_width_of_gaussian_data(
    solver: Solver, path: Path, predicts: Prediction
) -> None:
    n = 20_000
    draws = [torch.Generator().manual_seed(seed) for seed in (1, 2, 2)]
    start = torch.randn(n, 1, generator=draws[0], dtype=torch.float64)
    made, again = (solver.sample(Perfect(path, predicts), start, g) for g in draws[1:])
    assert torch.equal(made, again)
    assert float(made.mean()) == pytest.approx(MEAN, abs=5 * WIDTH / math.sqrt(n) + 0.01)
    assert float(made.std()) == pytest.approx(WIDTH, rel=5 / math.sqrt(2 * n) + 0.02)
    correlation = torch.corrcoef(torch.cat([made, start], 1).T)[0, 1]
    assert abs(float(correlation)) < 0.99  # the noise of the walk is fresh


@pytest.mark.parametrize("solver", [DDIM(300), Heun(100)], ids=lambda s: type(s).__name__)
@pytest.mark.parametrize("path", SCORE, ids=lambda p: type(p).__name__)
def test_deterministic_samplers_follow_the_paths_of_score_matching(
    solver: Solver, path: Path
) -> None:
    made = solver.sample(Perfect(path, Score()), noise())
    torch.testing.assert_close(made, exact(path.start * noise(), path), rtol=0, atol=0.02)


class Impulses(draws.Source):
    """In the place of all noise: 1 for one event each time, which shows what becomes of that noise."""

    def __init__(self, events: int) -> None:
        self.rows = torch.eye(events, dtype=torch.float64)
        self.taken = 1

    def take(self, kind: str, shape: object) -> Tensor:
        self.taken += 1
        return self.rows[:, self.taken - 1 : self.taken]


def moments(solver: Sampler, path: Path, predicts: Prediction) -> tuple[float, float]:
    """Mean and variance of what a random walk from the right distribution makes with the perfect denoiser,
    exactly: the result is linear in the noise at the start and in that of each step.
    """
    a, s, _, _ = path.values(0.0)
    impulses = Impulses(solver.evaluations + 2)
    start = a * MEAN + math.sqrt((a * WIDTH) ** 2 + s**2) * impulses.rows[:, :1]
    denoiser = Perfect(path, predicts)
    with draws.given(impulses):
        made = solver.walk(start, denoiser, None)[:, 0]
    assert len(denoiser.asked) == solver.evaluations
    assert impulses.taken == solver.evaluations  # fresh noise in all steps but the last
    return float(made[-1]), float((made - made[-1]).square().sum())


@pytest.mark.parametrize("path", SCORE, ids=lambda p: type(p).__name__)
def test_the_stochastic_equation_of_score_matching_gives_gaussian_data(path: Path) -> None:
    mean, variance = moments(EulerMaruyama(200), path, Score())
    assert mean == pytest.approx(MEAN, abs=0.02 * WIDTH)
    assert variance == pytest.approx(WIDTH**2, rel=0.02)


@pytest.mark.parametrize(
    ("path", "ratio"),
    list(zip(SCORE, (0.3, 0.2, 0.3), strict=True)),
    ids=lambda p: type(p).__name__,
)
def test_corrections_leave_gaussian_data_as_they_should_be(path: Path, ratio: float) -> None:
    denoiser, g = Perfect(path, Score()), torch.Generator().manual_seed(4)
    solver = PredictorCorrector(200, ratio=ratio)
    start = torch.randn(3000, 20, generator=g, dtype=torch.float64)
    made = solver.sample(denoiser, start, g)
    assert float(made.mean()) == pytest.approx(MEAN, abs=0.02 * WIDTH)
    assert float(made.var()) == pytest.approx(WIDTH**2, rel=0.02)
    assert len(denoiser.asked) == solver.evaluations == 400


def test_mean_and_variance_of_the_stochastic_equation_converge_with_first_order() -> None:
    b, r, _, _ = SMOOTH.values(1.0)
    errors = []
    for steps in (64, 128, 256):
        mean, variance = moments(EulerMaruyama(steps), SMOOTH, Score())
        errors.append((abs(mean - b * MEAN), abs(variance - (b * WIDTH) ** 2 - r**2)))
    for coarse, fine in itertools.pairwise(errors):
        orders = [math.log2(x / y) for x, y in zip(coarse, fine, strict=True)]
        assert orders == pytest.approx([1, 1], abs=0.15), errors


@pytest.mark.parametrize("share", [0.9, 0.5, 0.1])
def test_a_correction_keeps_the_width_and_draws_noise_anew(share: float) -> None:
    """Of signal and noise together, a share is noise; plain steps would widen by its square over four."""
    path, ratio = ExplodingPath(), 0.5
    s = WIDTH * math.sqrt(share / (1 - share))
    t = math.log(path.high / s) / math.log(path.high / path.low)
    variance, g = WIDTH**2 + s**2, torch.Generator().manual_seed(5)
    start = MEAN + math.sqrt(variance) * torch.randn(20_000, 10, generator=g, dtype=torch.float64)
    made = PredictorCorrector(1, ratio=ratio).correct(start, t, Perfect(path, Score()), g)
    assert float(made.var()) == pytest.approx(variance, rel=0.01)
    correlation = torch.corrcoef(torch.stack([start.flatten(), made.flatten()]))[0, 1]
    assert float(correlation) == pytest.approx(1 - 2 * ratio**2 * share, abs=0.01)


def test_a_correction_that_removes_more_noise_than_there_is_is_refused() -> None:
    with pytest.raises(UserError, match=r"ratio 0\.8 removes more noise"):
        PredictorCorrector(10, ratio=0.8)


@pytest.mark.parametrize(
    "solver",
    [DDIM(500, skip=50), KarrasHeun(60, skip=6), DPMSolver2M(120, skip=12)],
    ids=lambda s: type(s).__name__,
)
def test_a_walk_that_skips_steps_is_the_rest_of_the_flow(solver: Solver) -> None:
    denoiser = Perfect(COSINE)
    made = solver.sample(denoiser, noise())
    torch.testing.assert_close(made, exact(noise(), COSINE, start=0.1), rtol=0, atol=0.01)
    assert len(denoiser.asked) == solver.evaluations
    assert float(denoiser.asked[0].flatten()[0]) == pytest.approx(0.1)


def test_a_walk_cannot_skip_all_its_steps() -> None:
    for skip in (2, -1):
        with pytest.raises(UserError, match=r"cannot skip.*lower solver.skip"):
            DDIM(2, skip=skip)


def test_the_published_weight_of_hybrid_data_is_the_plain_distance_of_its_output() -> None:
    """arXiv:2308.03876: (1 + 1 / s^2) |D - x|^2."""
    path, predicts = CosineChain(400), Hybrid()
    x, z, found = torch.randn(3, 5, 2, generator=torch.Generator().manual_seed(0)).double()
    t = torch.linspace(0.05, 0.95, 5, dtype=torch.float64)[:, None]
    point, _ = path.at(t[:, 0], z, x)
    weight = 1 + 1 / path.scales(t)[1].square()
    weighed = weight * (predicts.data(found, point, t, path) - x).square()
    target = predicts.target(t, z, x, path)
    torch.testing.assert_close((found - target).square(), weighed, rtol=1e-6, atol=1e-6)


def test_hybrid_data_are_exact_where_there_is_no_noise() -> None:
    x, z = torch.randn(2, 4, 1)
    end = torch.ones(4, 1)
    assert torch.equal(Hybrid().data(z, x, end, CosineChain(400)), x)
    assert bool(Hybrid().target(end, z, x, CosineChain(400)).isfinite().all())


def test_one_step_of_ddim_is_the_expected_data() -> None:
    denoiser = Perfect(KARRAS, Preconditioned(WIDTH))
    torch.testing.assert_close(DDIM(1).sample(denoiser, noise()), denoiser.data(80 * noise(), 0.0))


def test_a_path_without_signal_is_refused_by_the_stochastic_equation() -> None:
    with pytest.raises(UserError, match=r"starts with some signal.*take another solver"):
        EulerMaruyama(10).sample(Perfect(STRAIGHT), noise())


@pytest.mark.parametrize("make", [DDIM, DPMSolver2M, KarrasHeun, PredictorCorrector])
def test_a_sampler_without_steps_is_refused(make: type[Solver]) -> None:
    with pytest.raises(ValueError, match="at least one step"):
        make(0)  # type: ignore[call-arg]
