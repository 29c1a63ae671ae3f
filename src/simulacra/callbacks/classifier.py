"""The boosted judge during training: can trees tell generated events from the validation events?"""

from __future__ import annotations

import pytorch_lightning as pl

from simulacra.callbacks.judge import ValidationJudge
from simulacra.callbacks.look import Pair, data_of
from simulacra.metrics.classifiers.boosted import MIN_EVENTS, boosted


class ClassifierTest(ValidationJudge):
    """Logs ``val/boosted_auc`` and its error; 0.5 is perfect.

    Args:
        every: Validations between two tests.
        events: Validation events at most.
        seed: Seed of the noise and of the folds.
    """

    def judge(self, trainer: pl.Trainer, found: Pair) -> dict[str, float]:
        """AUC and error, from enough events."""
        if min(len(found.truth), len(found.generated)) < MIN_EVENTS:
            return {}
        judged = data_of(trainer).judged
        score = boosted(
            judged.features(found.truth),
            judged.features(found.generated),
            found.truth.weight,
            found.generated.weight,
            seed=self.seed,
        )
        return {"val/boosted_auc": score.auc, "val/boosted_auc_error": score.error}
