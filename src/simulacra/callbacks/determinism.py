"""Training randomness as a function of (seed, epoch, batch, rank) alone.

Lightning saves no state of the random generators. They are seeded anew at every batch, so that a run that
goes on in the middle of an epoch draws what the run that was not interrupted has drawn, and nothing that a
validation draws has an effect on the training.
"""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch

from simulacra.core.ranges import Whole


class Determinism(pl.Callback):
    """Seeds Python's, NumPy's and torch's global generators at every training batch.

    Args:
        seed: Seed of the run.
    """

    def __init__(self, seed: Whole) -> None:
        self.seed = seed

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Seed before the step."""
        entropy = (self.seed, trainer.current_epoch, batch_idx, trainer.global_rank)
        words = np.random.SeedSequence(entropy).generate_state(3, np.uint32)
        random.seed(int(words[0]))
        np.random.seed(int(words[1]))  # noqa: NPY002  # the global generator is what third-party code draws from
        torch.manual_seed(int(words[2]))
