"""Speed of cloud models: sampling against a plain padded one, cost against points, teacher and student.

``pytest -m bench -s tests/benchmarks/test_cloud_speed.py`` prints medians of processor time on one thread and
their ratios. Times of a fixed number of solver steps are proportional to that number.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable
from time import process_time

import pytest
import torch
from hydra.utils import get_class
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from simulacra import data
from simulacra.core import Batch
from simulacra.dynamics.solvers import Midpoint
from simulacra.models.clouds.cloud import CloudModel
from simulacra.models.clouds.cloud_diffusion import CloudDiffusion
from simulacra.tracking.geant4 import geant4_time
from simulacra.training.checkpoint import build
from support import composed, config_names, fits, spec_of

REPEATS = 5
POINTS = (30, 150, 600, 3000)


def median(function: Callable[[], object], repeats: int = REPEATS) -> float:
    """Median processor seconds."""
    found = []
    for _ in range(repeats):
        start = process_time()
        function()
        found.append(process_time() - start)
    return statistics.median(found)


class PlainLayer(nn.Module):
    """EPiC layer as one would write it down: time and conditions repeated for every point."""

    def __init__(self, hidden: int, latent: int, context: int) -> None:
        super().__init__()
        self.g1 = weight_norm(nn.Linear(2 * hidden + latent + context, hidden))
        self.g2 = weight_norm(nn.Linear(hidden + context, latent))
        self.x1 = weight_norm(nn.Linear(hidden + latent + context, hidden))
        self.x2 = weight_norm(nn.Linear(hidden + context, hidden))

    def forward(self, x: Tensor, g: Tensor, c: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        n = x.shape[1]
        many = c[:, None].repeat(1, n, 1)
        total = (x * mask).sum(1)
        pooled = torch.cat([total / mask.sum(1), 0.01 * total], -1)
        inner = nn.functional.leaky_relu(self.g1(torch.cat([pooled, g, c], -1)))
        g = nn.functional.leaky_relu(self.g2(torch.cat([inner, c], -1)) + g)
        seen = torch.cat([x, g[:, None].repeat(1, n, 1), many], -1)
        inner = nn.functional.leaky_relu(self.x1(seen))
        x = nn.functional.leaky_relu(self.x2(torch.cat([inner, many], -1)) + x)
        return x * mask, g


class Plain(nn.Module):
    """Padded EPiC network of the size of arXiv:2310.00049."""

    def __init__(self, features: int, cond: int, hidden: int = 128, latent: int = 10) -> None:
        super().__init__()
        context = 32 + cond
        self.x1 = weight_norm(nn.Linear(features + context, hidden))
        self.x2 = weight_norm(nn.Linear(hidden + context, hidden))
        self.g1 = weight_norm(nn.Linear(2 * hidden + context, hidden))
        self.g2 = weight_norm(nn.Linear(hidden + context, latent))
        self.layers = nn.ModuleList(PlainLayer(hidden, latent, context) for _ in range(6))
        self.output = weight_norm(nn.Linear(hidden + context, features))

    def forward(self, x: Tensor, t: Tensor, cond: Tensor, mask: Tensor) -> Tensor:
        angle = math.pi * t[:, None] * torch.arange(1, 17)
        c = torch.cat([angle.cos(), angle.sin(), cond], -1)
        many = c[:, None].repeat(1, x.shape[1], 1)
        x = nn.functional.leaky_relu(self.x1(torch.cat([x, many], -1)))
        x = nn.functional.leaky_relu(self.x2(torch.cat([x, many], -1)) + x) * mask
        total = x.sum(1)
        pooled = torch.cat([total / mask.sum(1), 0.01 * total, c], -1)
        inner = nn.functional.leaky_relu(self.g1(pooled))
        g = nn.functional.leaky_relu(self.g2(torch.cat([inner, c], -1)))
        for layer in self.layers:
            x, g = layer(x, g, c, mask)
        return self.output(torch.cat([x, many], -1)) * mask


@torch.no_grad()
def plain_midpoint(net: Plain, cond: Tensor, mask: Tensor, steps: int) -> Tensor:
    real = mask[..., None].float()
    x = torch.randn(*mask.shape, 3) * real
    for k in range(steps):
        t, h = torch.full((len(x),), k / steps), 1 / steps
        middle = x + h / 2 * net(x, t, cond, real)
        x = x + h * net(middle, t + h / 2, cond, real)
    return x


def jets(name: str, letter: str, n: int) -> tuple[data.base.EventDataModule, Batch]:
    """The first jets of the package's sample."""
    module = data.build(composed("data", f"data={name}", f"data.classes=[{letter}]"))
    module.setup()
    return module, module.batch(n)


