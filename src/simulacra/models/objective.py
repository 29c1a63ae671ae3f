"""What is minimised: a loss, the parameters it moves and how they are stepped."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from simulacra.core import Latent
from simulacra.models.optim import Optim

Loss = Callable[[Latent, torch.Generator | None], dict[str, Tensor]]


@dataclass(frozen=True)
class Objective:
    """One loss and its optimizer.

    Args:
        loss: ``loss(latent, generator)`` returns scalars by name; ``"loss"`` is minimised, the
            others are logged. Gradients must reach all of ``parameters`` and no others.
        parameters: What the optimizer moves.
        optim: Makes the optimizer and its schedule, which is stepped once per optimizer step.
        every: Take part in every ``every``-th batch only.
        steps: Optimizer steps on each batch that it takes part in.
    """

    loss: Loss
    parameters: Sequence[nn.Parameter]
    optim: Optim
    every: int = 1
    steps: int = 1

    @property
    def rate(self) -> float:
        """Optimizer steps per batch."""
        return self.steps / self.every


@contextmanager
def frozen(*modules: nn.Module) -> Iterator[None]:
    """Build a graph in which the modules' parameters are constants."""
    parameters = [p for module in modules for p in module.parameters() if p.requires_grad]
    for parameter in parameters:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(True)
