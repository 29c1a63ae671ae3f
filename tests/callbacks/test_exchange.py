"""What is said of the exchange between processes, with a group of one."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from simulacra.callbacks.exchange import exchange


def test_gradients_and_buffers_are_counted(group: None) -> None:
    net = nn.Sequential(nn.Linear(10, 100), nn.BatchNorm1d(100), nn.Linear(100, 3))
    net[2].bias.requires_grad_(False)
    model = nn.parallel.DistributedDataParallel(net)
    for _ in range(3):
        model(torch.randn(4, 10)).sum().backward()
    found = exchange(SimpleNamespace(strategy=SimpleNamespace(model=model)))
    assert found["perf/ddp/gradient_mb"] == pytest.approx(4e-6 * (1100 + 200 + 300))
    buffers = 4e-6 * 200 + 8e-6  # of the normalisation: two statistics, one counter
    assert found["perf/ddp/buffer_mb"] == pytest.approx(buffers)
    assert found["perf/ddp/sent_mb"] == pytest.approx(buffers)  # alone it sends no gradients
    assert found["perf/ddp/buckets"] == 1
    assert 0 < found["perf/ddp/hidden_ms"] <= found["perf/ddp/exchange_ms"]


def test_one_process_exchanges_nothing() -> None:
    assert exchange(SimpleNamespace(strategy=SimpleNamespace(model=nn.Linear(1, 1)))) == {}
