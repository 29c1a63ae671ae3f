"""What physicists look at, while training: observables of generated events against the validation events."""

from __future__ import annotations

from pathlib import Path

import pytorch_lightning as pl
from pytorch_lightning.loggers import WandbLogger

from simulacra.callbacks.draw import save
from simulacra.callbacks.look import data_of, due, validation_pair
from simulacra.metrics import EvaluationResult, Evaluator
from simulacra.models.base import GenerativeModule
from simulacra.plotting import figures


class PhysicsValidation(pl.Callback):
    """Logs ``val/w1_mean``, ``val/w1/<observable>``, ``val/separation/<observable>`` and draws the figures.

    Events are sampled with the conditions of the validation events, the averaged weights and the same
    noise every time.

    Args:
        every: Validations between two looks.
        events: Validation events at most.
        seed: Seed of the noise.
        folder: Where the figures go.
        draw: Whether to draw figures.
    """

    def __init__(self, every: int, events: int, seed: int, folder: str, draw: bool) -> None:
        self.every, self.events, self.seed, self.folder, self.draw = (
            every,
            events,
            seed,
            Path(folder),
            draw,
        )
        self._number = 0
        self._evaluator: Evaluator | None = None

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Look, with the averaged weights in place."""
        if trainer.sanity_checking:
            return
        self._number += 1
        if not due(trainer, self._number, self.every):
            return
        assert isinstance(pl_module, GenerativeModule)
        found = validation_pair(trainer, pl_module, self.events, self.seed)
        logs: dict[str, float] = {}
        if found is not None:
            if self._evaluator is None:
                self._evaluator = Evaluator(
                    found.truth, data_of(trainer).judged, seed=self.seed, judge=False
                )
            result = self._evaluator(found.generated, "val/")
            logs = {
                key: value
                for key, value in result.metrics.items()
                if not key.endswith(("/error", "/floor"))
            }
            if self.draw:
                self._draw(trainer, result)
        logs = trainer.strategy.broadcast(logs)
        pl_module.log_dict(logs, on_step=False, on_epoch=True, batch_size=1)

    def _draw(self, trainer: pl.Trainer, result: EvaluationResult) -> None:
        for name, path in save(figures(result), self.folder, "val_").items():
            for logger in trainer.loggers:
                if isinstance(logger, WandbLogger):
                    logger.log_image(f"val/{name}", [str(path)], step=trainer.global_step)

    def state_dict(self) -> dict[str, int]:
        """Validations so far."""
        return {"number": self._number}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Go on counting."""
        self._number = state_dict["number"]
