"""Training randomness as a function of (seed, epoch, rank) alone.

Lightning saves no state of the random generators, so a resumed run repeats the run that was not
interrupted only if the generators are seeded anew at every epoch. This happens at the first batch:
at the start of the epoch the loaders have not been made yet, and making them draws numbers.
"""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch


class Determinism(pl.Callback):
    """Seeds Python's, NumPy's and torch's global generators at batch 0 of each epoch.

    Args:
        seed: Seed of the run.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Seed before the first step of an epoch."""
        if batch_idx == 0:
            entropy = (self.seed, trainer.current_epoch, trainer.global_rank)
            words = np.random.SeedSequence(entropy).generate_state(3, np.uint32)
            random.seed(int(words[0]))
            np.random.seed(int(words[1]))  # noqa: NPY002  # the global generator is what third-party code draws from
            torch.manual_seed(int(words[2]))
