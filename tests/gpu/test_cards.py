"""What a card adds: other precision, compiled networks, recorded graphs, NCCL, its memory and its speed.

    python -m pytest -m gpu --junitxml=gpu.xml

Each test but that of compiled networks runs on the CPU, too, with a tiny model, so that it is known to work;
times and memories of published sizes are kept as properties of the junit report.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from simulacra.cli.train import train
from simulacra.core import Batch
from simulacra.data.base import EventDataModule
from simulacra.evaluation.config import compose
from simulacra.evaluation.memory import memory_of
from simulacra.evaluation.timing import Protocol, Stopwatch
from simulacra.running.distributed import end_group
from simulacra.training.generative import GenerativeModule
from support import called_again, made

CARD = pytest.param(
    "cuda",
    marks=[
        pytest.mark.gpu,
        pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a card"),
    ],
)
DEVICES = ["cpu", CARD]
PUBLISHED = {
    "caloinn": "ds1_photons",
    "icaloflow": "ds2",
    "caloflow_teacher": "ds1_photons",
    "caloscore2": "ds2",
    "vit": "ds2",
    "caloclouds2": "ild_cloud",
    "epic_fm": "jetnet30",
    "epic_gan": "jetnet30",
    "pc_droid": "jetnet30",
    "mpgan": "jetnet30",
}
"""Ten models of published sizes, and data of the kind that they were published with."""
GIB = 2**30
Record = Callable[[str, object], None]
Toy = Callable[..., EventDataModule]


def on(device: str, model: str, toy: Toy) -> tuple[GenerativeModule, Batch]:
    """A model with weights of a seed, of its published size on a card, and some events."""
    size = "tiny" if device == "cpu" else "published"
    events = toy(PUBLISHED[model])
    module = made(model, events.spec, size=size).fit_transform(events.fit_batches())
    return module.to(device).eval(), events.batch(16)


def loss_of(module: GenerativeModule, batch: Batch) -> Tensor:
    """Sum of the losses of all objectives, with the noise of one seed."""
    source = torch.Generator(device=module.device).manual_seed(0)
    latent = module.encode(batch.to(module.device), source)
    losses = [item.loss(latent, source)["loss"] for item in module.objectives().values()]
    return torch.stack(losses).sum()


def median_ms(call: Callable[[], object], repeats: int = 20) -> float:
    """Median time of a call [ms]."""
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        call()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        times.append(1e3 * (time.perf_counter() - begin))
    return statistics.median(times)


@pytest.mark.parametrize("device", [pytest.param("cpu", marks=pytest.mark.smoke), CARD])
def test_bfloat16_gives_the_losses_and_events_of_float32(
    device: str, toy: Toy, record_property: Record
) -> None:
    module, batch = on(device, "epic_gan", toy)
    low = torch.autocast(device, torch.bfloat16)
    full = loss_of(module, batch)
    with low:
        half = loss_of(module, batch)
    assert not torch.equal(full, half)  # the network did run in another precision
    assert float(half.detach()) == pytest.approx(float(full.detach()), rel=0.05)
    cond = batch.conditions(module.given)
    draw = lambda: module.sample(cond, generator=torch.Generator(device).manual_seed(1))  # noqa: E731
    exact = draw()
    with low:
        rough = draw()
    scale = exact.x.std()
    assert (rough.x.mean() - exact.x.mean()).abs() < 0.1 * scale
    record_property("bf16/speed-up", median_ms(draw, 3) / (_timed_low(low, draw)))


def _timed_low(low: torch.autocast, draw: Callable[[], object]) -> float:
    with low:
        return median_ms(draw, 3)


@pytest.mark.parametrize("device", [CARD])  # a minute on a CPU
def test_compiled_networks_give_the_same_events(
    device: str, toy: Toy, record_property: Record
) -> None:
    module, batch = on(device, "vit", toy)
    cond = batch.conditions(module.given)
    draw = lambda: module.sample(cond, generator=torch.Generator(device).manual_seed(1))  # noqa: E731
    before, plain = draw(), median_ms(draw, 5)
    module.compile_nets()
    torch.testing.assert_close(draw().x, before.x, rtol=1e-2, atol=float(1e-3 * before.x.max()))
    record_property("compile/speed-up", plain / median_ms(draw, 5))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("events", [1, 16])
def test_a_recorded_sampler_makes_the_events_that_its_numbers_give(
    device: str, events: int, toy: Toy, record_property: Record
) -> None:
    """All of a sampler, from conditions to cells, whose conditions and noise lie in fixed places."""
    module, batch = on(device, "vit", toy)
    cond = batch.conditions(module.given)[:events]
    draw = lambda: module.sample(cond, generator=torch.Generator(device).manual_seed(1))  # noqa: E731
    plain = median_ms(draw, 5)
    module.use_graphs(called_again if device == "cpu" else None)
    for seed in (1, 2):
        source = torch.Generator(device).manual_seed(seed)
        found = module.sample(cond, generator=source)
        space = module.latent_space()
        source.manual_seed(seed)
        numbers = torch.empty(events, space.width, device=device).normal_(generator=source)
        torch.testing.assert_close(space.events(numbers, cond).x, found.x, rtol=1e-4, atol=1e-4)
    record_property(f"graph/speed-up at batch {events}", plain / median_ms(draw, 5))


@pytest.mark.parametrize("device", DEVICES)
def test_one_rank_exchanges_with_itself(device: str, tmp_path: Path) -> None:
    """NCCL on a card, gloo on a CPU."""
    trainer = "ddp" if device == "cuda" else "ddp_cpu"
    words = (
        *("model=caloinn", "model/size=tiny", "data.limit=64", "data.batch_size=32", "logger=csv"),
        *("callbacks=minimal", f"trainer={trainer}", "trainer.devices=1", "trainer.max_steps=4"),
        *("trainer.max_epochs=-1", "evaluation=quick", "evaluation.events=20"),
        *("evaluation.replicas=2", "evaluation.draw=false", f"paths.run={tmp_path / 'run'}"),
        *("trainer.enable_progress_bar=false",),
    )
    try:
        figures = train(compose("train", list(words)))
    finally:
        end_group()
    assert figures["test/events"] == 20


@pytest.mark.parametrize("device", DEVICES)
def test_published_sizes_fit_a_card_of_24_gib(
    device: str, toy: Toy, record_property: Record
) -> None:
    for model in PUBLISHED if device == "cuda" else ["epic_gan"]:
        memory = memory_of(torch.device(device))
        memory.reset()
        module, batch = on(device, model, toy)
        loss_of(module.train(), batch).backward()
        moments = 2 * sum(item.nbytes for item in module.parameters())  # of AdamW
        peak = memory.peak() + moments
        record_property(f"{model}/training memory of 16 events [GiB]", peak / GIB)
        assert peak < 24 * GIB, model


@pytest.mark.parametrize("device", DEVICES)
def test_times_per_event_are_measured(device: str, toy: Toy, record_property: Record) -> None:
    for model in PUBLISHED if device == "cuda" else ["caloinn"]:
        module, _ = on(device, model, toy)
        protocol = Protocol(repeats=3, seconds=4.0)
        watch = Stopwatch(module, protocol, memory_of(torch.device(device)))
        for timing in watch([1, 100, 10_000] if device == "cuda" else [1, 2]):
            assert timing.note or timing.quantiles[2] > 0
            ms = timing.note or f"{timing.quantiles[2]:.4g}"
            record_property(f"{model}/ms per event at batch {timing.batch_size}", ms)
