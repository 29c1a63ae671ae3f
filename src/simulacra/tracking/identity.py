"""Who made a run: versions, git commit, command line."""

from __future__ import annotations

import platform
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from importlib.metadata import version
from pathlib import Path

PACKAGES = ("simulacra", "torch", "pytorch-lightning", "numpy", "scikit-learn", "hydra-core")

_TYPED: ContextVar[tuple[str, ...] | None] = ContextVar("typed", default=None)


@contextmanager
def typed(arguments: Sequence[str]) -> Iterator[None]:
    """In the block the command line is what the user typed, whatever stands in ``sys.argv``: Hydra and the
    ranks of a job need other words there.
    """
    token = _TYPED.set(tuple(arguments))
    try:
        yield
    finally:
        _TYPED.reset(token)


@contextmanager
def as_typed() -> Iterator[None]:
    """In the block ``sys.argv`` is what the user typed, for libraries that note it by themselves."""
    words, before = _TYPED.get(), sys.argv
    if words is not None:
        sys.argv = [before[0], *words]
    try:
        yield
    finally:
        sys.argv = before


def command_line() -> str:
    """What the user typed, to be copied into a shell."""
    words = _TYPED.get()
    return shlex.join(sys.argv if words is None else ("simulacra", *words))


def identity() -> dict[str, str]:
    """Versions of the packages that matter, of Python, the machine, and the commit of a checkout."""
    found = {name: version(name) for name in PACKAGES}
    found |= {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "command": command_line(),
    }
    commit = git_commit(Path(__file__).resolve().parent)
    return found if commit is None else {**found, "git_commit": commit}


def git_commit(folder: Path) -> str | None:
    """The commit checked out around a folder, ``+changes`` where files differ; None outside a checkout."""
    try:
        head = _git(folder, "rev-parse", "HEAD")
        changed = _git(folder, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        return None
    return f"{head}+changes" if changed else head


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10)
    return done.stdout.strip()
