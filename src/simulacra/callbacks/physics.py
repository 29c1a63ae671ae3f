"""What physicists look at, while training: observables of generated events against the validation events."""

from __future__ import annotations

from pathlib import Path

import pytorch_lightning as pl
from pytorch_lightning.loggers import WandbLogger

from simulacra.callbacks.draw import save
from simulacra.callbacks.judge import ValidationJudge
from simulacra.callbacks.look import Pair, data_of
from simulacra.metrics import EvaluationResult, Evaluator
from simulacra.plotting import figures


class PhysicsValidation(ValidationJudge):
    """Logs ``val/w1_mean``, ``val/w1/<observable>``, ``val/separation/<observable>`` and draws the figures.

    Args:
        every: Validations between two looks.
        events: Validation events at most.
        seed: Seed of the noise.
        folder: Where the figures go.
        draw: Whether to draw figures.
    """

    def __init__(self, every: int, events: int, seed: int, folder: str, draw: bool) -> None:
        super().__init__(every, events, seed)
        self.folder, self.draw = Path(folder), draw
        self._evaluator: Evaluator | None = None

    def judge(self, trainer: pl.Trainer, found: Pair) -> dict[str, float]:
        """Distances of the observables; the figures on the way."""
        if self._evaluator is None:
            self._evaluator = Evaluator(
                found.truth, data_of(trainer).judged, seed=self.seed, scores={}
            )
        result = self._evaluator(found.generated, "val/")
        if self.draw:
            self._draw(trainer, result)
        twins = ("/error", "/floor")
        return {key: value for key, value in result.metrics.items() if not key.endswith(twins)}

    def _draw(self, trainer: pl.Trainer, result: EvaluationResult) -> None:
        for name, path in save(figures(result), self.folder, "val_").items():
            for logger in trainer.loggers:
                if isinstance(logger, WandbLogger):
                    logger.log_image(f"val/{name}", [str(path)], step=trainer.global_step)
