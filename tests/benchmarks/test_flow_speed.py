"""Speed of flows at their published size on CaloChallenge data set 1, photons: samplers and training.

``pytest -m bench -s tests/benchmarks/test_flow_speed.py`` prints medians of processor time on one thread, and
their ratios; the plain sampler alone takes about a quarter of an hour.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from functools import cache
from time import process_time

import pytest
import torch
from torch import Tensor

from naive_sampler import naive_inverse
from simulacra.dynamics.flows import Flow
from simulacra.models.showers.shower_model import ShowerModel
from simulacra.training.checkpoint import build
from support import composed, spec_of

BATCHES = (1, 100, 1000)
REPEATS = 5
PLAIN_REPEATS = {1: 3, 100: 1, 1000: 1}
TRAINED = 256  # showers per training step


def published(model: str) -> ShowerModel:
    """A model for 368 cells in 5 layers, away from the identity."""
    config = composed("model", f"model={model}", "model/size=published")
    torch.manual_seed(0)
    module = build(config, spec_of("ds1_photons", None)).eval()
    assert isinstance(module, ShowerModel)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.02 * torch.randn(parameter.shape))
    return module


def median(function: Callable[[], object], repeats: int) -> float:
    """Median processor seconds."""
    found = []
    for _ in range(repeats):
        start = process_time()
        function()
        found.append(process_time() - start)
    return statistics.median(found)


def inputs(flow: Flow, context: int, batch: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(batch)
    return (
        torch.randn(batch, flow.features, generator=generator),
        torch.randn(batch, context, generator=generator),
    )


def steered(module: ShowerModel) -> int:
    """Width of the context of the cells."""
    width = module.transform.conditions.width
    return width if module.energies is None else module.transform.layout.context


@cache
def plain_sampling(batch: int) -> tuple[float, Tensor]:
    """Seconds of the teacher's plain sampler, a pass per cell, and its result."""
    module = published("caloflow_teacher")
    found: list[Tensor] = []
    z, context = inputs(module.cells, steered(module), batch)
    with torch.no_grad():
        seconds = median(
            lambda: found.append(naive_inverse(module.cells, z, context)),
            PLAIN_REPEATS[batch],
        )
    return seconds, found[0]


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.bench
@pytest.mark.timeout(7200)
def test_autoregressive_sampling_is_eight_times_faster_than_a_pass_per_cell():
    module = published("caloflow_teacher")
    flow, ratios = module.cells, []
    for batch in BATCHES:
        z, context = inputs(flow, steered(module), batch)
        with torch.no_grad():
            x, _ = flow.inverse(z, context)
            fast = median(lambda z=z, c=context: flow.inverse(z, c), REPEATS)
            forward = median(lambda x=x, c=context: flow(x, c), REPEATS)
        plain, expected = plain_sampling(batch)
        ratios.append(plain / fast)
        print(  # noqa: T201
            f"\nbatch {batch}: {1e3 * fast / batch:.3g} ms per shower, a pass per cell "
            f"{1e3 * plain / batch:.3g} ms, ratio {plain / fast:.1f}; one pass takes "
            f"{1e3 * forward / batch:.3g} ms; largest difference {(x - expected).abs().max():.1e}"
        )
        assert (x - expected).abs().max() < 1e-4
    assert min(ratios) >= 8


@pytest.mark.bench
@pytest.mark.timeout(7200)
def test_the_student_samples_fifty_times_faster_than_its_teacher_with_a_pass_per_cell():
    module = published("caloflow_student")
    ratios = []
    for batch in BATCHES:
        z, context = inputs(module.cells, steered(module), batch)
        with torch.no_grad():
            module.cells.inverse(z, context)
            fast = median(lambda z=z, c=context: module.cells.inverse(z, c), REPEATS)
        ratios.append(plain_sampling(batch)[0] / fast)
        print(  # noqa: T201
            f"\nstudent, batch {batch}: {1e3 * fast / batch:.3g} ms per shower, ratio to its teacher "
            f"with a pass per cell {ratios[-1]:.0f}"
        )
    assert min(ratios) >= 50


@pytest.mark.bench
@pytest.mark.timeout(900)
@pytest.mark.parametrize("model", ["caloinn", "realnvp"])
def test_coupling_flows_sample_within_one_and_a_half_passes(model: str):
    module = published(model)
    flow, ratios = module.cells, []
    context = steered(module)
    for batch in BATCHES:
        x, given = inputs(flow, context, batch)
        with torch.no_grad():
            flow.inverse(x, given)
            back = median(lambda x=x, c=given: flow.inverse(x, c), REPEATS)
            forward = median(lambda x=x, c=given: flow(x, c), REPEATS)
        ratios.append(back / forward)
        print(  # noqa: T201
            f"\n{model}, batch {batch}: {1e3 * back / batch:.3g} ms per shower, ratio to the way "
            f"forward {back / forward:.2f}"
        )
    assert max(ratios) <= 1.5


@pytest.mark.bench
@pytest.mark.timeout(900)
@pytest.mark.parametrize("model", ["caloflow_teacher", "caloinn", "realnvp"])
def test_training_throughput(model: str):
    module = published(model).train()
    optimizer = module.optim.optimizer(module.parameters())
    parts = [(module.cells, steered(module))]
    if module.energies is not None:
        parts.append((module.energies, module.transform.conditions.width))
    given = [(flow, *inputs(flow, context, TRAINED)) for flow, context in parts]

    def step() -> None:
        optimizer.zero_grad()
        (-torch.stack([f.log_prob(x, c).mean() / f.features for f, x, c in given]).sum()).backward()
        optimizer.step()

    step()
    seconds = median(step, REPEATS)
    print(f"\n{model}: {TRAINED / seconds:.0f} showers per second in training")  # noqa: T201
    assert seconds > 0
