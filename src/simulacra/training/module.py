"""The contract of everything that is trained: a Lightning module that owns its transform.

A module names the data that it accepts, its losses and what moves them; stepping one or several optimizers,
statistics of the transform, checkpoints and validation losses are inherited. What it is for is the business
of its kind: a :class:`~simulacra.training.generative.GenerativeModule` samples, other tasks weigh or change
events.

Commands and callbacks ask every kind for three answers: which events are the truth (:meth:`Module.truth`),
which events stand against them (:meth:`Module.judged`), and what becomes of the events of a file
(:meth:`Module.applied`). Events can be weighed, moved, generated or given other event fields, and each of
these is a :class:`~simulacra.core.Batch`. No further kind of task therefore asks for a change here: a
transport answers with the moved events of one sample against those of the other; an unfolder is a generator
of particle level that is given detector level, and is judged like any generator; a regressor answers with the
same events, in which its prediction takes the place of an event field.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, ClassVar, Self, TypeVar

import torch
from torch import Tensor, nn

from simulacra.core import Batch, Conditions, IncompatibleError, Latent, Spec, UserError
from simulacra.core.constructors import role
from simulacra.nn import variational
from simulacra.nn.memory_layout import channels_last
from simulacra.nn.recompute import recompute_blocks
from simulacra.training.objective import Objective
from simulacra.training.record import Record
from simulacra.training.stepping import Stepping
from simulacra.transforms.base import Batches, Transform

Chunk = TypeVar("Chunk", Batch, Conditions)


@role
class Module(Stepping, ABC):
    """What is trained on events of one data set.

    Args:
        spec: What the data set promises.
        given: Conditions and event fields that the module is given (None: all conditions of the spec).

    Raises:
        IncompatibleError: If the family cannot represent the data set.
        UserError: If a condition of the data set is not given.
    """

    transform: Transform
    adversarial: ClassVar[bool] = False
    """Whether losses are those of players against each other, which do not say what weights are better."""
    resting: tuple[nn.Module, ...] = ()
    """Parts that stay in evaluation mode in training, too, so that their statistics stay as they are."""

    def __init__(self, spec: Spec, given: Sequence[str] | None = None) -> None:
        super().__init__()
        reason = self.unfit(spec)
        if reason is not None:
            raise IncompatibleError(f"{type(self).__name__} does not fit {spec.name}: {reason}")
        self.spec = spec
        self.given = (
            tuple(field.name for field in spec.conditions) if given is None else tuple(given)
        )
        self.given_fields = tuple(spec.field(name) for name in self.given)
        missing = [field.name for field in spec.conditions if field.name not in self.given]
        if missing:
            raise UserError(f"{spec.name} is conditioned on {missing}, which 'given' leaves out")
        self.record = Record()

    @classmethod
    @abstractmethod
    def accepts(cls, spec: Spec) -> str | None:
        """None if the family can represent the data set, else the reason in one sentence."""

    @classmethod
    def unfit(cls, spec: Spec) -> str | None:
        """Why the module cannot be built for a data set, or None: what its kind of task needs, then what the
        family does.
        """
        return cls.accepts(spec)

    @abstractmethod
    def objectives(self) -> dict[str, Objective]:
        """Losses by name; one is stepped by Lightning, several are stepped in order by the base
        class.
        """

    def used_parameters(self) -> list[nn.Parameter]:
        """Parameters that the trained module works with, those of which a moving average is kept; all by
        default.
        """
        return list(self.parameters())

    def settle(self) -> None:
        """Take anew what follows from weights that have been averaged, such as statistics of what they make;
        nothing by default. It is called before averaged weights are used or saved, draws no number that
        training sees, and comes to the same each time.
        """

    def truth(self, batch: Batch) -> Batch:
        """The true ones among events of the data set, in physical units; all by default."""
        return batch

    @abstractmethod
    def judged(
        self,
        batch: Batch,
        *,
        batch_size: int | None = None,
        generator: torch.Generator | None = None,
    ) -> Batch:
        """What the module makes of events of the data set, to be compared with :meth:`truth` of them.

        Args:
            batch: Events of the data set, in physical units, with their weights.
            batch_size: Events at once (None: the spec's ``sample_batch``).
            generator: Source of all randomness, on the module's device.

        Returns:
            Events in physical units on the CPU, not necessarily as many; their weights count.
        """

    def applied(self, batch: Batch, generator: torch.Generator | None = None) -> Batch:
        """What becomes of events, all at once: they, or some of them, with other weights or other values.

        Args:
            batch: Events in physical units.
            generator: Source of all randomness, on the module's device.

        Raises:
            UserError: If the module makes events of its own and changes none.
        """
        raise UserError(
            f"{type(self).__name__} makes events of its own and changes none: sample it"
        )

    def chunks(self, items: Chunk, batch_size: int | None) -> list[Chunk]:
        """Events or conditions, at most ``batch_size`` at once.

        Args:
            items: All of them.
            batch_size: How many at once (None: the spec's ``sample_batch``).

        Raises:
            UserError: If ``batch_size`` is not positive, or there are none.
        """
        size = self.spec.sample_batch if batch_size is None else batch_size
        if size < 1:
            raise UserError(f"batch_size must be at least 1, got {size}")
        if not len(items):
            raise UserError("the number of events must be at least 1, got 0")
        return [items[start : start + size] for start in range(0, len(items), size)]

    @property
    def has_posterior(self) -> bool:
        """Whether weights are normally distributed, so that one can draw networks."""
        return variational.has_posterior(self)

    @contextmanager
    def one_network(self, generator: torch.Generator | None = None) -> Iterator[None]:
        """One network drawn from the posterior for the duration of a block; outside of it the module
        is that of the mean weights.

        Raises:
            UserError: If the module has no posterior.
        """
        if not self.has_posterior:
            raise UserError(
                f"{type(self).__name__} has no posterior to draw networks from: its weights have one value"
            )
        with variational.one_network(self, generator):
            yield

    def encode(self, batch: Batch, generator: torch.Generator | None = None) -> Latent:
        """Normalise a batch; in training mode with dequantisation noise from ``generator``.

        Event weights go along, whatever the transform.
        """
        return replace(self.transform(batch, generator), weight=batch.weight)

    def fit_transform(self, batches: Batches) -> Self:
        """Take the transform's statistics from training events; once, on a fresh run, before
        training.
        """
        self.transform.fit(batches)
        return self

    def train(self, mode: bool = True) -> Self:
        """As of every network, but for the parts that rest."""
        super().train(mode)
        self.rest()
        return self

    def rest(self) -> None:
        """Put :attr:`resting` into evaluation mode."""
        for part in self.resting:
            part.eval()

    def on_train_start(self) -> None:
        """Let parts rest."""
        super().on_train_start()
        self.rest()

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Evaluation mode for the duration of a block."""
        if not _trains(self):  # quicker than to set all modes twice
            yield
            return
        before = self.training
        self.eval()
        try:
            yield
        finally:
            self.train(before)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what makes the file self-contained: spec, configuration, trained range, provenance,
        format version.
        """
        super().on_save_checkpoint(checkpoint)
        checkpoint["simulacra"] = {
            **self.record.to_dict(),
            "spec": self.spec.to_dict(),
            "given": list(self.given),
        }

    def compile_nets(self) -> None:
        """Compile every sub-network in place; names in the state dict stay as they are."""
        for name, child in self.named_children():
            if name != "transform":
                compile_called(child)

    def channels_last(self) -> None:
        """Lay the weights of convolutions with their channels last in memory, see
        :mod:`simulacra.nn.memory_layout`.

        Raises:
            UserError: If there is no convolution of images or volumes.
        """
        if not channels_last(self):
            raise UserError(
                f"no network of {type(self).__name__} has convolutions of images or volumes: set "
                "trainer.channels_last=false"
            )

    def recompute(self) -> None:
        """Compute inner values of the networks' blocks a second time on the way back, to save memory.

        Raises:
            UserError: If no network has blocks for it.
        """
        if not recompute_blocks(self):
            raise UserError(
                f"no network of {type(self).__name__} consists of blocks that can be recomputed: set "
                "trainer.recompute=false"
            )

    def validation_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Log the losses of the present phase on validation events, with the same noise at every epoch."""
        generator = torch.Generator(device=self.device).manual_seed(batch_idx)
        latent = self.encode(batch, generator)
        losses = {
            name: objective.loss(latent, generator)
            for name, objective in self.current_objectives().items()
        }
        prefix = "" if len(self.objectives()) == 1 else "{}/"
        for name, values in losses.items():
            logs = {
                f"val/{prefix.format(name)}{key}": value.detach() for key, value in values.items()
            }
            self.log_dict(logs, batch_size=len(batch), sync_dist=True)
        return next(iter(losses.values()))["loss"].detach()


def _trains(module: nn.Module) -> bool:
    """Whether any part is in training mode; quicker than ``modules()``, which names them."""
    parts = [module]
    for part in parts:
        if part.training:
            return True
        parts += [child for child in part._modules.values() if child is not None]
    return False


def compile_called(part: nn.Module) -> None:
    """Compile the outermost parts that are called: one without a ``forward``, such as a density that is asked
    for its loss, consists of them.
    """
    if type(part).forward is nn.Module.forward:
        for child in part.children():
            compile_called(child)
    else:
        part.compile()
