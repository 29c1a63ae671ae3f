"""Which buffers training changes, and which of them processes send each other."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

from simulacra.dynamics.running_scale import RunningScale
from simulacra.nn.gathering import gathered
from simulacra.running.ranks import Family
from simulacra.running.strategy import WatchedDDP


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("table", torch.ones(1000))
        self.norm, self.scale = nn.BatchNorm1d(4), RunningScale(4)
        self.last = spectral_norm(nn.Linear(4, 2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.scale.see(x[..., None])
        return self.last(self.norm(x)) * self.table[0]


def test_buffers_that_change_in_training_are_known() -> None:
    net = Net()
    before = {name: value.clone() for name, value in net.named_buffers()}
    net(torch.randn(8, 4))
    changed = {n for n, value in net.named_buffers() if not torch.equal(value, before[n])}
    assert {"norm.running_mean", "scale.mean"} <= changed <= gathered(net)
    assert gathered(net) == set(before) - {"table"}


def test_processes_send_each_other_in_every_step_what_changes_alone(
    group: None, tmp_path: Path
) -> None:
    strategy = WatchedDDP(Family(tmp_path, lambda: ""), "gloo", find_unused=False)
    strategy.accelerator = None
    strategy._parallel_devices = [torch.device("cpu")]
    model = strategy._setup_model(Net())
    assert model.will_sync_module_buffers()
    assert set(model.named_module_buffers) == gathered(model.module)
    model(torch.randn(8, 4))
    assert "table" not in model.named_module_buffers
    assert sum(value.nbytes for value in model.modules_buffers) < 4000
