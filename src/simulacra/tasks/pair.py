"""What all tasks on two samples share: events of ``second`` are made to look like those of ``first``.

The data are those of :class:`~simulacra.data.pair.PairDataModule`, whose events carry a label. The truth is
``first``, and what is judged is ``second`` after :meth:`~simulacra.training.module.Module.applied`.

What was learnt from an event must not be applied to it: a classifier knows the fluctuations of its training
sample. A task therefore remembers hashes of the rows that it was trained and validated on, and refuses them
once training is over (:func:`simulacra.core.rows.known`). Who needs all rows changed trains on folds, each
with one left out, and joins them (:mod:`simulacra.tasks.folds`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Protocol, runtime_checkable

import torch
from pytorch_lightning.trainer.states import TrainerFn, TrainerStatus
from torch import Tensor

from simulacra.core import Batch, Latent, Spec, UserError
from simulacra.core.pair import FIRST, LABEL, SECOND, of_sample
from simulacra.core.rows import Learnt, known, row_hashes
from simulacra.training.module import Module


@runtime_checkable
class Remembers(Protocol):
    """Data that can say which rows are learnt from."""

    def learnt(self) -> dict[str, Tensor]:
        """Sorted hashes of rows by sample, int64 ``(N,)``."""

    def looked_at(self) -> Iterable[Batch]:
        """The events of validation, the same on every rank."""


class PairTask(Module):
    """A module that learns from two samples; a family implements ``applied``, which meets unlabelled events
    and asks :meth:`refuse_learnt` first.

    ``Latent.x["label"]`` is the label ``(B,)``, as a number.
    """

    @classmethod
    def unfit(cls, spec: Spec) -> str | None:
        """As of the base class; there must be two samples."""
        if LABEL not in spec.event:
            return "it compares two samples: take data=pair data/first=NAME data/second=NAME"
        return super().unfit(spec)

    def truth(self, batch: Batch) -> Batch:
        """The events of ``first``, without the label."""
        return of_sample(batch, FIRST)

    def judged(
        self,
        batch: Batch,
        *,
        batch_size: int | None = None,
        generator: torch.Generator | None = None,
    ) -> Batch:
        """The events of ``second``, changed.

        Raises:
            UserError: If there are none, or ``batch_size`` is not positive.
        """
        size = self.spec.sample_batch if batch_size is None else batch_size
        found = of_sample(batch, SECOND)
        if size < 1 or not len(found):
            raise UserError(
                f"judging needs events of the second sample and a batch_size from 1, got {len(found)} "
                f"events and batch_size={size}"
            )
        starts = range(0, len(found), size)
        return Batch.cat([self.applied(found[start : start + size], generator) for start in starts])

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
        found = known(row_hashes(batch, (LABEL.name,)), samples)
        if found:
            raise UserError(
                f"{found} of {len(batch)} events are among those that this {type(self).__name__} was trained "
                "on, whose fluctuations it knows: take other events, or train with data.folds=5 and "
                "data.fold=0 to 4 and give the five checkpoints as one file of folds"
            )

    @property
    def _fitting(self) -> bool:
        """Whether a training is under way."""
        if self._trainer is None:
            return False
        state = self._trainer.state
        return state.fn == TrainerFn.FITTING and state.status == TrainerStatus.RUNNING

    def encode(self, batch: Batch, generator: torch.Generator | None = None) -> Latent:
        """As of the base class, with the label."""
        latent = super().encode(batch, generator)
        label = batch.event[LABEL.name][:, 0].float()
        return replace(latent, x={**latent.x, LABEL.name: label})
