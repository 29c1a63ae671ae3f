"""An optimizer with its learning-rate schedule.

A schedule is called as ``schedule(optimizer, total_steps=n)`` and stepped once per optimizer step.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import CyclicLR, LambdaLR, LRScheduler, MultiStepLR, OneCycleLR

from simulacra.core.constructors import constructor
from simulacra.core.errors import UserError
from simulacra.core.ranges import Count, NotNegative, Positive, Share

_LARGEST = torch.finfo(torch.float32).max


@constructor
@dataclass(frozen=True)
class Optim:
    """How parameters are moved.

    Args:
        optimizer: Makes the optimizer from the parameters.
        scheduler: Makes the schedule from ``(optimizer, total_steps=...)``; None: a constant rate.
    """

    optimizer: Callable[[Iterable[nn.Parameter]], Optimizer]
    scheduler: Callable[..., LRScheduler] | None = None

    def start(self, parameters: Iterable[nn.Parameter]) -> Optimizer:
        """The optimizer of some parameters.

        Raises:
            UserError: If it does not take its settings.
        """
        try:
            made = self.optimizer(parameters)
        except (TypeError, ValueError) as error:
            raise UserError(f"the optimizer cannot be made: {error}") from error
        for name, value in made.param_groups[0].items():
            if isinstance(value, float) and not abs(value) <= _LARGEST:
                raise UserError(
                    f"the optimizer has {name}={value:g}, single precision ends at 3.4e38"
                )
        return made

    def schedule(self, optimizer: Optimizer, total_steps: int) -> LRScheduler | None:
        """The schedule of an optimizer over a number of steps, or None for a constant rate.

        Raises:
            UserError: If it does not take its settings.
        """
        if self.scheduler is None:
            return None
        try:
            return self.scheduler(optimizer, total_steps=total_steps)
        except (TypeError, ValueError, ZeroDivisionError) as error:
            raise UserError(f"the schedule of the optimizer cannot be made: {error}") from error


@constructor
def one_cycle(
    optimizer: Optimizer,
    total_steps: int,
    max_lr: Positive,
    pct_start: Share = 0.3,
    div_factor: Positive = 25.0,
    final_div_factor: Positive = 1e4,
) -> LRScheduler:
    """Rise to ``max_lr`` within ``pct_start`` of the run, then cosine decay (Smith and Topin,
    arXiv:1708.07120).
    """
    return OneCycleLR(
        optimizer,
        max_lr,
        total_steps,
        pct_start=pct_start,
        div_factor=div_factor,
        final_div_factor=final_div_factor,
    )


@constructor
def warmup_cosine(
    optimizer: Optimizer,
    total_steps: int,
    warmup: Share,
    final: NotNegative = 0.0,
    hold: Share = 0.0,
) -> LRScheduler:
    """Linear rise over the fraction ``warmup`` of the steps, the peak rate for the fraction ``hold``, then
    cosine decay to ``final`` times the peak rate.
    """
    rise = max(1, round(warmup * total_steps))
    decay = rise + round(hold * total_steps)

    def scale(step: int) -> float:
        if step < rise:
            return (step + 1) / rise
        progress = min(1.0, max(0, step - decay) / max(1, total_steps - decay))
        return final + (1 - final) * 0.5 * (1 + math.cos(math.pi * progress))

    return LambdaLR(optimizer, scale)


@constructor
def inverse_time(
    optimizer: Optimizer, total_steps: int, parts: Count, decay: NotNegative
) -> LRScheduler:
    """The rate over ``1 + decay n`` in part ``n`` of the run, of which there are ``parts`` of one length."""

    def scale(step: int) -> float:
        return 1 / (1 + decay * (step * parts // max(1, total_steps)))

    return LambdaLR(optimizer, scale)


@constructor
def milestones(
    optimizer: Optimizer, total_steps: int, at: Sequence[Share], factor: Positive = 0.5
) -> LRScheduler:
    """Times ``factor`` when each of the fractions ``at`` of the steps is done."""
    return MultiStepLR(optimizer, [round(part * total_steps) for part in at], gamma=factor)


@constructor
def triangles(
    optimizer: Optimizer, total_steps: int, low: Positive, high: Positive, rise: Count
) -> LRScheduler:
    """Linear rises from ``low`` to ``high`` within ``rise`` steps and back, each cycle half as high as the
    one before, whatever the number of steps (Smith, arXiv:1506.01186, ``triangular2``).
    """
    return CyclicLR(
        optimizer, low, high, step_size_up=rise, mode="triangular2", cycle_momentum=False
    )
