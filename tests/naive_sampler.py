"""Inverse of a masked autoregressive flow by one full network pass per feature: slow and plain."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from simulacra.dynamics.autoregressive import MaskedAutoregressive
from simulacra.dynamics.flows import Flow


def naive_step(step: nn.Module, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
    """Values and log-determinant of the inverse of one step."""
    x = torch.zeros_like(z)
    for i in range(z.shape[1]):
        moved, log_slope = step.spline.inverse(z, step.free(x, context))
        x[:, i] = moved[:, i]
    return x, log_slope.sum(-1)


@torch.no_grad()
def naive_inverse(flow: Flow, z: Tensor, context: Tensor | None) -> Tensor:
    """Values of the inverse of a flow."""
    for step in reversed(flow.steps):
        if isinstance(step, MaskedAutoregressive):
            z, _ = naive_step(step, z, context)
        else:
            z, _ = step.inverse(z, context)
    return z
