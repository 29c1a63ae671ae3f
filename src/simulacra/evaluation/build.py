"""From a resolved configuration to objects, with an answer to what fits where something does not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.loggers import Logger

from simulacra import data
from simulacra.core import IncompatibleError, Spec, UserError
from simulacra.core.instantiate import TRUSTED, Trust, instantiate
from simulacra.data.base import EventDataModule
from simulacra.evaluation.fitting import data_for, models_for
from simulacra.metrics.classifiers.posterior import Posterior
from simulacra.metrics.engine.events import Events
from simulacra.metrics.engine.score import Judged, Score
from simulacra.metrics.engine.suite import Evaluator
from simulacra.physics.base import ObservableSet
from simulacra.training import checkpoint
from simulacra.training.module import Module

Config = Mapping[str, Any]


def build_data(config: Config, trust: Trust = TRUSTED) -> EventDataModule:
    """The data set of a run; opens no file."""
    return data.build(config["data"], trusted=trust.trusted, allow=trust.allow)


LEVELS = ("quick", "standard", "challenge")
"""Settings of the evaluation, from the least to the published protocol."""


def build_scores(config: Config, trust: Trust = TRUSTED) -> dict[str, Score]:
    """Scores of the evaluation and, for events in native form, of the data set, which wins where both have
    one name; an entry with ``level`` is left out below that level.
    """
    evaluation = config["evaluation"]
    if evaluation["level"] not in LEVELS:
        raise UserError(
            f"evaluation.level is one of {', '.join(LEVELS)}, got {evaluation['level']!r}"
        )
    own = config["data"].get("scores") if config["data"].get("view") is None else None
    found = {}
    for name, entry in {**(evaluation.get("scores") or {}), **(own or {})}.items():
        if entry is None:
            continue
        if not isinstance(entry, Mapping) or entry.get("level", "quick") not in LEVELS:
            raise UserError(
                f"the score {name} has a _target_ and a level, got {str(entry)[:100]!r}"
            )
        if LEVELS.index(entry.get("level", "quick")) > LEVELS.index(evaluation["level"]):
            continue
        plain = {key: value for key, value in entry.items() if key != "level"}
        found[name] = instantiate(plain, Score, trust, f"evaluation.scores.{name}")
    return found


def build_evaluator(
    config: Config,
    reference: Events | Judged,
    observables: ObservableSet,
    *,
    truth: Events | Judged | None = None,
    training: Events | Judged | None = None,
    trust: Trust = TRUSTED,
) -> Evaluator:
    """The judge that an evaluation asks for.

    Args:
        config: Configuration with ``evaluation``, ``data`` and ``seed``.
        reference: True events; they and others may have been reduced before.
        observables: What is compared.
        truth: Independent true events for the floors, or None: halves of the reference.
        training: Events that the generator was trained on, where they are known.
        trust: Which scores the configuration may name.
    """
    evaluation = config["evaluation"]
    return Evaluator(
        reference,
        observables,
        truth=truth,
        training=training,
        scores=build_scores(config, trust),
        conditional=evaluation["conditional"],
        replicas=evaluation["replicas"],
        seed=config["seed"],
    )


def build_posterior(config: Config) -> Posterior | None:
    """What ranks several generated samples, where the evaluation has it."""
    entry = config["evaluation"].get("posterior")
    return None if entry is None else instantiate(entry, Posterior, where="evaluation.posterior")


def build_model(config: Config, spec: Spec, trust: Trust = TRUSTED) -> Module:
    """The model of a run.

    Raises:
        IncompatibleError: If it cannot represent the data set; the message lists what fits.
    """
    try:
        return checkpoint.build(config["model"], spec, trusted=trust.trusted, allow=trust.allow)
    except IncompatibleError as error:
        name = str(config["model"].get("name"))
        models = ", ".join(models_for(spec)) or "none"
        sets = ", ".join(data_for(name)) or "none"
        raise IncompatibleError(
            f"{error}; models that fit {spec.name}: {models}; data for {name}: {sets}"
        ) from error


def build_callbacks(config: Config, trust: Trust = TRUSTED) -> list[pl.Callback]:
    """The callbacks of a run, without those that are set to null."""
    return _built("callbacks", config.get("callbacks"), pl.Callback, trust)


def build_loggers(
    config: Config, trust: Trust = TRUSTED, versions: Mapping[str, str] | None = None
) -> list[Logger]:
    """The trackers of a run; ``versions`` are the ids of the tracked runs that go on, by tracker."""
    entries = dict(_named("logger", config.get("logger")))
    for name, version in (versions or {}).items():
        if "version" in (entries.get(name) or {}):
            entries[name] = {**entries[name], "version": version}
    return _built("logger", entries, Logger, trust)


def _built(group: str, entries: Mapping[str, Any] | None, kind: type, trust: Trust) -> list[Any]:
    """Objects of a dictionary; one that is null, or is only settings of what was not chosen, is left out."""
    return [
        instantiate(entry, kind, trust, f"{group}.{name}")
        for name, entry in _named(group, entries).items()
        if entry and not (isinstance(entry, Mapping) and "_target_" not in entry)
    ]


def _named(group: str, entries: object) -> Mapping[str, Any]:
    """The entries of a group by name, none where it is null."""
    if not isinstance(entries, Mapping | None):
        raise UserError(f"{group} holds its entries by name, got {type(entries).__name__}")
    return entries or {}