@pytest.mark.bench
@pytest.mark.parametrize(
    ("name", "letter", "n", "steps", "least"),
    [("jetnet30", "t", 256, 100, 1.0), ("jetnet150", "g", 512, 5, 1.5)],
)
def test_epic_fm_samples_no_slower_than_a_plain_padded_network(
    name: str, letter: str, n: int, steps: int, least: float
) -> None:
    events, batch = jets(name, letter, n)
    module = build(composed("model", "model=epic_fm", "model/size=published"), events.spec)
    assert isinstance(module, CloudDiffusion)
    assert batch.mask is not None
    module.fit_transform([batch]).eval()
    module.solver = Midpoint(steps)
    plain = Plain(3, module.context_width).eval()
    cond = torch.randn(n, module.context_width)
    mask = batch.mask

    @torch.no_grad()
    def ours() -> Tensor:
        return module.draw_points(mask, cond, torch.Generator().manual_seed(0))

    times = {
        "ours": median(ours, 3),
        "plain": median(lambda: plain_midpoint(plain, cond, mask, steps), 3),
    }
    ratio = times["plain"] / times["ours"]
    print(f"\n{name} {letter}, {n} jets, {steps} midpoint steps: plain over ours {ratio:.2f}")  # noqa: T201
    assert ratio > least


def spread(times: dict[int, float]) -> float:
    """Slope of the logarithm of the time against that of the number of points, between the largest two."""
    (a, b) = sorted(times)[-2:]
    return math.log(times[b] / times[a]) / math.log(b / a)


CLOUDS = [
    m for m in config_names("model") if fits(m, "jetnet30", None) or fits(m, "ild_10x10", "cloud")
]


@pytest.mark.bench
@pytest.mark.parametrize("model", CLOUDS)
def test_cost_against_points(model: str) -> None:
    name, view = ("jetnet30", None) if fits(model, "jetnet30", None) else ("ild", "cloud")
    times = {}
    most = get_class(composed("model", f"model={model}")["_target_"]).most_points
    for points in POINTS:
        if most is not None and points > most:
            continue
        spec = spec_of(name, view)
        spec = spec.with_(shape=(points, spec.shape[1]))
        module = build(composed("model", f"model={model}", "model/size=small"), spec).eval()
        assert isinstance(module, CloudModel)
        n = max(1, 600 // points)
        mask, cond = torch.ones(n, points, dtype=torch.bool), torch.randn(n, module.context_width)

        @torch.no_grad()
        def draw(module: CloudModel = module, mask: Tensor = mask, cond: Tensor = cond) -> Tensor:
            return module.draw_points(mask, cond, torch.Generator().manual_seed(0))

        draw()
        times[points] = median(draw, 3) / n
    told = ", ".join(f"{points}: {1e3 * seconds:.2f}" for points, seconds in times.items())
    print(f"\n{model} ms per event by points: {told}; exponent {spread(times):.2f}")  # noqa: T201
    if most is None:
        assert spread(times) < 1.3


@pytest.mark.bench
def test_the_consistency_model_is_ten_times_faster_than_its_teacher_per_shower() -> None:
    spec = spec_of("ild_cloud", None)
    energies = torch.linspace(10, 90, 16)[:, None]
    ms = {}
    for model in ("caloclouds2", "caloclouds2_cm"):
        torch.manual_seed(0)
        module = build(composed("model", f"model={model}", "model/size=published"), spec).eval()
        assert isinstance(module, CloudModel)
        counts = (40 * energies).long()  # points per shower, about as in the data
        mask = torch.arange(spec.shape[0]) < counts
        cond = torch.randn(len(energies), module.context_width)

        @torch.no_grad()
        def draw(module: CloudModel = module, mask: Tensor = mask, cond: Tensor = cond) -> Tensor:
            return module.draw_points(mask, cond, torch.Generator().manual_seed(0))

        ms[model] = 1e3 * median(draw) / len(energies)
    known = geant4_time("ild_cloud", 50.0)
    assert known is not None
    for model, found in ms.items():
        print(f"\n{model}: points of a shower of 50 GeV; Geant4 over model {known.ms / found:.1f}")  # noqa: T201
    print(f"teacher over student {ms['caloclouds2'] / ms['caloclouds2_cm']:.1f}")  # noqa: T201
    assert ms["caloclouds2"] > 10 * ms["caloclouds2_cm"]
