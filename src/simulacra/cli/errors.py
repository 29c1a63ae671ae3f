"""What a user sees when something is wrong: one sentence, exit code 1, a traceback only if asked for."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from traceback import walk_tb

from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf.errors import OmegaConfBaseException

from simulacra.cli.machine import as_sentences, remove_empty, threads_told
from simulacra.cli.suggest import unknown_name
from simulacra.core import UserError
from simulacra.core.signals import Interrupted
from simulacra.evaluation.misread import MISREAD, misread
from simulacra.running.distributed import is_child, spoken_for

FULL = "HYDRA_FULL_ERROR"
COMPOSING = "hydra._internal.config_loader_impl"
"""The module through which Hydra composes; jobs run outside of it."""
EXTRAS = {
    "hydra/launcher=joblib": "sweep",
    "hydra/sweeper=optuna": "sweep",
    "hydra/launcher=submitit_slurm": "slurm",
    "hydra/launcher=submitit_local": "slurm",
}


def sentence(error: BaseException) -> str:
    """The message of an error in one line, with the extra to install where a plug-in is missing."""
    cause = error.__cause__
    text = unknown_name(error) or str(error)
    if (
        text == str(error)
        and isinstance(error, HydraException)
        and isinstance(cause, OmegaConfBaseException)
        and str(cause) not in text
    ):
        text = f"{text}: {str(cause).splitlines()[0]}"
    text = text.partition("Config search path:")[0]  # folders help nobody who misspelt a name
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    message = " ".join(lines)
    for choice, extra in EXTRAS.items():
        if choice in message:
            message += f" (install simulacra[{extra}])"
    return message


@contextmanager
def one_sentence() -> Iterator[bool]:
    """Print errors of users in one line and exit with 1; other errors keep their traceback.

    Yields:
        Whether the user asked for tracebacks.
    """
    asked = os.environ.get(FULL) == "1"
    os.environ[FULL] = "1"  # Hydra then raises its errors instead of printing them
    try:
        with as_sentences(), threads_told():
            yield asked
            sys.stdout.flush()
    except (UserError, HydraException, OmegaConfBaseException) as error:
        if asked:
            raise
        raise stopped(error) from None
    except MISREAD as error:
        if asked or not _in_composition(error):
            raise
        raise stopped(misread(error)) from None
    except Interrupted as error:
        if is_child():  # all processes stop together, and the first of them says so
            raise SystemExit(error.code) from None
        raise stopped(error, error.code) from None
    finally:
        if not asked:
            os.environ.pop(FULL, None)


def _in_composition(error: BaseException) -> bool:
    """Whether an error comes from Hydra's reading of configuration files, which are the user's as well."""
    frames = (frame for frame, _ in walk_tb(error.__traceback__))
    return any(frame.f_globals.get("__name__") == COMPOSING for frame in frames)


@contextmanager
def as_asked(asked: bool) -> Iterator[None]:
    """Inside a job: the environment as the user set it, since child processes inherit it."""
    before = os.environ.get(FULL)
    if not asked:
        os.environ.pop(FULL, None)
    try:
        yield
    finally:
        if before is not None:
            os.environ[FULL] = before


@contextmanager
def job_errors(asked: bool) -> Iterator[None]:
    """As :func:`one_sentence` for the one job of a single run.

    A run directory in which nothing has begun is removed.
    """
    try:
        with as_sentences():
            yield
    except UserError as error:
        forget_run()
        if asked:
            raise
        raise stopped(error) from None


def forget_run() -> None:
    """Remove the directory of a single run that holds nothing but what Hydra wrote of the command line."""
    hydra = HydraConfig.get()
    if hydra.output_subdir is None or hydra.mode == RunMode.MULTIRUN or is_child():
        return
    run = Path(hydra.runtime.output_dir)
    if run.is_dir() and {item.name for item in run.iterdir()} == {hydra.output_subdir}:
        shutil.rmtree(run / hydra.output_subdir, ignore_errors=True)
        remove_empty([run, *run.parents[:2]])  # as deep as they are made


def stopped(error: BaseException, code: int | str | None = 1) -> SystemExit:
    """Print the sentence, unless another process does; the exit to raise."""
    text = sentence(error)
    if not spoken_for(error, text):
        print(f"simulacra: {text}", file=sys.stderr)
    return SystemExit(code)
