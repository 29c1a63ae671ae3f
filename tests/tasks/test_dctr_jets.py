"""DCTR on jets whose ratio is known: it undoes a shift, and finds nothing where there is nothing."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import pytorch_lightning as pl
import torch

from simulacra.core.pair import FIRST, of_sample
from simulacra.data.base import Loading
from simulacra.data.pair import PairDataModule
from simulacra.data.toy_samples import ToyJets
from simulacra.data.toys import ToyData
from simulacra.metrics.classifiers.boosted import Score, boosted
from simulacra.training import checkpoint
from support import composed


@dataclass
class Result:
    """Weights of new events of ``second``, and what a judge says of both samples with and without them."""

    weight: torch.Tensor
    before: Score
    after: Score


def score(shift: float, seed: int, epochs: int = 5) -> Result:
    """Train on 40,000 jets of each sample, weigh 20,000 new ones."""
    sides = [
        ToyData("toy_pj", toy, {"train": 40_000, "test": 20_000}, Loading(256))
        for toy in (ToyJets(seed=2 * seed), ToyJets(seed=2 * seed + 1, shift=shift))
    ]
    events = PairDataModule(*sides, Loading(1000, 8192))
    torch.manual_seed(seed)
    model = composed("model", "model=dctrgan", "model/size=small")
    module = checkpoint.build(model, events.spec).fit_transform(events.fit_batches())
    trainer = pl.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        gradient_clip_val=1.0,
    )
    trainer.fit(module, datamodule=events)
    new = events.batch(40_000, "test")
    truth, made = of_sample(new, FIRST), module.judged(new)
    features = [sides[0].observables.features(batch) for batch in (truth, made)]
    before, after = (boosted(*features, None, weight) for weight in (None, made.weight))
    return Result(made.weight_or_one().double(), before, after)


@pytest.mark.smoke
def test_weights_undo_a_shift() -> None:
    found = score(0.18, 0)
    assert found.before.auc > 0.56
    assert found.after.auc < 0.52
    n, mean = len(found.weight), float(found.weight.mean())
    assert abs(mean - 1) < 0.1
    assert float(found.weight.sum() ** 2 / found.weight.square().sum()) / n > 0.5


@pytest.mark.smoke
def test_the_same_distribution_twice_gives_weights_near_one() -> None:
    found = score(0.0, 0)
    assert float(found.weight.std()) < 0.05
    assert abs(found.after.auc - 0.5) < 4 * found.after.error
