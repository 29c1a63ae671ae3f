"""Speed of the networks of diffusions at their published sizes, against plain ones with the same weights.

``pytest -m bench -s tests/benchmarks/test_diffusion_speed.py`` prints medians of processor time on one thread
per evaluation of a network, and per shower with the evaluations of the published solver. The two take turns.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from time import process_time

import pytest
import torch
from torch import Tensor

from plain_networks import plain_transformer, plain_unet
from simulacra.core import Layout
from simulacra.dynamics.diffusion_density import DiffusionDensity
from simulacra.models.showers.shower_model import ShowerModel
from simulacra.training.checkpoint import build
from support import composed, spec_of

CASES: list[tuple[str, str, Callable[..., Tensor]]] = [
    ("calodiffusion_ds1_photons_published", "ds1_photons", plain_unet),
    ("calodiffusion_ds2_published", "ds2", plain_unet),
    ("calodream_ds2_published", "ds2", plain_transformer),
]
REPEATS = {1: 15, 100: 3}
SLOWER = 1.05  # of the plain one: what medians of so few scatter by


def published(experiment: str, data: str) -> tuple[DiffusionDensity, Layout]:
    """The density of the cells, away from its start, and what it describes."""
    torch.manual_seed(0)
    config = composed("model", f"experiment={experiment}")
    module = build(config, spec_of(data, None)).eval()
    assert isinstance(module, ShowerModel)
    assert isinstance(module.cells, DiffusionDensity)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.02 * torch.randn(parameter.shape))
    return module.cells, module.transform.layout


def medians(repeats: int, *functions: Callable[[], object]) -> list[float]:
    """Median processor seconds of each function, called in turn."""
    found: list[list[float]] = [[] for _ in functions]
    for _ in range(repeats):
        for seconds, function in zip(found, functions, strict=True):
            start = process_time()
            function()
            seconds.append(process_time() - start)
    return [statistics.median(seconds) for seconds in found]


@pytest.mark.bench
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("batch", REPEATS)
@pytest.mark.parametrize(("experiment", "data", "plain"), CASES, ids=[case[0] for case in CASES])
def test_no_network_is_slower_than_a_plain_one(
    experiment: str, data: str, plain: Callable[..., Tensor], batch: int
) -> None:
    torch.set_num_threads(1)
    cells, layout = published(experiment, data)
    generator = torch.Generator().manual_seed(batch)
    x = torch.randn(batch, layout.features, generator=generator)
    t = torch.rand(batch, generator=generator)
    context = torch.randn(batch, layout.context, generator=generator)
    with torch.inference_mode():
        ours = cells.net(x, t, context)
        torch.testing.assert_close(ours, plain(cells.net, x, t, context), rtol=1e-3, atol=1e-3)
        own, other = medians(
            REPEATS[batch],
            lambda: cells.net(x, t, context),
            lambda: plain(cells.net, x, t, context),
        )
    evaluations = cells.solver.evaluations
    assert evaluations is not None
    print(  # noqa: T201
        f"\n{experiment}, {batch} at once: {1e3 * own:.1f} ms per evaluation, "
        f"{1e3 * own * evaluations / batch:.0f} ms per shower of {evaluations} evaluations; "
        f"plain / ours {other / own:.2f}"
    )
    assert own < SLOWER * other
