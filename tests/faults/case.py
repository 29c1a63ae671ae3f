"""One injected fault: what is broken, what is run, and what may come of it."""

from __future__ import annotations

import re
import signal
import stat
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SECRET = "nightjar-4711-violet"
"""Stands in a file beside the case and in its environment, and must reach no output."""
VARIABLE = "CANARY_OF_THE_CAMPAIGN"
CLEAR, RIGHT, SILENT, BREACH = "clear", "right", "silent", "breach"
TRACEBACK, HANG, LOST, OTHER = "traceback", "hang", "lost signal", "other"
OUTCOMES = (CLEAR, RIGHT, SILENT, BREACH, TRACEBACK, HANG, LOST, OTHER)
GOOD = (CLEAR, RIGHT)
STOPPED = {signal.SIGINT: 130, signal.SIGTERM: 143}
SECONDS = 90.0
"""After which a case hangs."""
KEPT = "; finished chunks are kept in "
"""Says that something unfinished stays, so that a command can go on with it."""
LATE = 1.0
"""A signal that comes so shortly before the end may find the work done [s]."""
_JOB = re.compile(r"simulacra: job \d+ failed: ")
"""Of a job of a multirun, before the sentence that ends it."""
_NOISE = re.compile(
    r"Traceback \(most recent|^Exception ignored|terminate called|Fatal Python error|^\s*\^+\s*$|"
    r"Segmentation fault|During handling of the above",
    re.MULTILINE,
)


@dataclass(frozen=True)
class Job:
    """What is run.

    Args:
        arguments: Of the command line, or of the call.
        call: Function that takes them, by its full name.
        environment: Variables beside those that every case has.
        memory: Bytes that may be mapped beyond those of the warm process; None: no bound.
        file_size: Bytes that a file may have; None: no bound.
        user: Number of the user that runs it; None: the one of the tests.
        stop: Signal, and after how many seconds it is sent; None: none.
        seconds: Time that it may take.
        work: Folder in which it is run; None: that of the case.
    """

    arguments: tuple[str, ...]
    call: str = "simulacra.cli.main.main"
    environment: Mapping[str, str] = field(default_factory=dict)
    memory: int | None = None
    file_size: int | None = None
    user: int | None = None
    stop: tuple[int, float] | None = None
    seconds: float = SECONDS
    work: Path | None = None


def command(*arguments: object) -> Job:
    """A command line."""
    return Job(tuple(map(str, arguments)))


@dataclass(frozen=True)
class Ended:
    """How a job ended.

    Args:
        code: Exit code, or minus the signal's number.
        seconds: Time it took.
        signalled: Seconds after which it was sent its signal; None: not at all.
        hung: Whether it was ended for taking too long.
        stdout: What it printed.
        stderr: What it printed as errors.
    """

    code: int
    seconds: float
    signalled: float | None
    hung: bool
    stdout: str
    stderr: str

    @property
    def said(self) -> str:
        """All of it."""
        return f"{self.stdout}\n{self.stderr}"


class Place:
    """The folders of one case, with the session's undamaged inputs.

    Args:
        folder: New folder.
        stock: Undamaged inputs.
    """

    def __init__(self, folder: Path, stock: Any) -> None:
        self.folder, self.stock = folder, stock
        self.work, self.outside, self.home = (folder / n for n in ("work", "outside", "home"))
        for path in (self.work, self.outside, self.home):
            path.mkdir(parents=True)
        self.flag = self.outside / "FLAG"
        self.secret = self.outside / "secret.txt"
        self.secret.write_text(SECRET)
        self.kept: dict[Path, bytes] = {}
        self.undo: list[Callable[[], object]] = []
        self.absent: list[Path] = []

    def keep(self, path: Path) -> Path:
        """An earlier output that must stay as it is where the job fails."""
        self.kept[path] = path.read_bytes()
        return path

    def whole(self, path: Path) -> Path:
        """An output that is not there where the job fails."""
        self.absent.append(path)
        return path


Judge = Callable[[Place, Ended], str | None]
"""Of a job that ended well: None if it is right or has said how it differs, else what is wrong in silence."""


def ended_well(place: Place, ended: Ended) -> str | None:
    """Whatever ends well is right."""
    return None


def refused(place: Place, ended: Ended) -> str | None:
    """Nothing but a sentence will do."""
    return "accepted without a word"


def announced(pattern: str, judge: Judge = refused) -> Judge:
    """Right if the job says something of the kind, else what ``judge`` finds."""

    def judged(place: Place, ended: Ended) -> str | None:
        return None if re.search(pattern, ended.said, re.IGNORECASE) else judge(place, ended)

    return judged


