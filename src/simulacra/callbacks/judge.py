"""What every judge during training shares: when it looks, at which events, and where its figures go."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Mapping

import pytorch_lightning as pl
from pytorch_lightning.utilities import rank_zero_only

from simulacra.callbacks.look import Pair, due, validation_pair
from simulacra.core.ranges import Count, Whole
from simulacra.tracking.base import Tracker
from simulacra.training.generative import NonFiniteEventsError
from simulacra.training.module import Module

log = logging.getLogger(__name__)


def followed(figure: str) -> bool:
    """Whether people follow a figure over the steps: not if it is one of a single observable."""
    return figure.removesuffix("/floor").count("/") <= 1


def write_details(trainer: pl.Trainer, figures: Mapping[str, float]) -> None:
    """Give the loggers figures that nobody follows, at the step under which Lightning writes the others."""
    step = trainer.fit_loop.epoch_loop._batches_that_stepped
    for logger in trainer.loggers if figures else ():
        if isinstance(logger, Tracker):
            logger.details(figures, step)
        else:
            logger.log_metrics(dict(figures), step)


@rank_zero_only
def warn(text: str) -> None:
    """Say it once."""
    log.warning(text)


class ValidationJudge(pl.Callback, ABC):
    """Compares what the module makes of the validation events with them now and then, and logs what it finds.

    It is made with the averaged weights and the same noise every time: by all ranks, while rank 0 judges.

    Args:
        every: Validations between two looks.
        events: Validation events at most.
        seed: Seed of the noise.
    """

    def __init__(self, every: Count, events: Count, seed: Whole) -> None:
        self.every, self.events, self.seed = every, events, seed
        self._number = 0

    @abstractmethod
    def judge(self, trainer: pl.Trainer, found: Pair) -> dict[str, float]:
        """Figures by the name under which they are logged; called on rank 0 alone."""

    def look(self, trainer: pl.Trainer, module: Module) -> Pair | None:
        """What is judged, on rank 0; called on every rank."""
        return validation_pair(trainer, module, self.events, self.seed)

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Look, with the averaged weights in place.

        Figures of single observables go to the details of the trackers. Events that are not finite are not
        judged, so that no such weights become the best; training may still get over them.
        """
        if trainer.sanity_checking:
            return
        if not due(trainer, self._number + 1, self.every):
            return
        assert isinstance(pl_module, Module)
        try:
            found = self.look(trainer, pl_module)
        except NonFiniteEventsError as error:
            warn(f"{type(self).__name__} has nothing to judge: {error}")
            return
        logs = {} if found is None else self.judge(trainer, found)
        logs = trainer.strategy.broadcast(logs)
        charts = {name: value for name, value in logs.items() if followed(name)}
        rest = {name: value for name, value in logs.items() if name not in charts}
        pl_module.log_dict(charts, on_step=False, on_epoch=True, batch_size=1)
        pl_module.log_dict(rest, on_step=False, on_epoch=True, batch_size=1, logger=False)
        write_details(trainer, rest)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Count the validations that were not broken off."""
        self._number += not trainer.sanity_checking

    def state_dict(self) -> dict[str, int]:
        """Validations so far."""
        return {"number": self._number}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Go on counting."""
        self._number = state_dict["number"]
