"""What is minimised: a loss, the parameters it moves, how they are stepped and in which part of the run.

A run is counted in turns: one turn is one batch, or the group of batches whose gradients are accumulated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from simulacra.core import Latent, UserError
from simulacra.training.optim import Optim

Loss = Callable[[Latent, torch.Generator | None], dict[str, Tensor]]


@dataclass(frozen=True)
class Renewal:
    """A network that starts anew on schedule, such as a critic that must not rest on what it has learnt.

    Its weights are replaced by fresh ones, the same on all ranks, and its optimizer forgets what it has seen;
    the schedule of the learning rate goes on.

    Args:
        network: Whose weights are replaced; the objective moves its parameters and no others.
        make: Makes a network like it, with fresh weights.
        every: Turns of the objective from one start to the next.

    Raises:
        UserError: If ``every`` is below 1.
    """

    network: nn.Module
    make: Callable[[], nn.Module]
    every: int

    def __post_init__(self) -> None:
        if self.every < 1:
            raise UserError(f"a network starts anew every 1 or more turns, got {self.every}")


@dataclass(frozen=True)
class Objective:
    """One loss and its optimizer.

    Objectives of different phases may move the same parameters, each with its own optimizer.

    Args:
        loss: ``loss(latent, generator)`` returns scalars by name; ``"loss"`` is minimised, the
            others are logged. Gradients must reach all of ``parameters`` and no others.
        parameters: What the optimizer moves.
        optim: Makes the optimizer and its schedule, which is stepped once per optimizer step.
        begin: Where its phase begins, as a share of the run in [0, 1).
        end: Where its phase ends, as a share of the run in (0, 1].
        every: Take part in every ``every``-th turn of the phase only, from its first on.
        steps: Optimizer steps on each turn that it takes part in.
        after: Called after each of its optimizer steps, e.g. to move an average.
        renewal: What starts anew on schedule, or None.

    Raises:
        UserError: If the phase is none, or ``every`` or ``steps`` is below 1.
    """

    loss: Loss
    parameters: Sequence[nn.Parameter]
    optim: Optim
    begin: float = 0.0
    end: float = 1.0
    every: int = 1
    steps: int = 1
    after: Callable[[], None] | None = None
    renewal: Renewal | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.begin < self.end <= 1:
            raise UserError(
                f"a phase needs 0 <= begin < end <= 1, got begin={self.begin}, end={self.end}"
            )
        if self.every < 1 or self.steps < 1:
            raise UserError(
                f"an objective needs every >= 1 and steps >= 1, got {self.every} and {self.steps}"
            )

    @property
    def rate(self) -> float:
        """Optimizer steps per turn, on average over the run."""
        return self.steps / self.every * (self.end - self.begin)

    def turns(self, total: int) -> range:
        """Those of the ``total`` turns of a run in which it takes part."""
        return range(round(self.begin * total), round(self.end * total), self.every)

    def starts_anew(self, turn: int, total: int) -> bool:
        """Whether a network of it starts anew in one of its turns, before its step."""
        if self.renewal is None:
            return False
        done = self.turns(total).index(turn)
        return done > 0 and done % self.renewal.every == 0

    def in_phase(self, turn: int, total: int) -> bool:
        """Whether its phase lasts in a turn, be it this objective's or not."""
        turns = self.turns(total)
        return turns.start <= turn < turns.stop


def check_phases(objectives: Iterable[Objective]) -> None:
    """Refuse phases that leave a part of the run without an objective; a single one takes all of it.

    Raises:
        UserError: If they do.
    """
    reach = 0.0
    phases = sorted((objective.begin, objective.end) for objective in objectives)
    for begin, end in (*phases, (1.0, 1.0)):
        if begin > reach:
            raise UserError(
                f"nothing is trained between {reach:g} and {begin:g} of the run: the phase of an objective "
                "must begin where that of another ends, the first at 0 and the last until 1"
            )
        reach = max(reach, end)


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
