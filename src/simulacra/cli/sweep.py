"""The table of a sweep: each job's figures, and mean and standard deviation over seeds."""

from __future__ import annotations

import difflib
import json
import logging
import math
import os
import statistics
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from simulacra.cli import failures
from simulacra.cli.errors import stopped
from simulacra.core import UserError
from simulacra.core.files import write_text
from simulacra.metrics.engine.result import is_twin
from simulacra.tracking.runs import job_number

if TYPE_CHECKING:
    from simulacra.plotting.curves import Level

COLUMNS = ("test/classifier/boosted/auc", "test/w1_mean", "test/time_per_event_ms")
CURVES = {"test/w1_mean": "mean W1", "test/classifier/boosted/auc": "AUC boosted"}
"""Figures that are drawn over a number, with their names."""
STUDY = "study/"
"""Beginning of the figures of a study, which all are in the table but for their errors and floors."""
NOT_SETTING = ("seed", "sweeps")
"""Overrides that do not tell settings apart: jobs that differ in the seed alone are repetitions."""


MOST_PLACES = 8
"""Decimals that the table shows."""
UNNAMED = "multirun"
"""Name of a sweep that was given on the command line alone."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """A finished job: its overrides and figures."""

    overrides: tuple[str, ...]
    figures: dict[str, float]

    @property
    def setting(self) -> tuple[str, ...]:
        """The overrides without the seed."""
        return tuple(item for item in self.overrides if item.partition("=")[0] not in NOT_SETTING)


class SweepTable(Callback):
    """Writes ``table.md`` and ``table.json`` into a sweep's folder, anew after every job."""

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Before anything runs."""
        failures.begin(Path(str(config.hydra.sweep.dir)))
        check_storage(config)

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        """Update while the sweep goes on."""
        if config.hydra.mode == RunMode.MULTIRUN:
            failures.keep(job_return)
            folder = Path(str(config.hydra.sweep.dir))
            rows = write_table(folder, config.get("columns") or ())
            if config.get("curve"):
                draw(folder, rows, str(config.curve))


PAUSES = (0.3, 1.0)
"""Seconds until a storage is opened again, which another process may be making at the same moment."""


def check_storage(config: DictConfig) -> None:
    """The storage of a search can be opened.

    Raises:
        SystemExit: If it cannot; Hydra would turn any other exception of a callback into a warning.
    """
    storage = config.hydra.sweeper.get("storage")
    if not isinstance(storage, str):
        return
    os.environ.setdefault("SQLALCHEMY_SILENCE_UBER_WARNING", "1")  # of what the extra has pinned
    import optuna.storages
    from sqlalchemy.exc import DBAPIError, SQLAlchemyError

    found = {name: version(name) for name in ("optuna", "SQLAlchemy")}
    old = int(found["optuna"].partition(".")[0]) < 3
    try:
        if old and int(found["SQLAlchemy"].partition(".")[0]) >= 2:
            raise UserError(
                f"Optuna {found['optuna']} cannot use a storage with SQLAlchemy {found['SQLAlchemy']}: "
                "install simulacra[sweep], which asks for an older one"
            )
        for pause in PAUSES:
            with suppress(DBAPIError):
                optuna.storages.get_storage(storage)
                return
            time.sleep(pause)
        optuna.storages.get_storage(storage)
    except UserError as error:
        raise stopped(error) from None
    except (SQLAlchemyError, ImportError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise stopped(UserError(f"the storage {storage} cannot be opened: {reason}")) from None


def write_table(folder: Path, columns: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Collect the jobs below ``folder`` and write their table; nothing where none has finished.

    Args:
        folder: The sweep's.
        columns: Figures in the table for people behind :data:`COLUMNS`; the other one has all.

    Returns:
        One row per setting: its overrides, number of jobs, and ``{figure: {"mean": .., "std": ..}}``.
    """
    rows = aggregate(jobs(folder))
    if rows:
        write_text(folder / "table.json", json.dumps(rows, indent=2) + "\n")
        write_text(folder / "table.md", markdown(rows, columns))
    return rows


def jobs(folder: Path) -> list[Job]:
    """Jobs that have written their figures; one whose files are damaged is left out and named."""
    found = []
    for path in sorted(folder.glob("*/metrics.json"), key=_number):
        overrides = path.parent / ".hydra" / "overrides.yaml"
        if overrides.is_file():
            try:
                found.append(_job(path, overrides))
            except UserError as error:
                log.warning("%s: the table leaves this job out", error)
    return found


def _number(path: Path) -> tuple[int, str]:
    """Jobs in their order: 2 before 10."""
    name = path.parent.name
    return job_number(name) or 0, name


