"""The boosted judge during training: can trees tell generated events from the validation events?"""

from __future__ import annotations

import pytorch_lightning as pl

from simulacra.callbacks.look import data_of, due, validation_pair
from simulacra.metrics.boosted import MIN_EVENTS, boosted
from simulacra.models.base import GenerativeModule


class ClassifierTest(pl.Callback):
    """Logs ``val/boosted_auc`` and its error; 0.5 is perfect.

    Args:
        every: Validations between two tests.
        events: Validation events at most.
        seed: Seed of the noise and of the folds.
    """

    def __init__(self, every: int, events: int, seed: int) -> None:
        self.every, self.events, self.seed = every, events, seed
        self._number = 0

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Test, with the averaged weights in place."""
        if trainer.sanity_checking:
            return
        self._number += 1
        if not due(trainer, self._number, self.every):
            return
        assert isinstance(pl_module, GenerativeModule)
        found = validation_pair(trainer, pl_module, self.events, self.seed)
        logs: dict[str, float] = {}
        if found is not None and len(found.truth) >= MIN_EVENTS:
            judged = data_of(trainer).judged
            score = boosted(
                judged.features(found.truth), judged.features(found.generated), seed=self.seed
            )
            logs = {"val/boosted_auc": score.auc, "val/boosted_auc_error": score.error}
        logs = trainer.strategy.broadcast(logs)
        pl_module.log_dict(logs, on_step=False, on_epoch=True, batch_size=1)

    def state_dict(self) -> dict[str, int]:
        """Validations so far."""
        return {"number": self._number}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Go on counting."""
        self._number = state_dict["number"]
