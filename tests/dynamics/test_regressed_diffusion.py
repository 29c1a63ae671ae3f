from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import Tensor

from simulacra.core import Layout, UserError
from simulacra.dynamics.denoiser import ResidualVelocity
from simulacra.dynamics.diffusion import flow_matching
from simulacra.dynamics.diffusion_density import DiffusionDensity
from simulacra.dynamics.regressed_diffusion import RegressedDiffusion
from simulacra.dynamics.solvers import Heun
from simulacra.nn.timed_mlp import PlainTimedMLP


def density(context: int = 2) -> RegressedDiffusion:
    torch.manual_seed(0)
    net = partial(PlainTimedMLP, hidden=[8], frequencies=2)
    process = flow_matching(predicts=ResidualVelocity())
    return RegressedDiffusion(Layout(3, context), net, process, Heun(6))


def rows(n: int = 4000) -> tuple[Tensor, Tensor]:
    """Numbers that are a parabola of the context, with widths of 0.5, 1 and 2."""
    g = torch.Generator().manual_seed(1)
    context = 2 * torch.rand(n, 2, generator=g) - 1
    mean = torch.stack([3 * context[:, 0], context[:, 1].square(), 1 - context.sum(1)], 1)
    return mean + torch.randn(n, 3, generator=g) * torch.tensor([0.5, 1.0, 2.0]), context


def test_what_is_left_has_width_one_and_no_mean_anywhere() -> None:
    part, (x, context) = density(), rows()
    part.fit([(x[:1000], context[:1000], None), (x[1000:], context[1000:], None)])
    torch.testing.assert_close(part.width, torch.tensor([0.5, 1.0, 2.0]), rtol=0.05, atol=0)
    seen: list[Tensor] = []

    def loss(self: DiffusionDensity, value: Tensor, *others: object) -> Tensor:
        seen.append(value)
        return value.sum()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DiffusionDensity, "loss", loss)
        part.loss(x, context)
    rest = seen[0]
    for half in (context[:, 0] > 0, context[:, 1] > 0.5, context.sum(1) < 0):
        assert float(rest[half].mean(0).abs().max()) < 0.1
    torch.testing.assert_close(rest.std(0), torch.ones(3), rtol=0.02, atol=0)


def test_an_untrained_density_follows_the_context_already() -> None:
    part, (x, context) = density(), rows()
    torch.nn.init.zeros_(part.net.net.layers[-1].weight)
    torch.nn.init.zeros_(part.net.net.layers[-1].bias)
    part.fit([(x, context, None)])
    with torch.no_grad():
        made = part.sample(len(x), context, torch.Generator().manual_seed(2))
    torch.testing.assert_close(made.std(0), x.std(0), rtol=0.05, atol=0)
    pairs = torch.stack([made[:, 0], 3 * context[:, 0]])
    assert float(torch.corrcoef(pairs)[0, 1]) > 0.9


def test_weights_count_and_classes_that_add_up_to_one_do_no_harm() -> None:
    part, (x, _) = density(), rows()
    kind = torch.nn.functional.one_hot(torch.arange(len(x)) % 2).float()
    moved = x + 5 * kind[:, :1]
    weight = torch.where(torch.arange(len(x)) < 2000, 1.0, 0.0)
    moved[2000:] = 1e3
    part.fit([(moved, kind, weight)])
    assert bool(part.slopes.isfinite().all())
    means = torch.cat([torch.ones(2, 1), torch.eye(2), torch.eye(2)], 1) @ part.slopes
    torch.testing.assert_close(
        means[0] - means[1], moved[:2000:2].mean(0) - moved[1:2000:2].mean(0), rtol=0.01, atol=0.01
    )


def test_without_a_context_means_are_taken_and_without_events_it_says_so() -> None:
    part, (x, _) = density(0), rows()
    part.fit([(x, None, None)])
    torch.testing.assert_close(part.slopes[0], x.mean(0), rtol=1e-3, atol=1e-3)
    assert part.sample(4, None, torch.Generator().manual_seed(0)).shape == (4, 3)
    with pytest.raises(UserError, match="there are none"):
        part.fit([])
