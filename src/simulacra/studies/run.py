"""A study from a resolved configuration: its stages, then figures, report and trackers."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from simulacra.core import UserError
from simulacra.core.instantiate import instantiate
from simulacra.core.signals import Interrupted
from simulacra.evaluation import build, saved
from simulacra.evaluation.config import choices
from simulacra.evaluation.publish import rows, write_json
from simulacra.running.quiet import expected_warnings
from simulacra.running.signals import interruptible
from simulacra.running.train import finished
from simulacra.studies.bench import Bench
from simulacra.studies.settings import Settings
from simulacra.studies.study import Study
from simulacra.tracking.base import trackers
from simulacra.tracking.identity import identity
from simulacra.tracking.runs import earlier
from simulacra.tracking.study_page import write_study

PREFIX = "study/"
"""Of the keys of a study's figures in ``metrics.json``."""

log = logging.getLogger(__name__)


def study_resolved(settings: Settings) -> dict[str, float]:
    """Run a study in its run directory, or go on there.

    Returns:
        The figures of ``metrics.json``.

    Raises:
        UserError: If a stage cannot be done, or what lies in the directory was made from other inputs; the
            stages that are whole stay.
    """
    config = settings.config
    run = Path(config["paths"]["run"])
    if not config.get("study"):
        raise UserError(f"say which study=NAME: there are {', '.join(choices('study'))}")
    if config["trainer"]["strategy"] != "auto":
        raise UserError(
            "the trainings of a study run one after the other in one process: take trainer=cpu or trainer=gpu"
        )
    described = {key: value for key, value in config["study"].items() if key != "name"}
    study = instantiate(described, Study, settings.trust, "study")
    bench = Bench(run, settings)
    if not (run / saved.FILE).is_file():
        saved.save(dict(config), run)
    with expected_warnings(), interruptible():
        try:
            study.run(bench)
        except Interrupted as error:
            error.advice = how_to_go_on(run)
            raise
        except UserError:
            if bench.done():
                log.warning("the stages before are whole; %s", how_to_go_on(run))
            raise
        return conclude(bench)


def how_to_go_on(run: Path) -> str:
    """What to say of a study that has stopped early."""
    return f"go on with: simulacra study resume={run}"


def conclude(bench: Bench) -> dict[str, float]:
    """Write ``metrics.json`` and ``report.html``, and tell the trackers."""
    run, config = bench.run, bench.settings.config
    found = {key: value for section in bench.sections for key, value in section.figures.items()}
    figures = {f"{PREFIX}{key}": float(value) for key, value in sorted(found.items())}
    figures[f"{PREFIX}seconds"] = sum(stage.seconds for stage in bench.done())
    saved.save(dict(config), run)
    write_json(run / "metrics.json", figures)
    title = f"{config['study']['name']} on {config['data']['name']}"
    provenance = {**bench.origin(), **identity()}
    overrides = bench.settings.overrides
    write_study(
        run / "report.html", title, bench.sections, bench.done(), config, provenance, overrides
    )
    track(bench, figures)
    return figures


def track(bench: Bench, figures: Mapping[str, float]) -> None:
    """Leave figures and images with the trackers, as a run beside those of the trainings."""
    run, settings = bench.run, bench.settings
    config: dict[str, Any] = {**settings.config, "logger": settings.own_trackers()}
    loggers = build.build_loggers(config, settings.trust, versions=earlier(run))
    with finished(loggers):
        for logger in loggers:
            logger.log_hyperparams({**settings.config, "identity": identity()})
        for tracker in trackers(loggers):
            tracker.begin(run, None)
        for logger in loggers:
            logger.log_metrics(dict(figures), 0)
        for tracker in trackers(loggers):
            tracker.table(f"{PREFIX}figures", *rows(figures))
            for section in bench.sections:
                if section.image is not None:
                    tracker.image(f"{PREFIX}{section.title}", section.image)
