"""Distillation losses, where the perfect student of Gaussian data is known."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from simulacra.core import draws
from simulacra.dynamics.consistency import consistency_loss, progressive_loss
from simulacra.dynamics.denoiser import AngularVelocity, Denoiser, Preconditioned
from simulacra.dynamics.diffusion import angular_velocity
from simulacra.dynamics.paths import CosinePath, KarrasPath, Path, along
from simulacra.dynamics.samplers import DDIM

WIDTH = 0.5
KARRAS = KarrasPath()
COSINE = CosinePath(0.01, 0.01)


class Said(Denoiser):
    """Says data that are a factor of time times ``x``; through the network of its prediction."""

    def __init__(self, path: Path, predicts: Preconditioned | AngularVelocity, factor) -> None:
        self.factor = factor
        super().__init__(lambda x, t: x, path, predicts)

    def data(self, x: Tensor, t: Tensor | float) -> Tensor:
        time = along(torch.as_tensor(t, dtype=x.dtype).expand(len(x)), x)
        return self.factor(*self.path.scales(time)) * x


def expected(a: Tensor, s: Tensor) -> Tensor:
    """Factor of the expected data of N(0, WIDTH^2)."""
    return a * WIDTH**2 / ((a * WIDTH).square() + s.square())


def consistent(a: Tensor, s: Tensor) -> Tensor:
    """Factor of the flow to the smallest noise."""
    return ((WIDTH**2 + KARRAS.sigma_min**2) / (WIDTH**2 + s.square())).sqrt()


def events(n: int = 4000) -> tuple[Tensor, Tensor, Tensor]:
    g = torch.Generator().manual_seed(0)
    data, noise = torch.randn(2, n, 2, 1, generator=g, dtype=torch.float64)
    return WIDTH * data, noise, torch.ones(n, 2, 1, dtype=torch.float64)


def loss(student, target, steps: int) -> float:
    teacher = Said(KARRAS, Preconditioned(WIDTH), expected)
    learns, aims = (
        Said(KARRAS, Preconditioned(WIDTH, KARRAS.sigma_min), factor)
        for factor in (student, target)
    )
    data, noise, weight = events()
    g = torch.Generator().manual_seed(1)
    return float(consistency_loss(learns, aims, teacher, data, noise, steps, weight, g))


def test_the_flow_map_is_consistent_and_the_expected_data_are_not() -> None:
    right, wrong = loss(consistent, consistent, 80), loss(expected, expected, 80)
    assert right < 1e-8  # the error of one step of Heun, squared; one of Euler leaves 2e-7
    assert wrong > 1e4 * right
    assert (
        loss(consistent, consistent, 160) < 0.03 * right
    )  # third order: 1/64; Euler's second: 1/16


def test_padded_points_do_not_count() -> None:
    data, noise, weight = events(50)
    weight[:, 1] = 0
    teacher = Said(KARRAS, Preconditioned(WIDTH), expected)
    student = Said(KARRAS, Preconditioned(WIDTH, KARRAS.sigma_min), expected)
    values = [
        float(
            consistency_loss(
                student, student, teacher, data * w, noise * w, 9, weight,
                torch.Generator().manual_seed(1),
            )
        )
        for w in (weight, weight + 3 * (1 - weight))
    ]  # fmt: skip
    assert values[0] == pytest.approx(values[1])


def test_a_student_of_half_the_steps_is_found_by_progressive_distillation() -> None:
    """Trained by least squares per step, one step of the student leads where two of the teacher do."""
    steps = 4
    teacher = Said(COSINE, AngularVelocity(), expected)
    data, noise, weight = events(200)
    knots = COSINE.knots(steps)
    factors = torch.zeros(steps, dtype=torch.float64, requires_grad=True)

    class Learns(Denoiser):
        def __init__(self) -> None:
            super().__init__(self.says, COSINE, AngularVelocity())

        def says(self, x: Tensor, t: Tensor) -> Tensor:
            place = (t * steps).round().long()
            return factors[place][:, None, None] * x

    student = Learns()
    optimizer = torch.optim.LBFGS([factors], lr=1.0, max_iter=60, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        g = torch.Generator().manual_seed(2)
        value = progressive_loss(student, teacher, data, noise, steps, weight, g)
        value.backward()
        return value

    optimizer.step(closure)
    assert float(closure().detach()) < 1e-10
    start = torch.randn(9, 2, 1, dtype=torch.float64)
    with torch.no_grad():
        one = DDIM(steps).sample(student, start)
        two = DDIM(2 * steps).sample(teacher, start)
    torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-4)
    assert len(knots) == steps + 1


def test_a_teacher_distilled_into_itself_at_many_steps_has_almost_no_loss() -> None:
    process = angular_velocity()
    data, noise, weight = events(500)

    def network(x: Tensor, t: Tensor) -> Tensor:
        time = along(t, x)
        a, s = process.path.scales(time)
        known = expected(a, s) * x
        return process.predicts.target(time, (x - a * known) / s, known, process.path)

    both = process.denoiser(network)
    values = [
        float(
            progressive_loss(both, both, data, noise, n, weight, torch.Generator().manual_seed(3))
        )
        for n in (8, 64, 512)
    ]
    assert values[0] > 4 * values[1] > 16 * values[2]


@pytest.mark.parametrize("steps", [1, 20_000])
def test_the_goal_of_halving_is_as_exact_in_single_as_in_double_precision(steps: int) -> None:
    """At the end of noise the published form divides a difference of points by one of signals, here 8e-5."""
    path = angular_velocity(20.0).path
    teacher = Said(path, AngularVelocity(), lambda a, s: 0.5)
    student = Denoiser(lambda x, t: torch.zeros_like(x), path, AngularVelocity())
    values = []
    for dtype in (torch.float32, torch.float64):
        data, noise, weight = (value.to(dtype) for value in events(4))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(draws, "integers", lambda *_: torch.zeros(4, dtype=torch.long))
            values.append(float(progressive_loss(student, teacher, data, noise, steps, weight)))
    assert values[0] == pytest.approx(values[1], rel=1e-5)
    assert values[1] > 0.1


def test_where_no_noise_is_left_the_goal_is_what_the_last_step_says() -> None:
    """Two steps of DDIM to the end of a path are one with the data of the second."""
    path = CosinePath(0.01, 0.0)
    (a, s), (b, r) = ((k.signal, k.noise) for k in path.knots(2)[:2])
    data, noise, weight = events(9)
    x = a * data + s * noise
    first = expected(torch.tensor(a), torch.tensor(s)) * x
    half = b * first + r * (x - a * first) / s
    second = expected(torch.tensor(b), torch.tensor(r)) * half

    student = Denoiser(
        lambda x, t: AngularVelocity().target(along(t, x), (x - a * second) / s, second, path),
        path,
        AngularVelocity(),
    )
    teacher = Said(path, AngularVelocity(), expected)
    assert float(progressive_loss(student, teacher, data, noise, 1, weight)) < 1e-12
