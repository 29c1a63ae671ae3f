"""Mean velocities, where those of Gaussian data are known in closed form."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from mean_flow_toys import MEAN, STRAIGHT, WIDTH, exact, generator, intervals, velocity
from simulacra.core import Layout, UserError
from simulacra.dynamics.bound import Bound
from simulacra.dynamics.clouds import CloudNetwork, cloud_loss
from simulacra.dynamics.denoiser import MeanPrediction, Network, ResidualVelocity, Velocity
from simulacra.dynamics.diffusion import LogitNormal, MeanSquare, flow_matching
from simulacra.dynamics.diffusion_density import DiffusionDensity
from simulacra.dynamics.mean_flow import (
    Goal,
    MeanDenoiser,
    MeanFlow,
    MeanVelocity,
    Slope,
    Split,
    mean_flow,
    mean_velocity,
    slope,
    split_mean_flow,
)
from simulacra.dynamics.paths import along
from simulacra.dynamics.solvers import RK4, Euler, Heun, Mean, Midpoint
from simulacra.nn.epic import EPiC
from simulacra.nn.fourier import FourierFeatures
from simulacra.nn.timed_mlp import TimedMLP
from simulacra.nn.transformers import NormFormer

GOALS = [Slope(), Slope(own=False), Split()]
PROCESSES = [mean_flow(power=0.0), mean_flow(own=False, power=0.0), mean_flow(), split_mean_flow()]
NAMES = ["improved", "first", "tamed", "split"]


def network_of(mean: MeanVelocity, predicts: MeanPrediction) -> Network:
    """The network that a mean velocity is predicted by: a prediction is linear in what is found."""

    def network(x: Tensor, times: Tensor) -> Tensor:
        t, length = times.unbind(-1)
        begin, end = along(t, x), along(t + length, x)
        none, one = (
            predicts.mean(torch.full_like(x, said), x, begin, end, STRAIGHT) for said in (0.0, 1.0)
        )
        return (mean(x, t, length) - none) / (one - none)

    return network


def test_the_closed_form_is_the_velocity_that_a_solver_averages() -> None:
    x, t, s = intervals(5)
    for i in range(5):
        one, begin, end = x[i : i + 1], float(t[i]), float(s[i])
        led = RK4(200)(one, velocity, begin, end)
        mean = (led - one) / (end - begin)
        torch.testing.assert_close(exact(one, t[i : i + 1], (s - t)[i : i + 1]), mean)


@pytest.mark.parametrize("goal", GOALS, ids=str)
def test_the_goal_of_an_exact_velocity_is_the_exact_mean_velocity(goal: Goal) -> None:
    x, t, s = intervals()
    found = goal(exact, x, t, s, velocity(x, along(t, x)), generator())
    torch.testing.assert_close(found, exact(x, t, s - t), rtol=1e-6, atol=1e-8)


def pull(process: MeanFlow, mean: MeanVelocity) -> float:
    """How strongly the loss of two kinds of change pulls a mean velocity away, over filled intervals."""
    data, noise = torch.randn(2, 20_000, 1, generator=generator(), dtype=torch.float64)
    factor = torch.ones((), dtype=torch.float64, requires_grad=True)
    shift = torch.zeros((), dtype=torch.float64, requires_grad=True)

    def changed(x: Tensor, t: Tensor, length: Tensor) -> Tensor:
        return factor * mean(x, t, length) + shift * length[:, None]

    value = replace(process, share=1.0).loss(
        Bound(network_of(changed, process.predicts)), MEAN + WIDTH * data, noise, None, generator(1)
    )
    return max(abs(float(grad)) for grad in torch.autograd.grad(value, (factor, shift)))


@pytest.mark.parametrize(
    "process",
    [
        mean_flow(power=0.0),
        mean_flow(own=False, power=0.0),
        split_mean_flow(),
        mean_flow(power=0.0, predicts=ResidualVelocity()),
        split_mean_flow(predicts=ResidualVelocity()),
    ],
    ids=["improved", "first", "split", "improved_residual", "split_residual"],
)
def test_the_loss_is_smallest_at_the_exact_mean_velocity(process: MeanFlow) -> None:
    assert pull(process, exact) < 0.04
    assert pull(process, lambda x, t, length: velocity(x, along(t, x))) > 0.06


PREDICTIONS = [Velocity(), ResidualVelocity()]


@pytest.mark.parametrize("predicts", PREDICTIONS, ids=["velocity", "residual"])
@pytest.mark.parametrize("steps", [1, 2, 5])
def test_steps_of_the_exact_mean_velocity_are_exact(steps: int, predicts: MeanPrediction) -> None:
    noise = torch.linspace(-2, 2, 9, dtype=torch.float64)[:, None]
    denoiser = MeanDenoiser(network_of(exact, predicts), STRAIGHT, predicts)
    solver = Mean(steps)
    torch.testing.assert_close(solver.sample(denoiser, noise), MEAN + WIDTH * noise)
    assert solver.evaluations == steps
    assert not torch.allclose(Euler(steps).sample(denoiser, noise), MEAN + WIDTH * noise, atol=0.01)
    torch.testing.assert_close(
        Heun(200).sample(denoiser, noise), MEAN + WIDTH * noise, rtol=0, atol=1e-4
    )


def test_residual_mean_velocities_carry_noise_to_normal_numbers_in_one_step() -> None:
    def nothing(x: Tensor, times: Tensor) -> Tensor:
        return torch.zeros_like(x)

    noise = torch.linspace(-2, 2, 9, dtype=torch.float64)[:, None]
    denoiser = MeanDenoiser(nothing, STRAIGHT, ResidualVelocity())
    for steps in (1, 3):
        torch.testing.assert_close(Mean(steps).sample(denoiser, noise), noise)
    x, t, _ = intervals()
    over_none = mean_velocity(nothing, ResidualVelocity(), STRAIGHT)(x, t, 0 * t)
    time = along(t, x)
    torch.testing.assert_close(
        over_none, ResidualVelocity().velocity(torch.zeros_like(x), x, time, STRAIGHT)
    )


def test_a_step_of_the_mean_needs_a_network_of_mean_velocities() -> None:
    denoiser = flow_matching().denoiser(lambda x, t: x)
    with pytest.raises(UserError, match="learnt mean velocities"):
        Mean(1).sample(denoiser, torch.zeros(3, 1))
    with pytest.raises(ValueError, match="at least one step"):
        Mean(0)


def test_a_step_of_the_mean_is_traced_for_any_number_of_events() -> None:
    network = network_of(exact, Velocity())

    class Step(nn.Module):
        def forward(self, noise: Tensor) -> Tensor:
            return Mean(1).sample(MeanDenoiser(network, STRAIGHT, Velocity()), noise)

    events = {0: torch.export.Dim("events", min=1, max=100)}
    noise = torch.randn(5, 1, generator=generator())
    found = torch.export.export(Step(), (noise[:3],), dynamic_shapes=(events,), strict=False)
    torch.testing.assert_close(found.module()(noise), MEAN + WIDTH * noise)


def moved(net: nn.Module) -> nn.Module:
    """Away from the zeros of a fresh network, in double precision."""
    g = generator(7)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=g))
    return net.double()


def vector_network() -> tuple[Bound, Tensor]:
    net = TimedMLP(Layout(3, 2), hidden=16, blocks=2, frequencies=3)
    mean_flow().equip(net)
    x, context = (torch.randn(6, k, generator=generator(k), dtype=torch.float64) for k in (3, 2))
    return Bound(moved(net), context), x


def cloud_network(make) -> tuple[Bound, Tensor]:
    net = make(3, 2)
    mean_flow().equip(net)
    x, context = (
        torch.randn(6, *k, generator=generator(), dtype=torch.float64) for k in ((5, 3), (2,))
    )
    mask = torch.arange(5) < torch.randint(1, 6, (6, 1), generator=generator())
    return Bound(moved(net), mask, context), x * mask[..., None]


EPIC = partial(EPiC, hidden=8, latent=3, layers=2, frequencies=2)
ATTENTION = partial(NormFormer, width=8, context=6, layers=2, heads=2, hidden=8, frequencies=2)


@pytest.mark.parametrize(
    "made",
    [vector_network, partial(cloud_network, EPIC), partial(cloud_network, ATTENTION)],
    ids=["vector", "epic", "attention"],
)
@pytest.mark.parametrize("predicts", PREDICTIONS, ids=["velocity", "residual"])
def test_the_slope_is_that_of_finite_differences(predicts: MeanPrediction, made) -> None:
    network, x = made()
    t, length = torch.rand(2, 6, generator=generator(2), dtype=torch.float64)
    direction, h = torch.randn(x.shape, generator=generator(3), dtype=torch.float64), 1e-6
    mean = mean_velocity(network, predicts, STRAIGHT)
    found = slope(mean, x, t, length, direction)
    ahead, behind = (mean(x + step * direction, t + step, length - step) for step in (h, -h))
    torch.testing.assert_close(found, (ahead - behind) / (2 * h), rtol=1e-6, atol=1e-7)
    assert bool((found.abs() > 0.1).any())


def test_a_network_that_takes_lengths_is_the_plain_one_before_training_and_over_no_time() -> None:
    torch.manual_seed(0)
    plain = TimedMLP(Layout(3, 2), hidden=16, blocks=2, frequencies=3)
    net = TimedMLP(Layout(3, 2), hidden=16, blocks=2, frequencies=3)
    mean_flow().equip(net)
    lost = net.load_state_dict(plain.state_dict(), strict=False)
    assert lost.missing_keys == ["time.length.weight"]
    x, context = (torch.randn(5, k, generator=generator(k)) for k in (3, 2))
    t, length = torch.rand(2, 5, generator=generator())
    said = mean_velocity(Bound(net, context), Velocity(), STRAIGHT)
    torch.testing.assert_close(said(x, t, length), plain(x, t, context))
    with torch.no_grad():
        net.time.length.weight.normal_(generator=generator())
    assert not torch.allclose(said(x, t, length), plain(x, t, context), atol=1e-3)
    torch.testing.assert_close(said(x, t, 0 * t), plain(x, t, context))


def test_a_network_without_features_of_the_time_takes_no_lengths() -> None:
    with pytest.raises(UserError, match="no features of the time"):
        mean_flow().equip(nn.Linear(2, 2))


def test_intervals_are_filled_in_their_share_and_begin_at_any_time() -> None:
    process = MeanFlow(STRAIGHT, Velocity(), LogitNormal(0.4, 1.0), MeanSquare(), share=0.25)
    like = torch.zeros(4000, 1, dtype=torch.float64)
    t, s, filled = process.intervals(4000, like, generator())
    chosen = torch.zeros(4000, dtype=torch.bool).index_fill(0, filled, True)
    assert int(chosen.sum()) == 1000
    assert torch.equal(t[~chosen], s[~chosen])
    assert bool((t[chosen] <= s[chosen]).all())
    logits = torch.cat([t[chosen], s[chosen]]).logit()
    assert float(logits.mean()) == pytest.approx(0.4, abs=0.1)
    assert float(logits.std()) == pytest.approx(1.0, abs=0.06)
    ends = torch.stack([t[chosen], s[chosen]]).logit()
    apart = float((ends[1] - ends[0]).mean())
    assert apart == pytest.approx(2 / torch.pi**0.5, rel=0.06)  # of two independent normal numbers


@pytest.mark.parametrize("process", PROCESSES, ids=NAMES)
def test_padded_points_change_nothing(process: MeanFlow) -> None:
    data = torch.randn(8, 5, 3, generator=generator())
    mask = torch.arange(5) < torch.randint(1, 6, (8, 1), generator=generator(1))

    def all_points(x: Tensor, t: Tensor, mask: Tensor, context: Tensor | None) -> Tensor:
        return x.sum(1, keepdim=True).square() * t[:, :1, None] + t[:, 1:, None] * x

    network = CloudNetwork(all_points, None)
    first, second = (
        cloud_loss(
            network, torch.where(mask[..., None], data, fill), mask, process, generator=generator(2)
        )
        for fill in (0.0, 1e3)
    )
    assert torch.equal(first, second)
    assert bool(first.isfinite())


def test_events_count_by_their_weights_and_large_distances_are_tamed() -> None:
    process = mean_flow(power=1.0)
    distance = torch.tensor([[1.0, 3.0], [0.0, 0.04]])
    weight = process.tamed(distance, None)
    torch.testing.assert_close(weight, torch.tensor([1 / 2.01, 1 / 0.03]))
    counts = torch.tensor([[5.0], [1.0]])
    torch.testing.assert_close(process.tamed(distance, counts), weight)
    masked = process.tamed(distance, torch.tensor([[0.0, 2.0], [1.0, 0.0]]))
    torch.testing.assert_close(masked, torch.tensor([1 / 3.01, 1 / 0.01]))


def test_a_density_of_mean_velocities_samples_in_one_step_and_by_any_solver() -> None:
    net = partial(TimedMLP, hidden=8, blocks=1, frequencies=2)
    part = DiffusionDensity(Layout(2, 1), net, mean_flow(), Mean(1))
    x, context = torch.randn(8, 2, generator=generator()), torch.zeros(8, 1)
    part.loss(x, context, None, generator()).backward()
    assert all(parameter.grad is not None for parameter in part.parameters())
    assert bool(part.net.time.length.weight.grad.abs().sum() > 0)
    first, again = (part.sample(8, context, generator(1)) for _ in range(2))
    assert torch.equal(first, again)
    part.solver = Midpoint(2)
    assert part.sample(8, context, generator(1)).shape == (8, 2)


def test_features_of_conditions_take_no_lengths() -> None:
    class OfTime(FourierFeatures):
        pass

    class OfCondition(FourierFeatures):
        of_time = False

    net = nn.ModuleList([OfTime(2), OfCondition(2)])
    mean_flow().equip(net)
    assert [name for name, _ in net.named_parameters()] == ["0.length.weight"]
