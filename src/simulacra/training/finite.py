"""Steps of training whose loss or gradient is not finite: left out and counted, or the end of the training.

A NaN or an infinity that reaches the weights stays there. It is therefore looked for between the gradient and
the optimizer's step, once per step, and a step that is left out leaves no trace but its count.
"""

from __future__ import annotations

import logging
import math

import torch
from pytorch_lightning.utilities import rank_zero_only
from torch import Tensor, nn

from simulacra.core import UserError

log = logging.getLogger(__name__)


class Skips:
    """The steps that were left out.

    Args:
        allowed: How many may be, over the whole training.
        done: How many have been.
    """

    def __init__(self, allowed: int = 0, done: int = 0) -> None:
        self.allowed, self.done = allowed, done

    def count(self, objective: str, step: int, loss: float, norm: float) -> None:
        """Leave out one more step.

        Raises:
            UserError: If that is one too many.
        """
        value = f"loss {loss:g}" if not math.isfinite(loss) else f"gradient of norm {norm:g}"
        found = f"the {value} of the objective {objective!r} at step {step} is not finite"
        if self.done >= self.allowed:
            earlier = f" after {self.done} skipped steps" if self.done else ""
            raise UserError(
                f"training stopped{earlier}: {found}; try a smaller learning rate, a smaller "
                f"trainer.gradient_clip_val, or trainer.skip_nonfinite={self.done + 10} to leave out such "
                "steps"
            )
        self.done += 1
        _warn(f"{found}: skipped, {self.done} of {self.allowed} that are allowed")


@rank_zero_only
def _warn(text: str) -> None:
    log.warning(text)


class Buffers:
    """What a forward pass changes in a module besides gradients, such as running means, as it was before.

    Args:
        module: The module.
    """

    def __init__(self, module: nn.Module) -> None:
        self._now = list(module.buffers())
        self._before = [buffer.clone() for buffer in self._now]

    @torch.no_grad()
    def restore(self) -> None:
        """Put it back."""
        for now, before in zip(self._now, self._before, strict=True):
            now.copy_(before)


def finite(*values: Tensor) -> bool:
    """Whether all of some scalars are finite; the device is waited for once."""
    return bool(torch.isfinite(torch.stack([value.detach().double() for value in values])).all())
