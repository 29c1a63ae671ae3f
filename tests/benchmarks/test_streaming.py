"""Training on the 40,500 voxels of data set 3: memory, and the loader's share of a step.

``SIMULACRA_DATA=FOLDER pytest -m bench -s tests/benchmarks/test_streaming.py`` prints both for the setting of
an experiment, in a process of its own, with showers from the sparse cache on disk. Ten steps are enough:
memory grows no further, and each step draws other showers.
"""

from __future__ import annotations

import multiprocessing
import resource
import time
from pathlib import Path

import pytest
import torch

from simulacra import data
from simulacra.training.checkpoint import build
from support import composed

STEPS = 10
EXPERIMENTS = ["vit_ds3", "calodiffusion2_ds3"]


def measure(experiment: str) -> dict[str, float]:
    """Peak memory [GiB], seconds per step, share of the loader."""
    torch.set_num_threads(1)
    chosen = f"experiment={experiment}"
    events = data.build(composed("data", chosen))
    events.setup()
    torch.manual_seed(0)
    module = build(composed("model", chosen), events.spec)
    module.fit_transform([events.batch(32)])
    if composed("trainer", chosen)["recompute"]:
        module.recompute()
    ((_, objective),) = module.objectives().items()
    optimizer = objective.optim.optimizer(objective.parameters)
    batches, loading, training = iter(events.train_dataloader()), 0.0, 0.0
    module.train()
    for _ in range(STEPS):
        start = time.process_time()
        batch = next(batches)
        loaded = time.process_time()
        optimizer.zero_grad()
        objective.loss(module.encode(batch), None)["loss"].backward()
        optimizer.step()
        loading, training = loading + loaded - start, training + time.process_time() - loaded
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    step = (loading + training) / STEPS
    return {"gib": peak, "step": step, "loader": loading / (loading + training)}


@pytest.mark.bench
@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_data_set_3_trains_at_full_size_below_four_gib(
    experiment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIMULACRA_CACHE", str(tmp_path))
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        found = pool.apply(measure, (experiment,))
    print(  # noqa: T201
        f"\n{experiment}: {found['gib']:.2f} GiB at most, {found['step']:.2f} s per step, "
        f"of which the loader takes {found['loader']:.1%}"
    )
    assert found["gib"] < 4
    assert found["loader"] < 0.1
