"""The last step of a training: judge what the module makes of the test events, write what was found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

from simulacra.callbacks.judge import write_details
from simulacra.callbacks.look import pair
from simulacra.core import Batch
from simulacra.data.base import EventDataModule
from simulacra.evaluation.build import TRUSTED, Trust, build_evaluator
from simulacra.evaluation.course import course
from simulacra.evaluation.facts import of_training
from simulacra.evaluation.publish import TWINS, publish, rows, table
from simulacra.metrics import Evaluator
from simulacra.metrics.engine.suite import DEFAULT
from simulacra.metrics.engine.weighted import effective
from simulacra.tracking.base import trackers
from simulacra.tracking.stages import stage
from simulacra.training.module import Module

FLOOR_SAMPLES = 3
"""Samples of training events, each of the generated sample's size, from which floors are taken, at most."""


def judge(
    module: Module,
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
    with stage("test", "test events generated"):
        found = pair(module, datamodule, "test", evaluation["events"], config["seed"])
    if found is None:
        return {}
    floor_events = module.truth(datamodule.batch(FLOOR_SAMPLES * found.asked))
    training = datamodule.native(floor_events)
    judge = build_evaluator(
        config, found.truth, datamodule.judged, truth=training, training=training, trust=trust
    )
    with stage("judging", "generated events judged"):
        result = judge(found.generated)
    n = len(found.generated)
    figures = dict(result.metrics)
    figures |= {"test/events": float(n), "test/time_per_event_ms": 1e3 * found.seconds / n}
    figures |= weights(found.generated) | best(trainer)
    if not module.transform.exact:
        figures |= closure(module, datamodule, judge, found.asked)
    kept = run / "checkpoints" / "best.ckpt"
    for logger in trainer.loggers:
        logger.save()  # the course of the training is drawn from what is written
    with stage("report", "figures and report written"):
        images = publish(
            result,
            figures,
            config,
            run,
            f"{config['model']['name']} on {config['data']['name']}",
            module.record.provenance,
            config["model"]["name"],
            of_training(module, trainer, kept),
            partial(course, run),
        )
    write_details(trainer, figures)
    for tracker in trackers(trainer.loggers):
        tracker.table("test/observables", *table(result))
        tracker.table("test/figures", *rows(figures))
        for name, path in images.items():
            tracker.image(f"figures/test/{name}", path)
        if kept.is_file():
            tracker.attach(kept, "model")
    return figures


def weights(events: Batch) -> dict[str, float]:
    """What event weights cost, where there are any: their mean, the effective share of the events
    ``(sum w)^2 / (n sum w^2)``, the largest weight over the mean.
    """
    if events.weight is None:
        return {}
    weight = events.weight.double()
    mean = float(weight.mean())
    return {
        "test/weight/mean": mean,
        "test/weight/effective": effective(weight) / len(events),
        "test/weight/largest": float(weight.max()) / mean,
    }


@torch.no_grad()
def closure(
    module: Module, datamodule: EventDataModule, judge: Evaluator, asked: int
) -> dict[str, float]:
    """What the transform of a module alone loses: true test events, normalised and back, against themselves.

    Returns:
        ``test/closure/w1_mean`` and ``test/closure/boosted_auc`` with their twins.
    """
    truth, size, parts = module.truth(datamodule.batch(asked, "test")), module.spec.sample_batch, []
    generator = torch.Generator(device=module.device).manual_seed(0)
    with module.evaluating():
        for start in range(0, len(truth), size):
            batch = truth[start : start + size].to(module.device)
            latent, cond = module.transform(batch), batch.conditions(module.given)
            back = module.transform.inverse(latent, cond, generator).to("cpu")
            parts.append(replace(back, weight=truth[start : start + size].weight))
    judge.scores = dict(DEFAULT)
    found = judge(datamodule.native(Batch.cat(parts)), "").metrics
    names = {"w1_mean": "w1_mean", "classifier/boosted/auc": "boosted_auc"}
    return {
        f"test/closure/{name}{twin}": found[key + twin]
        for key, name in names.items()
        for twin in TWINS
        if key + twin in found
    }


def best(trainer: pl.Trainer) -> dict[str, float]:
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


def measured(trainer: pl.Trainer) -> dict[str, float]:
    """What a training has measured by itself: its last losses and other figures, and the best one."""
    last = {key: float(value) for key, value in trainer.callback_metrics.items()}
    return {**last, **best(trainer)}
