"""What a user sees when something is wrong: one sentence, exit code 1, a traceback only if asked for."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from simulacra.core import UserError
from simulacra.core.signals import Interrupted

FULL = "HYDRA_FULL_ERROR"
EXTRAS = {
    "hydra/launcher/joblib": "sweep",
    "hydra/sweeper/optuna": "sweep",
    "hydra/launcher/submitit_slurm": "slurm",
    "hydra/launcher/submitit_local": "slurm",
}


def sentence(error: BaseException) -> str:
    """The message of an error in one line, with the extra to install where a plug-in is missing."""
    cause = error.__cause__
    text = str(error)
    if (
        isinstance(error, HydraException)
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
        yield asked
    except (UserError, HydraException, OmegaConfBaseException) as error:
        if asked:
            raise
        raise stopped(error) from None
    except Interrupted as error:
        raise stopped(error, error.code) from None
    finally:
        if not asked:
            os.environ.pop(FULL, None)


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
    """As :func:`one_sentence` for the one job of a single run."""
    try:
        yield
    except UserError as error:
        if asked:
            raise
        raise stopped(error) from None


def stopped(error: BaseException, code: int | str | None = 1) -> SystemExit:
    """Print the sentence; the exit to raise."""
    print(f"simulacra: {sentence(error)}", file=sys.stderr)
    return SystemExit(code)
