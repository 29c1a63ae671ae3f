"""The last step of a training: generate with the test events' conditions, judge, write what was found."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from simulacra.callbacks.look import pair
from simulacra.cli.build import TRUSTED, Trust, build_scores
from simulacra.cli.publish import publish, table
from simulacra.data.base import EventDataModule
from simulacra.metrics import evaluate
from simulacra.models.base import GenerativeModule
from simulacra.tracking.base import trackers

FLOOR_SAMPLES = 3
"""Samples of training events, each of the generated sample's size, from which floors are taken, at most."""


def judge(
    module: GenerativeModule,
    datamodule: EventDataModule,
    config: Mapping[str, Any],
    run: Path,
    trainer: pl.Trainer,
    trust: Trust = TRUSTED,
) -> dict[str, float]:
    """Test a trained module; call it on every rank.

    Returns:
        What ``metrics.json`` holds, on rank 0; nothing on the others.
    """
    evaluation = config["evaluation"]
    found = pair(module, datamodule, "test", evaluation["events"], config["seed"])
    if found is None:
        return {}
    training = datamodule.native(datamodule.batch(FLOOR_SAMPLES * len(found.generated)))
    result = evaluate(
        found.truth,
        found.generated,
        datamodule.judged,
        truth=training,
        training=training,
        scores=build_scores(config, trust),
        conditional=evaluation["conditional"],
        replicas=evaluation["replicas"],
        seed=config["seed"],
    )
    n = len(found.generated)
    figures = dict(result.metrics)
    figures |= {"test/events": float(n), "test/time_per_event_ms": 1e3 * found.seconds / n}
    figures |= _validation(trainer)
    images = publish(
        result,
        figures,
        config,
        run,
        f"{config['model']['name']} on {config['data']['name']}",
        module.record.provenance,
    )
    for logger in trainer.loggers:
        logger.log_metrics(figures, step=trainer.global_step)
    for tracker in trackers(trainer.loggers):
        tracker.table("test/observables", *table(result))
        for name, path in images.items():
            tracker.image(f"test/{name}", path)
        tracker.attach(run / "checkpoints" / "best.ckpt", "model")
    return figures


def _validation(trainer: pl.Trainer) -> dict[str, float]:
    """The best validation figure, by which a sweeper chooses."""
    scored = [
        item
        for item in trainer.checkpoint_callbacks
        if isinstance(item, pl.callbacks.ModelCheckpoint)
    ]
    return {
        f"best/{item.monitor}": float(item.best_model_score)
        for item in scored
        if item.best_model_score is not None
    }
