"""Two processes that keep half of the weights each, against one that keeps all of them."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, distributed, multiprocessing, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor
from torch.nn.utils import clip_grad_norm_

from simulacra.core import Batch
from simulacra.data.base import EventDataModule
from simulacra.nn import sharding
from simulacra.training.generative import GenerativeModule
from support import made

RANKS, STEPS = 2, 3


class Stepped(nn.Module):
    """A generator, and what is called in a step of its training."""

    def __init__(self, generator: GenerativeModule) -> None:
        super().__init__()
        self.generator = generator

    def loss(self, batch: Batch) -> Tensor:
        latent = self.generator.encode(batch, torch.Generator().manual_seed(1))
        (objective,) = self.generator.objectives().values()
        return objective.loss(latent, torch.Generator().manual_seed(2))["loss"]


def step(net: nn.Module, optimizer: torch.optim.Optimizer, loss: Tensor) -> Tensor:
    loss.backward()
    norm = sharding.whole(clip_grad_norm_(net.parameters(), 0.1))
    optimizer.step()
    optimizer.zero_grad()
    return norm


def adam(net: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.AdamW(net.parameters(), lr=1e-3, fused=True)


def far(one: dict[str, Any], other: dict[str, Any]) -> float:
    assert one.keys() == other.keys()
    return max(float((one[name] - value).abs().max()) for name, value in other.items())


def train(rank: int, store: str, whole: Stepped, batch: Batch) -> None:
    """One process; what it finds wrong is an error of the test."""
    torch.set_num_threads(1)
    file = distributed.FileStore(store, RANKS)
    distributed.init_process_group("gloo", store=file, rank=rank, world_size=RANKS)
    parted = deepcopy(whole)
    sharding.shard(parted, init_device_mesh("cpu", (RANKS,)), "loss")
    assert all(isinstance(item, DTensor) for item in parted.parameters())
    own = sum(item.to_local().nbytes for item in parted.parameters())
    assert own < 0.6 * sum(item.nbytes for item in whole.parameters())

    size = len(batch) // RANKS
    parts = [batch[i * size : (i + 1) * size] for i in range(RANKS)]
    mover, other = adam(parted), adam(whole)
    for _ in range(STEPS):
        norm = step(parted, mover, parted.loss(parts[rank]))
        means = torch.stack([whole.loss(part) for part in parts]).mean()
        torch.testing.assert_close(norm, step(whole, other, means), rtol=1e-4, atol=1e-6)

    found, kept = sharding.state(parted), sharding.optimizer_state(parted, mover)
    assert bool(found) == bool(kept) == (rank == 0)
    if rank == 0:
        weights = {name: value.float() for name, value in whole.state_dict().items()}
        assert far({name: value.float() for name, value in found.items()}, weights) < 1e-6
        moments = {key: entry["exp_avg"] for key, entry in other.state_dict()["state"].items()}
        assert far({k: entry["exp_avg"] for k, entry in kept["state"].items()}, moments) < 1e-6

    sharding.put_together(parted)
    with torch.no_grad():
        for part in parts[: rank + 1]:  # as often as each likes
            torch.testing.assert_close(parted.loss(part), whole.loss(part), rtol=1e-4, atol=1e-5)
    with sharding.apart(parted):
        assert sharding.in_parts(parted)
    assert not sharding.in_parts(parted)
    sharding.take_apart(parted)

    sharding.load_state(parted, {name: 2 * value for name, value in whole.state_dict().items()})
    sharding.load_optimizer_state(parted, mover, other.state_dict())
    sharding.put_together(parted)
    doubled = {name: 2 * value.detach() for name, value in whole.named_parameters()}
    assert far({n: value.detach() for n, value in parted.named_parameters()}, doubled) == 0
    sharding.take_apart(parted)
    step(parted, mover, parted.loss(parts[rank]))  # goes on
    distributed.destroy_process_group()


@pytest.mark.slow
@pytest.mark.grid
def test_halves_of_the_weights_train_as_the_whole_does(
    toy: Callable[..., EventDataModule], tmp_path: Path
) -> None:
    events = toy("ds2")
    module = made("vit", events.spec).fit_transform(events.fit_batches())
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.02 * torch.randn(parameter.shape))
    multiprocessing.start_processes(
        train,
        (str(tmp_path / "store"), Stepped(module), events.batch(8)),
        RANKS,
        start_method="fork",
    )
