"""Our networks of published generators against plain writings of the same ones, from noise to events.

``pytest -m bench -s tests/benchmarks/test_plain_generators.py`` prints medians of processor time on one
thread; calls are made in turns. Events are normalised ones, so that networks, draws and solvers are compared
alone. Diffusions make a few steps of their many, whose times are all alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache

import pytest
import torch
from torch import Tensor, nn

from plain_generators import Couplings, EPiCGenerator, JeDi, MessagePassing, PointNet, Student
from simulacra.dynamics.samplers import DDIM, KarrasHeun
from simulacra.models.clouds.cloud import CloudModel
from simulacra.training.checkpoint import build
from support import composed, spec_of
from turns import in_turns

STEPS = {"pc_jedi": 10, "caloclouds2": 3}
CALLS = {1: 10, 100: 1}
Pair = tuple[nn.Module, nn.Module, Callable[[], object], Callable[[], object]]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@cache
def published(model: str, name: str) -> nn.Module:
    torch.manual_seed(0)
    return build(
        composed("model", f"model={model}", "model/size=published"), spec_of(name, None)
    ).eval()


def source() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def of_cells(model: str, plain: Callable[[int, int], nn.Module], context: int) -> Callable:
    def pair(batch: int) -> Pair:
        flow = published(model, "ds1_photons").cells
        other = plain(flow.features, context).eval()
        z, c = torch.randn(batch, flow.features), torch.randn(batch, context)
        return flow, other, lambda: flow.inverse(z, c), lambda: other(z, c)

    return pair


def cloud(model: str, name: str, points: int, batch: int) -> tuple[CloudModel, Tensor, Tensor]:
    """A model, a mask of ``points`` real points of the whole width, and a context."""
    module = published(model, name)
    assert isinstance(module, CloudModel)
    mask = (torch.arange(module.spec.shape[0]) < points).expand(batch, -1)
    return module, mask, torch.randn(batch, module.context_width)


def epic_gan(batch: int) -> Pair:
    module, mask, cond = cloud("epic_gan", "jetnet30", 30, batch)
    other, real = EPiCGenerator().eval(), mask[..., None].float()
    return (
        module.net,
        other,
        lambda: module.draw_points(mask, cond, source()),
        lambda: other(torch.randn(*mask.shape, 3), torch.randn(batch, 10), real),
    )


def mpgan(batch: int) -> Pair:
    module, mask, cond = cloud("mpgan", "jetnet30", 30, batch)
    other, real = MessagePassing().eval(), mask[..., None].float()
    return (
        module.net,
        other,
        lambda: module.draw_points(mask, cond, source()),
        lambda: other(0.2 * torch.randn(*mask.shape, 32), real),
    )


def pc_jedi(batch: int) -> Pair:
    module, mask, cond = cloud("pc_jedi", "jetnet30", 30, batch)
    module.solver = DDIM(STEPS["pc_jedi"], 0.0)
    other, steps = JeDi().eval(), STEPS["pc_jedi"]

    def plain() -> Tensor:
        x = torch.randn(*mask.shape, 3)
        for step in range(steps):
            noise = other(x, torch.full((batch,), step / steps), cond[:, :5], mask)
            x = 1.1 * x - 0.3 * noise  # a step of DDIM is such a sum
        return x

    return module.net, other, lambda: module.draw_points(mask, cond, source()), plain


def caloclouds2(batch: int) -> Pair:
    module, mask, cond = cloud("caloclouds2", "ild_cloud", 2000, batch)
    module.solver = KarrasHeun(STEPS["caloclouds2"])
    other, steps = PointNet(cond.shape[1]).eval(), STEPS["caloclouds2"]

    def plain() -> Tensor:
        x = torch.randn(batch, 2000, 4)
        for step in range(2 * steps - 1):  # the last step of Heun's is Euler's
            x = x - 0.1 * (x - other(x, torch.full((batch,), step / steps), cond))
        return x

    return module.net, other, lambda: module.draw_points(mask, cond, source()), plain


PAIRS: dict[str, Callable[[int], Pair]] = {
    "caloinn": of_cells("caloinn", lambda n, c: Couplings(n, c, 12, 256, 10), 1),
    "caloflow_student": of_cells("caloflow_student", lambda n, c: Student(n, c, 736, 8), 6),
    "epic_gan": epic_gan,
    "mpgan": mpgan,
    "pc_jedi": pc_jedi,
    "caloclouds2": caloclouds2,
}
LEAST, BEHIND = 0.95, {("pc_jedi", 1): 0.7, ("mpgan", 1): 0.85}
"""Least ratios, plain over ours, with a margin for the scatter; at batch 1 the two that are named are as many
small calls as the plain ones."""


@pytest.mark.bench
@pytest.mark.timeout(900)
@pytest.mark.parametrize("batch", [1, 100])
@pytest.mark.parametrize("model", list(PAIRS))
def test_ours_is_no_slower_than_a_plain_writing(model: str, batch: int) -> None:
    batch = min(batch, 10) if model == "caloclouds2" else batch
    ours, other, fast, plain = PAIRS[model](batch)
    sizes = [sum(item.numel() for item in net.parameters()) for net in (ours, other)]
    assert sizes[1] == pytest.approx(sizes[0], rel=0.05)

    def many(call: Callable[[], object]) -> Callable[[], None]:
        def made() -> None:
            with torch.inference_mode():
                for _ in range(CALLS.get(batch, 1)):
                    call()

        return made

    one, two, ratio = in_turns(many(fast), many(plain))
    per = 1e3 / (batch * CALLS.get(batch, 1))
    print(  # noqa: T201
        f"\n{model}, batch {batch}: ours {per * one:.3g} ms, plain {per * two:.3g} ms per event, "
        f"ratio {ratio:.2f} ({sizes[0]:,} and {sizes[1]:,} parameters)"
    )
    assert ratio > BEHIND.get((model, batch), LEAST)
