"""The table of a sweep: each job's figures, and mean and standard deviation over seeds."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from simulacra.core.files import write_text

COLUMNS = ("test/classifier/boosted/auc", "test/w1_mean", "test/time_per_event_ms")
NOT_SETTING = ("seed", "sweeps")
"""Overrides that do not tell settings apart: jobs that differ in the seed alone are repetitions."""


UNNAMED = "multirun"
"""Name of a sweep that was given on the command line alone."""


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

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        """Update while the sweep goes on."""
        self._write(config)

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Final table."""
        self._write(config)

    @staticmethod
    def _write(config: DictConfig) -> None:
        if config.hydra.mode == RunMode.MULTIRUN:
            write_table(Path(str(config.hydra.sweep.dir)))


def write_table(folder: Path) -> list[dict[str, Any]]:
    """Collect the jobs below ``folder`` and write their table; nothing where none has finished.

    Returns:
        One row per setting: its overrides, number of jobs, and ``{figure: {"mean": .., "std": ..}}``.
    """
    rows = aggregate(jobs(folder))
    if rows:
        write_text(folder / "table.json", json.dumps(rows, indent=2) + "\n")
        write_text(folder / "table.md", markdown(rows))
    return rows


def jobs(folder: Path) -> list[Job]:
    """Jobs that have written their figures."""
    found = []
    for path in sorted(folder.glob("*/metrics.json")):
        overrides = path.parent / ".hydra" / "overrides.yaml"
        if overrides.is_file():
            items = OmegaConf.to_container(OmegaConf.load(overrides), resolve=False)
            assert isinstance(items, list)
            found.append(Job(tuple(map(str, items)), json.loads(path.read_text())))
    return found


def aggregate(found: Iterable[Job]) -> list[dict[str, Any]]:
    """Mean and standard deviation (of the sample; 0 for one job) over jobs of one setting.

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


def markdown(rows: Sequence[dict[str, Any]]) -> str:
    """The table for people."""
    shown = [name for name in COLUMNS if any(name in row["figures"] for row in rows)]
    lines = ["| setting | jobs | " + " | ".join(shown) + " |", "|---|---|" + "---|" * len(shown)]
    for row in rows:
        cells = [_cell(row["figures"].get(name)) for name in shown]
        lines.append(f"| {' '.join(row['setting'])} | {row['jobs']} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _values(group: Sequence[Job]) -> dict[str, list[float]]:
    names = sorted(set.intersection(*(set(job.figures) for job in group)))
    return {name: [float(job.figures[name]) for job in group] for name in names}


def _moments(values: Sequence[float]) -> dict[str, float]:
    return {
        "mean": statistics.fmean(values),
        "std": statistics.stdev(values) if len(values) > 1 else 0.0,
    }


def _cell(moments: dict[str, float] | None) -> str:
    return "" if moments is None else f"{moments['mean']:.4g} ± {moments['std']:.2g}"


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