def _job(path: Path, overrides: Path) -> Job:
    """One finished job.

    Raises:
        UserError: If its files are damaged.
    """
    try:
        items = OmegaConf.to_container(OmegaConf.load(overrides), resolve=False)
        figures = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, YAMLError, OmegaConfBaseException, RecursionError) as error:
        reason = " ".join(str(error).split())[:100]
        raise UserError(f"{path.parent} has damaged files ({reason})") from error
    if not isinstance(items, list) or not isinstance(figures, dict):
        raise UserError(f"{path.parent} has files that hold something else")
    numbers = {str(name): value for name, value in figures.items() if _is_number(value)}
    return Job(tuple(map(str, items)), {name: float(value) for name, value in numbers.items()})


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def aggregate(found: Iterable[Job]) -> list[dict[str, Any]]:
    """Mean and standard deviation (of the sample; None for one job) over jobs of one setting.

    A setting is named by what is not the same in all jobs.
    """
    done = list(found)
    shared = set.intersection(*(set(job.setting) for job in done)) if len(done) > 1 else set()
    groups: dict[tuple[str, ...], list[Job]] = {}
    for job in done:
        varied = tuple(item for item in job.setting if item not in shared)
        groups.setdefault(varied, []).append(job)
    return [
        {
            "setting": list(setting),
            "jobs": len(group),
            "figures": {name: _moments(values) for name, values in _values(group).items()},
        }
        for setting, group in groups.items()
    ]


def markdown(rows: Sequence[dict[str, Any]], columns: Sequence[str] = ()) -> str:
    """The table for people, with further columns behind the usual ones."""
    of_studies = [
        name
        for row in rows
        for name in row["figures"]
        if name.startswith(STUDY) and not is_twin(name, row["figures"])
    ]
    shown = [
        name
        for name in dict.fromkeys([*COLUMNS, *of_studies, *columns])
        if any(name in row["figures"] for row in rows)
    ]
    lines = ["| setting | jobs | " + " | ".join(shown) + " |", "|---|---|" + "---|" * len(shown)]
    for row in rows:
        cells = [_cell(row["figures"].get(name)) for name in shown]
        lines.append(f"| {' '.join(row['setting'])} | {row['jobs']} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def draw(folder: Path, rows: Sequence[dict[str, Any]], over: str) -> None:
    """Draw figures of a sweep over a number that it varies to ``curve.png``, a line per setting of the rest;
    nothing where jobs do not differ in it yet.
    """
    from simulacra.plotting.curves import curves
    from simulacra.tracking.draw import save  # what draws takes seconds to be imported

    shown = [name for name in CURVES if any(name in row["figures"] for row in rows)]
    lines: dict[str, dict[float, list[Level | None]]] = {}
    for row in rows:
        setting = dict(item.partition("=")[::2] for item in row["setting"])
        try:
            place = float(setting.pop(over))
        except (KeyError, ValueError):
            continue
        levels = [_level(row["figures"].get(name)) for name in shown]
        name = " ".join(setting.values()) or "all jobs"
        lines.setdefault(name, {})[place] = levels
    if len({place for line in lines.values() for place in line}) < 2 or not shown:
        return
    floors = [_level(rows[-1]["figures"].get(f"{name}/floor")) for name in shown]
    figure = curves(
        lines,
        [CURVES[name] for name in shown],
        [None if level is None else level.mean for level in floors],
        over.rpartition(".")[2].replace("_", " "),
    )
    save({"curve": figure}, folder)


def _level(moments: dict[str, float | None] | None) -> Level | None:
    from simulacra.plotting.curves import Level

    if moments is None or moments["mean"] is None:
        return None
    return Level(moments["mean"], moments["std"])


def _values(group: Sequence[Job]) -> dict[str, list[float]]:
    names = sorted(set.intersection(*(set(job.figures) for job in group)))
    return {name: [float(job.figures[name]) for job in group] for name in names}


def _moments(values: Sequence[float]) -> dict[str, float | None]:
    return {
        "mean": statistics.fmean(values),
        "std": statistics.stdev(values) if len(values) > 1 else None,
    }


def _cell(moments: dict[str, float | None] | None) -> str:
    """A mean with two digits of its deviation, both to as many places; a single job has none."""
    if moments is None or moments["mean"] is None:
        return ""
    mean, std = moments["mean"], moments["std"]
    if std is None:
        return f"{mean:.4g}"
    if not std:
        return f"{mean:.4g} ± 0"
    places = 1 - math.floor(math.log10(std))
    if places > MOST_PLACES:
        return f"{mean:.4g} ± {std:.1e}"
    return f"{mean:.{max(places, 0)}f} ± {std:.{max(places, 0)}f}"


def objective(cfg: DictConfig, figures: Mapping[str, Any]) -> float | None:
    """The figure that a sweeper optimises, None where there is none and it does not matter.

    Raises:
        UserError: If a sweeper that optimises misses it.
    """
    name = cfg.get("objective")
    if name in figures:
        return float(figures[name])
    if name is None or HydraConfig.get().sweeper.get("direction") is None:
        return None
    close = difflib.get_close_matches(name, figures, 3)
    raise UserError(
        f"there is no figure objective={name} to optimise: {', '.join(close) or 'none'} come close"
    )


def set_group(cfg: DictConfig) -> None:
    """In a multirun, give trackers the name under which the jobs stand together.

    That is the sweep's, or the time where the sweep was given on the command line alone.
    """
    hydra = HydraConfig.get()
    if hydra.mode != RunMode.MULTIRUN:
        return
    unnamed = f"{UNNAMED}-{Path(str(hydra.sweep.dir)).name}"
    for entry in (cfg.get("logger") or {}).values():
        if entry and "group" in entry and entry.group is None:
            entry.group = unnamed if cfg.sweep == UNNAMED else cfg.sweep
