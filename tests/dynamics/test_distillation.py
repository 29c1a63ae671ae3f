"""Density distillation: exact imitation, where gradients go, what the chains compare, a short training."""

from __future__ import annotations

import math

import pytest
import torch

from simulacra.core import IncompatibleError, Layout
from simulacra.dynamics.autoregressive import Inverted, MaskedAutoregressive, autoregressive_flow
from simulacra.dynamics.distillation import (
    copy_fixed_steps,
    distil,
    inverted,
    towards_data,
    towards_noise,
)
from simulacra.dynamics.flows import Flow
from simulacra.dynamics.splines import RationalQuadratic

FEATURES, CONTEXT = 6, 2


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def shaken(flow: Flow, scale: float = 0.3, seed: int = 1) -> Flow:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.add_(scale * torch.randn(parameter.shape, generator=generator))
    return flow


def teacher(blocks: int = 3, hidden: int = 12, seed: int = 0, bins: int = 5) -> Flow:
    torch.manual_seed(seed)
    flow = autoregressive_flow(
        Layout(FEATURES, CONTEXT), blocks, RationalQuadratic(bins, 4.0), [hidden], affine=[8],
        actnorm=True, seed=seed,
    )  # fmt: skip
    return shaken(flow).eval().requires_grad_(False)


def student(blocks: int = 3, hidden: int = 12, seed: int = 0, bins: int = 5) -> Flow:
    torch.manual_seed(seed + 100)
    return inverted(
        autoregressive_flow(
            Layout(FEATURES, CONTEXT), blocks, RationalQuadratic(bins, 4.0), [hidden], affine=[8],
            actnorm=True, seed=seed,
        )
    )  # fmt: skip


def steered_alike(one: Flow, other: Flow) -> None:
    """Give both the same free numbers, constant: then the blocks are the same maps."""
    with torch.no_grad():
        for a, b in zip(one.steps, other.steps, strict=True):
            inner = b.step if isinstance(b, Inverted) else b
            if isinstance(a, MaskedAutoregressive):
                a.net.weight.zero_()
                inner.net.weight.zero_()
                inner.net.bias.copy_(a.net.bias)


def test_a_student_with_the_teachers_maps_has_no_loss_and_no_divergence():
    taught, own = teacher(), student()
    copy_fixed_steps(own, taught)
    steered_alike(taught, own)
    losses = distil(
        own, taught, normal(50, FEATURES), normal(50, FEATURES, seed=1),
        normal(50, CONTEXT, seed=2), normal(50, CONTEXT, seed=3), guided=True,
    )  # fmt: skip
    assert all(abs(value.item()) < 1e-5 for value in losses.values()), losses
    x, context = normal(20, FEATURES, seed=4), normal(20, CONTEXT, seed=5)
    torch.testing.assert_close(
        own.log_prob(x, context), taught.log_prob(x, context), rtol=1e-4, atol=1e-4
    )


def test_paths_end_where_the_flows_do():
    taught, own = teacher(), shaken(student())
    x, context = normal(30, FEATURES), normal(30, CONTEXT, seed=1)
    path, back = towards_noise(taught, x, context), towards_data(own, x, context)
    for found, (end, log_det) in [(path, taught(x, context)), (back, own.inverse(x, context))]:
        torch.testing.assert_close(found.end, end)
        torch.testing.assert_close(found.log_det, log_det)
        assert (len(found.states), len(found.numbers)) == (4, 3)


def test_the_divergence_is_the_mean_difference_of_the_log_densities():
    taught, own = teacher(), shaken(student(), 0.1)
    z, context = normal(400, FEATURES), normal(400, CONTEXT, seed=1)
    found = distil(own, taught, z, z, context, context, guided=False)["kl"]
    with torch.no_grad():
        x = own.inverse(z, context)[0]
        wanted = (own.log_prob(x, context) - taught.log_prob(x, context)).mean() / FEATURES
    torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-3)
    assert found > 0


@pytest.mark.parametrize("guided", [False, True])
def test_gradients_reach_all_blocks_of_the_student_and_nothing_else(guided: bool):
    taught, own = teacher(), student()
    copy_fixed_steps(own, taught)
    shaken_blocks = [p for p in own.parameters() if p.requires_grad]
    with torch.no_grad():
        for parameter in shaken_blocks:
            parameter.add_(0.1 * torch.randn_like(parameter))
    losses = distil(
        own, taught, normal(50, FEATURES), normal(50, FEATURES, seed=1),
        normal(50, CONTEXT, seed=2), normal(50, CONTEXT, seed=3), guided=guided,
    )  # fmt: skip
    losses["loss"].backward()
    assert all(bool((p.grad != 0).any()) for p in shaken_blocks)
    assert all(p.grad is None for p in taught.parameters())
    inside = {id(p) for s in own.steps if isinstance(s, Inverted) for p in s.parameters()}
    assert {id(p) for p in own.parameters() if p.grad is not None} == inside
    assert len(inside) < len(list(own.parameters()))  # the affine steps are the teacher's


