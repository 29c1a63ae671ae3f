"""A training: fit a model, then test its best checkpoint."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.loggers import Logger
from pytorch_lightning.utilities import rank_zero_only
from pytorch_lightning.utilities.exceptions import MisconfigurationException, SIGTERMException

from simulacra.callbacks.interruption import noted, stopped_by
from simulacra.core import UserError
from simulacra.core.instantiate import TRUSTED, WRONG, Trust
from simulacra.core.signals import Interrupted, behind
from simulacra.data.base import EventDataModule
from simulacra.evaluation import build, saved
from simulacra.evaluation.judge import judge, measured
from simulacra.nn import sharding
from simulacra.running import distributed
from simulacra.running.opening import opening
from simulacra.running.quiet import expected_warnings
from simulacra.running.ranks import Family
from simulacra.running.signals import interruptible
from simulacra.running.trainer import build_trainer
from simulacra.tracking.base import trackers
from simulacra.tracking.identity import identity
from simulacra.tracking.runs import earlier
from simulacra.tracking.stages import duration, stage
from simulacra.training import checkpoint
from simulacra.training.fine_tuning import fine_tune
from simulacra.training.module import Module

log = logging.getLogger(__name__)


def train_resolved(
    config: dict[str, Any],
    *,
    resumed: bool = False,
    trust: Trust = TRUSTED,
    test: bool = True,
) -> dict[str, float]:
    """Train from a resolved configuration.

    Args:
        config: Resolved configuration.
        resumed: Whether the run directory holds a run that goes on.
        trust: What the configuration may name, and where its objects may write.
        test: Whether test events are generated and judged, and a report is written.

    Returns:
        The figures of ``metrics.json``; without a test those that the training itself has measured.

    Raises:
        UserError: If model and data do not fit, or the run directory is taken.
    """
    run = Path(config["paths"]["run"])
    start = starting_point(run, resumed)
    with expected_warnings(), interruptible():
        pl.seed_everything(config["seed"], workers=True, verbose=False)
        datamodule = build.build_data(config, trust)
        module = build.build_model(config, datamodule.spec, trust)
        build.build_scores(config, trust)  # what is wrong with them is said now, not after training
        with stage("transform", "data read, statistics of the transform fitted"):
            prepare(module, datamodule, config, start is None, trust)
        loggers = build.build_loggers(config, trust, versions=earlier(run))
        callbacks = build.build_callbacks(config, trust)
        family = Family(run, partial(how_to_go_on, run))
        trainer = build_trainer(config["trainer"], module, callbacks, loggers, family)
        with finished(loggers), distributed.together(family):
            introduce(config, run, loggers, start)
            opening(config, module, datamodule, trainer, run, loggers)
            with stage("training", "weights trained") as said:
                said.append(fit(trainer, module, datamodule, start, run))
            if test:
                load_best(module, run, trainer)
                figures = judge(module, datamodule, config, run, trainer, trust)
            else:
                figures = measured(trainer)
            return trainer.strategy.broadcast(figures)


def starting_point(run: Path, resumed: bool) -> Path | None:
    """The checkpoint to go on from: where it is asked for, or where the batch system has started a run again.

    Raises:
        UserError: If there is none, or if a fresh run would overwrite an earlier one.
    """
    last = run / "checkpoints" / "last.ckpt"
    if resumed and not last.is_file():
        raise UserError(f"{run} cannot go on: it has no checkpoints/last.ckpt")
    if not last.is_file():
        return None
    if not resumed and int(os.environ.get("SLURM_RESTART_COUNT", "0")) == 0:
        raise UserError(f"{run} holds a run already: choose another directory, or resume={run}")
    checkpoint.read(last)  # refuses files that hold code, and newer formats
    return last


def prepare(
    module: Module,
    datamodule: EventDataModule,
    config: dict[str, Any],
    fresh: bool,
    trust: Trust = TRUSTED,
) -> None:
    """Statistics of the transform, initial weights, what of them moves, and what the checkpoint remembers."""
    datamodule.setup()
    remark(datamodule)
    if fresh:
        module.fit_transform(datamodule.fit_batches())
        init = config["init"]
        if init["checkpoint"] is not None:
            fine_tune(
                module, init["checkpoint"], init["parts"], init["statistics"], config["allow"]
            )
    adaptation, parts = checkpoint.adapted(config, trust)
    adaptation.start(module, parts)
    module.record.config = config
    module.record.trained_range = datamodule.trained_range()
    module.record.conditions = datamodule.trained_conditions(module.given)
    module.record.provenance = {**datamodule.provenance, **identity()}


@rank_zero_only
def remark(datamodule: EventDataModule) -> None:
    """Warn of training events that do not look like the data set."""
    for text in datamodule.remarks().values():
        log.warning("%s: %s", datamodule.native_spec.name, text)


@rank_zero_only
def introduce(config: dict[str, Any], run: Path, loggers: list[Logger], start: Path | None) -> None:
    """Write the configuration to the run directory and to the trackers."""
    saved.save(config, run)
    step = None if start is None else logged_until(checkpoint.read(start))
    for logger in loggers:
        logger.log_hyperparams({**config, "identity": identity()})
    for tracker in trackers(loggers):
        tracker.begin(run, step)


def logged_until(contents: dict[str, Any]) -> int:
    """The last step under which figures can have been logged before a checkpoint was written.

    Loggers count batches that ended in a step, while ``global_step`` counts the steps of every optimizer.

    Raises:
        UserError: If the checkpoint does not say how far training had come.
    """
    try:
        return int(contents["loops"]["fit_loop"]["epoch_loop.state_dict"]["_batches_that_stepped"])
    except (KeyError, TypeError, ValueError) as error:
        raise UserError("the checkpoint does not say how far training had come") from error


@contextmanager
def finished(loggers: list[Logger]) -> Iterator[None]:
    """End the tracked run, whatever happens; what fails then does not hide why the run failed."""
    try:
        yield
    except BaseException:
        for error in _ended(loggers, failed=True):
            log.warning("a tracker was not brought to its end: %s", " ".join(str(error).split()))
        raise
    for error in _ended(loggers, failed=False):
        raise error


def _ended(loggers: list[Logger], failed: bool) -> list[Exception]:
    """Finish all trackers; the failures of those that could not write."""
    errors: list[Exception] = []
    steps = [partial(item.finalize, "failed" if failed else "success") for item in loggers]
    for step in [*steps, *(partial(item.finish, failed) for item in trackers(loggers))]:
        try:
            step()
        except (OSError, UserError) as error:
            errors.append(error)
    return errors


def fit(
    trainer: pl.Trainer,
    module: Module,
    datamodule: EventDataModule,
    start: Path | None,
    run: Path,
) -> str:
    """Fit, and say how to go on if it is interrupted.

    Returns:
        How far it came, and how much of the time judging took.

    Raises:
        UserError: If training cannot start, or a checkpoint holds another state than training goes on from.
    """
    begun = Begun()
    trainer.callbacks.append(begun)  # type: ignore[attr-defined]  # a list, made at run time
    try:
        trainer.fit(module, datamodule=datamodule, ckpt_path=start, weights_only=True)
        if (number := noted(trainer)) is not None:
            raise Interrupted(number)
    except SIGTERMException as error:
        raise Interrupted(stopped_by(trainer), how_to_go_on(run)) from error
    except Interrupted as error:
        error.advice = how_to_go_on(run)
        raise
    except MisconfigurationException as error:
        raise UserError(f"training cannot start: {' '.join(str(error).split())}") from error
    except UserError:
        raise
    except WRONG as error:
        if (stop := behind(error)) is not None:
            raise Interrupted(stop.number, how_to_go_on(run)) from None
        lost = isinstance(error, RuntimeError) and distributed.lost_rank(error)
        if lost or start is None or begun.training:
            raise
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise UserError(
            f"{start} holds another state than this training goes on from: {reason}"
        ) from error
    return f"(epochs: {trainer.current_epoch}; {begun.judging} for validation and judging)"


class Begun(pl.Callback):
    """Knows whether training has begun, which it does once all of a checkpoint is restored, and how long
    validations take.
    """

    training = False

    def __init__(self) -> None:
        self._seconds = self._start = 0.0

    @property
    def judging(self) -> str:
        """Time of all validations with their judges."""
        return duration(self._seconds)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """A validation begins."""
        self._start = time.monotonic()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """A validation is over."""
        self._seconds += time.monotonic() - self._start

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Training begins."""
        self.training = True


def how_to_go_on(run: Path) -> str:
    """What to say of a run that has stopped early."""
    if not (run / "checkpoints" / "last.ckpt").is_file():
        return ""
    return f"go on with: simulacra train resume={run}"


def load_best(module: Module, run: Path, trainer: pl.Trainer) -> None:
    """Put the best checkpoint's weights into the module; without one the module stays as it is."""
    trainer.strategy.barrier("best checkpoint")
    for name in ("best", "last"):
        path = run / "checkpoints" / f"{name}.ckpt"
        if path.is_file() and not trainer.fast_dev_run:  # type: ignore[attr-defined]  # a property made at run time
            checkpoint.load_weights(module, checkpoint.read(path)["state_dict"], str(path))
            break
    module.to(trainer.strategy.root_device)
    sharding.put_together(module)
