"""Jobs of a multirun that fail: the others go on, and at the end it is said which did, with exit code 1.

A job may run in another process, or on another machine, so that what failed is left in its directory, in
``failed.txt``.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, JobStatus
from hydra.errors import HydraException

from simulacra.cli.errors import sentence
from simulacra.cli.machine import as_sentences, remove_empty
from simulacra.core import UserError
from simulacra.core.files import write_text
from simulacra.tracking.runs import job_number

FILE = "failed.txt"
"""In the directory of a job, with the reason."""
TABLE = "table.md"
NONE_LEFT = "No trials are completed"
"""What Optuna says where it looks for the best of trials that have all failed."""
GRID_DONE = "Study.stop"
"""What Optuna names where the last point of a grid has failed: nothing is left to be tried."""

_begun: dict[Path, dict[Path, int]] = {}
"""Folder of the multirun of this process, with failures that lay there before and when they were written."""


def begin(folder: Path) -> None:
    """Remember which multirun begins."""
    _begun.clear()
    _begun[folder] = _failures(folder)


@contextmanager
def as_failed_job() -> Iterator[None]:
    """Around a job of a multirun: an error of the user ends this job alone.

    Raises:
        UserError: That error, where it cannot be noted in the job's directory either, as on a full disk.
    """
    config = HydraConfig.get()
    place = Path(str(config.runtime.output_dir))
    (place / FILE).unlink(missing_ok=True)
    try:
        with as_sentences():
            yield
    except UserError as error:
        text = sentence(error)
        try:
            write_text(place / FILE, text + "\n")
        except UserError:
            raise error from None
        print(f"simulacra: job {place.name} failed: {text}", file=sys.stderr)


def keep(job: JobReturn) -> None:
    """Leave the traceback of a job that ended by another error."""
    if job.status is JobStatus.FAILED and job.hydra_cfg is not None:
        error = job._return_value
        place = Path(str(job.hydra_cfg.hydra.runtime.output_dir))
        write_text(place / FILE, "".join(traceback.format_exception(error)))


@contextmanager
def told() -> Iterator[None]:
    """Around a command: at the end of a multirun say where its table is and which jobs failed.

    Raises:
        SystemExit: With code 1 if a job failed.
    """
    _begun.clear()
    try:
        yield
    except HydraException:
        _forget()
        raise
    except (ValueError, RuntimeError) as error:
        if not _from_optuna(error):
            raise
        failed = _tell()
        if failed and any(text in str(error) for text in (NONE_LEFT, GRID_DONE)):
            raise SystemExit(1) from None
        raise UserError(f"Optuna: {sentence(error)}") from error
    else:
        if _tell():
            raise SystemExit(1)


def _forget() -> None:
    """Remove the folder of a multirun in which nothing has begun."""
    for folder in _begun:
        if folder.is_dir() and {item.name for item in folder.iterdir()} <= {"multirun.yaml"}:
            (folder / "multirun.yaml").unlink(missing_ok=True)
            remove_empty([folder, *folder.parents[:2]])


def _from_optuna(error: BaseException) -> bool:
    """Whether Optuna has raised an error, e.g. at a search that does not fit the study in the storage."""
    last = [frame for frame, _ in traceback.walk_tb(error.__traceback__)][-1]
    return str(last.f_globals.get("__name__")).startswith("optuna.")


def _tell() -> bool:
    """Print the closing lines; returns whether a job failed."""
    for folder in _begun:
        if (folder / TABLE).is_file():
            print(f"wrote {folder / TABLE}")
    failed = _new()
    if failed:
        names = ", ".join(str(path.parent.relative_to(next(iter(_begun)))) for path in failed)
        jobs = "1 job" if len(failed) == 1 else f"{len(failed)} jobs"
        print(
            f"simulacra: {jobs} failed ({names}): see {FILE} in {next(iter(_begun))}",
            file=sys.stderr,
        )
    return bool(failed)


def _new() -> list[Path]:
    """What failed in the multirun of this process."""
    return [
        path
        for folder, before in _begun.items()
        for path, written in _failures(folder).items()
        if before.get(path) != written
    ]


def _failures(folder: Path) -> dict[Path, int]:
    found = {path: path.stat().st_mtime_ns for path in folder.rglob(FILE)}
    return dict(
        sorted(found.items(), key=lambda item: (job_number(item[0].parent.name) or 0, item[0]))
    )