def test_full_guidance_adds_the_squared_difference_of_the_free_numbers():
    taught, own = teacher(), shaken(student(), 0.1)
    copy_fixed_steps(own, taught)
    x, context = normal(40, FEATURES), normal(40, CONTEXT, seed=1)
    z = taught(x, context)[0]
    free, guided = (
        distil(own, taught, x, z, context, context, guided=flag)["loss"].item()
        for flag in (False, True)
    )
    lead, follow = towards_noise(taught, x, context), towards_data(own, z, context)
    judged = towards_noise(taught, follow.end, context)
    rest = [
        (a - b).square().sum()
        for path in (lead, judged)
        for a, b in zip(follow.numbers, path.numbers, strict=True)
    ]
    assert guided - free == pytest.approx(0.5 * sum(rest).item() / x.numel(), rel=1e-3)


def test_unlike_blocks_are_refused_in_one_sentence():
    for other in (teacher(blocks=2), teacher(bins=4)):
        with pytest.raises(IncompatibleError, match="must be the same"):
            copy_fixed_steps(student(), other)
    wider = student(hidden=20)
    copy_fixed_steps(wider, teacher(seed=3))  # other permutations are copied
    assert all(
        torch.equal(a.order, b.order)
        for a, b in zip(wider.steps, teacher(seed=3).steps, strict=True)
        if "order" in a.state_dict()
    )


@pytest.mark.smoke
def test_a_short_distillation_imitates_a_trained_teacher():
    # Seeds 0 to 4: the teacher is 0.108 to 0.125 nats per number below the Gaussian, the errors fall by
    # factors of 62 to 83 (x-chain), 40 to 46 (z-chain) and 42 to 52 (divergence); without training by 1.
    found = distilled(seed=0)
    assert found["teacher"] < found["gauss"] - 0.08, found
    assert found["x_chain"] > 20, found
    assert found["z_chain"] > 20, found
    assert found["kl"] > 20, found
    assert found["distance"] < 0.04, found  # of marginals; 0.017 to 0.020


def curved(n: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Twelve numbers, each bent by the one before it and moved by a condition."""
    c = 2 * torch.rand(n, 1, generator=generator) - 1
    x = torch.randn(n, 12, generator=generator)
    for i in range(1, 12):
        x[:, i] = 0.5 * x[:, i] + torch.sin(1.5 * x[:, i - 1]) + 0.5 * (i % 2) * c[:, 0]
    return x, c


def distilled(seed: int) -> dict[str, float]:
    """Train a teacher, then its student; the factors by which the student's errors fall."""
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    spline = RationalQuadratic(6, 6.0)
    taught = autoregressive_flow(Layout(12, 1), 4, spline, [24], seed=seed)
    optimizer = torch.optim.Adam(taught.parameters(), 3e-3)
    for _ in range(120):
        optimizer.zero_grad()
        (-taught.log_prob(*curved(128, generator)).mean()).backward()
        optimizer.step()
    taught.eval().requires_grad_(False)
    x, c = curved(4000, generator)
    z = torch.randn(4000, 12, generator=generator)
    own = inverted(autoregressive_flow(Layout(12, 1), 4, spline, [48], seed=seed))
    copy_fixed_steps(own, taught)

    def losses() -> dict[str, float]:
        with torch.no_grad():
            values = distil(own, taught, x, z, c, c, guided=True)
        return {name: value.item() for name, value in values.items()}

    before = losses()
    weights = [p for p in own.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(weights, 6e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 6e-3, 100)
    for _ in range(100):
        (data, given), noise = curved(128, generator), torch.randn(128, 12, generator=generator)
        optimizer.zero_grad()
        distil(own, taught, data, noise, given, given, guided=True)["loss"].backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        schedule.step()
    after = losses()
    with torch.no_grad():
        pair = [flow.inverse(z, c)[0].sort(0).values for flow in (own, taught)]
    volume = torch.cov(torch.cat([x, c], 1).T).logdet() - c.var().log()
    return {
        **{name: before[name] / after[name] for name in ("x_chain", "z_chain", "kl")},
        "teacher": -taught.log_prob(x, c).mean().item() / 12,
        "gauss": 0.5 * (volume.item() / 12 + 1 + math.log(2 * math.pi)),
        "distance": (pair[0] - pair[1]).abs().mean().item(),
    }