@dataclass(frozen=True)
class Case:
    """An injected fault.

    Args:
        name: Its name within the family, of letters, digits, points, dashes and underscores.
        family: What it belongs to.
        injected: What is broken.
        make: Breaks it, and says what is run.
        judge: Whether a job that ended well is right.
        accept: Outcomes that will do.
    """

    name: str
    family: str
    injected: str
    make: Callable[[Place], Job]
    judge: Judge = ended_well
    accept: tuple[str, ...] = GOOD

    @property
    def id(self) -> str:
        """Name within the campaign."""
        return re.sub(r"[^A-Za-z0-9._-]+", "_", f"{self.family}-{self.name}")

    @property
    def seed(self) -> int:
        """Seed of whatever it draws."""
        return zlib.crc32(self.id.encode())


def snapshot(folder: Path) -> dict[Path, tuple[int, int]]:
    """Size and time of every file below a folder."""
    found = {}
    for path in folder.rglob("*"):
        info = path.lstat()
        if stat.S_ISREG(info.st_mode):
            found[path] = info.st_size, info.st_mtime_ns
    return found


def verdict(case: Case, place: Place, job: Job, ended: Ended) -> tuple[str, str]:
    """The outcome of a case, and why."""
    leak = _breach(place)
    if leak is not None:
        return BREACH, leak
    if ended.hung:
        return HANG, f"not done after {ended.seconds:.0f} s"
    left = [str(path) for path in place.work.rglob("*.part*")]
    killed = job.stop is not None and job.stop[0] == signal.SIGKILL
    if _NOISE.search(ended.stderr):
        return TRACEBACK, ended.stderr.strip()[-600:]
    if ended.code < 0 and not (job.stop is not None and -ended.code == job.stop[0]):
        return TRACEBACK, f"crashed by signal {-ended.code}: {ended.stderr.strip()[-300:]}"
    if left and not killed and KEPT not in ended.stderr:
        return OTHER, f"left behind: {left}"
    if job.stop is not None and ended.signalled is not None:
        outcome, reason = _stopped(case, place, job, ended)
    elif ended.code == 0:
        wrong = case.judge(place, ended)
        outcome, reason = (RIGHT, "") if wrong is None else (SILENT, wrong)
    elif ended.code == 1:
        outcome, reason = _sentence(place, ended)
    else:
        outcome, reason = OTHER, f"exit code {ended.code}: {ended.stderr.strip()[-300:]}"
    if outcome in GOOD and outcome not in case.accept:
        return OTHER, f"{outcome}, expected {case.accept}: {ended.stderr.strip()[-300:]}"
    return outcome, reason


def _breach(place: Place) -> str | None:
    if place.flag.exists():
        return "code was run"
    strange = [str(path) for path in place.outside.iterdir() if path != place.secret]
    if strange or place.secret.read_text() != SECRET:
        return f"written outside the folder: {strange or place.secret}"
    hidden = SECRET.encode()
    for path in (*place.folder.glob("std*"), *place.work.rglob("*")):
        regular = path.is_file() and not path.is_symlink()
        if regular and path not in place.kept and hidden in path.read_bytes():
            return f"the secret stands in {path.relative_to(place.folder)}"
    return None


def _sentence(place: Place, ended: Ended) -> tuple[str, str]:
    lines = [line for line in ended.stderr.splitlines() if line.strip()]
    ours = [line for line in lines if line.startswith("simulacra: ") and not _JOB.match(line)]
    if len(ours) != 1 or lines[-1] != ours[0]:
        return OTHER, f"not one sentence at the end: {ended.stderr.strip()[-400:]!r}"
    if len(ours[0]) < 25:
        return OTHER, f"says nothing: {ours[0]!r}"
    changed = [str(p) for p, was in place.kept.items() if not p.exists() or p.read_bytes() != was]
    if changed:
        return OTHER, f"an earlier output was touched: {changed}"
    half = [str(path) for path in place.absent if path.exists()]
    return (OTHER, f"half written: {half}") if half else (CLEAR, ours[0])


def _stopped(case: Case, place: Place, job: Job, ended: Ended) -> tuple[str, str]:
    """Of a job that got a signal: the exit code that shells expect, or work that was done already."""
    assert job.stop is not None
    assert ended.signalled is not None
    number = job.stop[0]
    changed = [str(p) for p, was in place.kept.items() if not p.exists() or p.read_bytes() != was]
    if ended.code in (STOPPED.get(number, -number), -number):
        wrong = case.judge(place, ended)
        if wrong is not None:
            return SILENT, wrong
        return (OTHER, f"an earlier output was touched: {changed}") if changed else (RIGHT, "")
    if ended.code == 0:
        if ended.seconds - ended.signalled > LATE:
            return LOST, f"ran on for {ended.seconds - ended.signalled:.1f} s, exit code 0"
        wrong = case.judge(place, ended)
        return (RIGHT, "done already") if wrong is None else (SILENT, wrong)
    return OTHER, f"exit code {ended.code} after {number}: {ended.stderr.strip()[-300:]}"
