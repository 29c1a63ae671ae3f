r"""What the processes of a data-parallel training send each other, as torch's own record of it says.

A ring all-reduce of :math:`b` bytes over :math:`W` processes sends :math:`2 b (W - 1) / W` bytes from each of
them, and receives as many. Buffers, where a model has some, come from the first process in every step.
"""

from __future__ import annotations

import pytorch_lightning as pl
from torch.nn.parallel import DistributedDataParallel

MS = 1e-6
"""Milliseconds of a nanosecond."""


def exchange(trainer: pl.Trainer) -> dict[str, float]:
    """Figures of a step by key; nothing where one process trains.

    Returns:
        ``perf/ddp/gradient_mb`` and ``perf/ddp/buffer_mb`` that are exchanged [MB], ``perf/ddp/sent_mb`` by
        each process in a ring [MB], ``perf/ddp/buckets``, and averages over the steps that torch has timed:
        ``perf/ddp/exchange_ms`` from the first bucket that is sent to the last that has arrived, and
        ``perf/ddp/hidden_ms``, the part of it in which the backward pass was still computing [ms].
    """
    model = trainer.strategy.model
    if not isinstance(model, DistributedDataParallel):
        return {}
    noted = model._get_ddp_logging_data()
    size = int(noted["world_size"])
    gradients = sum(item.nbytes for item in model.parameters() if item.requires_grad)
    buffers = (
        sum(item.nbytes for item in model.modules_buffers)
        if model.will_sync_module_buffers()
        else 0
    )
    ring = 2 * (size - 1) / size
    return {
        "perf/ddp/gradient_mb": gradients / 1e6,
        "perf/ddp/buffer_mb": buffers / 1e6,
        "perf/ddp/sent_mb": (ring * gradients + buffers) / 1e6,
        "perf/ddp/buckets": float(noted.get("num_buckets_reduced", 0)),
        "perf/ddp/exchange_ms": MS * noted.get("avg_backward_comm_time", 0),
        "perf/ddp/hidden_ms": MS * noted.get("avg_backward_compute_comm_overlap_time", 0),
    }
