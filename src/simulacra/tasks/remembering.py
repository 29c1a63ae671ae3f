"""What tasks share that learn from events and are then applied to others.

What was learnt from an event must not be applied to it: a classifier knows the fluctuations of its training
sample. A task therefore remembers hashes of the rows that it was trained and validated on, and refuses them
once training is over (:func:`simulacra.core.rows.known`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, Protocol, runtime_checkable

from pytorch_lightning.trainer.states import TrainerFn, TrainerStatus
from torch import Tensor

from simulacra.core import Batch, UserError
from simulacra.core.rows import Learnt, known, row_hashes
from simulacra.training.module import Module


@runtime_checkable
class Remembers(Protocol):
    """Data that can say which rows are learnt from."""

    def learnt(self) -> dict[str, Tensor]:
        """Sorted hashes of rows by sample, int64 ``(N,)``."""

    def looked_at(self) -> Iterable[Batch]:
        """The events of validation, the same on every rank."""


class Remembering(Module):
    """A module that is applied to events which it has not learnt from; see the module's docstring."""

    marks: ClassVar[tuple[str, ...]]
    """Names of the event fields that training events have and those of a file lack."""
    remedy: ClassVar[str] = "take other events"
    """What is to be done where events are refused."""

    def on_fit_start(self) -> None:
        """Remember what is learnt from."""
        super().on_fit_start()
        datamodule = getattr(self.trainer, "datamodule", None)
        if isinstance(datamodule, Remembers):
            self.record.learnt = datamodule.learnt()

    def looked_at(self) -> Iterable[Batch] | None:
        """The labelled events of validation of the training under way, the same on every rank; None if it has
        none.
        """
        datamodule = getattr(self.trainer, "datamodule", None)
        return datamodule.looked_at() if isinstance(datamodule, Remembers) else None

    def refuse_learnt(self, batch: Batch) -> None:
        """Refuse events that were learnt from, unless training looks at how far it is.

        Raises:
            UserError: If there are more of them than chance explains.
        """
        if not self.record.learnt or self._fitting:
            return
        samples = [Learnt(rows) for rows in self.record.learnt.values()]
        found = known(row_hashes(batch, self.marks), samples)
        if found:
            raise UserError(
                f"{found} of {len(batch)} events are among those that this {type(self).__name__} was trained "
                f"on, whose fluctuations it knows: {self.remedy}"
            )

    @property
    def _fitting(self) -> bool:
        """Whether a training is under way."""
        if self._trainer is None:
            return False
        state = self._trainer.state
        return state.fn == TrainerFn.FITTING and state.status == TrainerStatus.RUNNING
