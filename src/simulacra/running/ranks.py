"""The processes of one training on one machine: where one of them dies, the others end soon, in one sentence.

Lightning starts the further processes from the first. An exchange with a process that has died fails, as a
rule at once, and the training ends in order; but a process may be computing, or waiting where no exchange is
yet, as for the others to begin. Each side therefore watches the other from a thread: the first process its
children, a child its parent. What has not ended :data:`GRACE` seconds after a death is ended. Processes that
a batch system has started are watched by that system.

The first process speaks for all. Another one leaves what it would say in a file of the run directory, for
the case that the first does not know why it was left, and speaks itself only where the first has died.
Signals are the first one's, too: the others take note of them only while they train, where all agree on them.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

FIRST = "SIMULACRA_FIRST_PROCESS"
"""Variable of the environment in which a child finds ``PID:FOLDER``, its parent and the run directory."""
QUIET = {"TORCH_CPP_LOG_LEVEL": "ERROR"}
"""With which torch itself does not warn in a child, with a stack of calls, of a parent that is ending."""
PERIOD = 0.5
"""Seconds between two looks at the other processes."""
SIGNALS = (signal.SIGINT, signal.SIGTERM)
"""What a terminal and a batch system send to all processes, of which the first decides what comes of it."""
GRACE = 10.0
"""Seconds that are left to a process to end by itself when another has died."""
PATIENCE = 30.0
"""Seconds that children have to end after a training that has succeeded."""


class First:
    """The parent of this process, where that is a further process of a training.

    Args:
        process: Number of the parent.
        folder: Run directory.
    """

    def __init__(self, process: int, folder: Path) -> None:
        self.process, self.folder = process, folder

    @classmethod
    def of_this_process(cls) -> First | None:
        """None in a first process, and where a batch system has started this one."""
        process, _, folder = os.environ.get(FIRST, "").partition(":")
        return cls(int(process), Path(folder)) if process else None

    @property
    def lives(self) -> bool:
        """Whether the parent is there; another takes its place when it has died."""
        return os.getppid() == self.process

    def watch(self) -> None:
        """Leave signals to the parent, and end this process soon after it."""
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        threading.Thread(target=self._watch, name="parent", daemon=True).start()

    def _watch(self) -> None:
        while self.lives:
            time.sleep(PERIOD)
        time.sleep(GRACE)
        self.tell("training stopped: the first of its processes has died")
        os._exit(1)

    def tell(self, text: str) -> None:
        """Leave a sentence for the parent; print it where that has died, once for all children."""
        from simulacra.core import UserError
        from simulacra.core.files import write_text

        rank = int(os.environ["LOCAL_RANK"])
        if not self.lives:
            if rank == 1:
                say(text)
            return
        try:
            write_text(note(self.folder, rank), text)
        except UserError:  # the disk may be what is wrong
            say(text)

    def died(self) -> bool:
        """Whether the parent is gone, of which an exchange knows a moment before."""
        end = time.monotonic() + 2 * PERIOD
        while self.lives and time.monotonic() < end:
            time.sleep(PERIOD / 10)
        return not self.lives


def note(folder: Path, rank: int) -> Path:
    """Where a child leaves its sentence."""
    return folder / f".process-{rank}.txt"


def say(text: str) -> None:
    """Print a sentence from any thread, at once."""
    os.write(sys.stderr.fileno(), f"simulacra: {text}\n".encode())


class Family:
    """The processes of a training as one of them sees them; in the first it knows the others.

    Args:
        folder: Run directory.
        advice: Says how to go on, when asked.
    """

    def __init__(self, folder: Path, advice: Callable[[], str]) -> None:
        self.folder, self._advice = folder, advice
        self._children: Sequence[subprocess.Popen[bytes]] = ()
        self._ended = threading.Event()

    @contextmanager
    def starting(self) -> Iterator[None]:
        """Around the start of children, which no signal reaches before they can answer it."""
        own = {FIRST: f"{os.getpid()}:{self.folder.absolute()}", **QUIET}
        added = {name: text for name, text in own.items() if name not in os.environ}
        before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        os.environ.update(added)
        try:
            yield
        finally:
            for name in added:
                del os.environ[name]
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def watch(self, children: Sequence[subprocess.Popen[bytes]]) -> None:
        """Be ended soon after one of the children has failed."""
        self._children = children
        threading.Thread(target=self._watch, name="children", daemon=True).start()

    def unwatch(self) -> None:
        """This process is ending by itself."""
        self._ended.set()

    def _watch(self) -> None:
        while not self._ended.wait(PERIOD):
            if any(child.poll() for child in self._children):
                if not self._ended.wait(GRACE):
                    say(self.lost())
                    self._kill()
                    os._exit(1)
                return

    def lost(self) -> str:
        """What is said where another process has died, with the reason if that can be known."""
        end = time.monotonic() + GRACE / 2
        while self._children and not self._failed() and time.monotonic() < end:
            time.sleep(PERIOD / 10)
        reasons = [self._reason(rank) for rank in self._failed()]
        why = f" ({reasons[0]})" if reasons else ""
        advice = self._advice() or "start again"
        return f"training stopped: another of its processes has died{why}; {advice}"

    def end(self, success: bool) -> None:
        """See to it that the children are gone, and nothing that they left."""
        self.unwatch()
        for child in self._children:
            _wait(child, PATIENCE if success else GRACE / 4)
        self._kill()
        for rank in range(1, len(self._children) + 1):
            note(self.folder, rank).unlink(missing_ok=True)

    def _kill(self) -> None:
        for child in self._children:
            if child.poll() is None:
                child.kill()
                child.wait()

    def _failed(self) -> list[int]:
        """Ranks of children that have failed."""
        return [rank for rank, child in enumerate(self._children, 1) if child.poll()]

    def _reason(self, rank: int) -> str:
        path = note(self.folder, rank)
        if path.is_file():
            return path.read_text(encoding="utf-8").strip()
        code = self._children[rank - 1].returncode
        number = -code if code < 0 else code - 128
        if number in {int(item) for item in signal.Signals}:
            return f"process {rank} by {signal.Signals(number).name}"
        return f"process {rank} with exit code {code}"


def _wait(child: subprocess.Popen[bytes], seconds: float) -> None:
    try:
        child.wait(seconds)
    except subprocess.TimeoutExpired:
        return
