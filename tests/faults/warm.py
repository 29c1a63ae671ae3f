"""A process that has imported everything and forks once per case: ``python warm.py``.

It reads one job per line as JSON from its standard input and answers each with one line. The child runs the
job as the console script would, in its own folder, and ends as an interpreter ends, with what is printed on
the way out; only the modules are not taken down one by one, which would take a second.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import os
import resource
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any, NoReturn

BEAT = 0.01
"""Time between two looks at a child [s]."""


def imported() -> None:
    """Everything that a command may import, and a composed configuration of each."""
    for name in (
        "h5py",
        "matplotlib.pyplot",
        "PIL.Image",
        "sklearn.ensemble",
        "scipy.stats",
        "torch",
        "pytorch_lightning",
        "torchmetrics",
        "hydra",
        "uproot",
        "awkward",
        "pyarrow.parquet",
        "zuko",
        "ot",
        "simulacra",
    ):
        importlib.import_module(name)
    import torch

    from simulacra.cli import main
    from simulacra.evaluation.config import compose

    torch.set_num_threads(1)
    for command in main.COMMANDS:
        main.command(command)
        compose(command)


def run(job: dict[str, Any]) -> None:
    """In the child: limits and folder, then the call."""
    signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # ignored by what runs in the background
    os.chdir(job["work"])
    os.environ.update(job["environment"])
    if job["memory"] is not None:
        mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (mapped + job["memory"],) * 2)
    if job["file_size"] is not None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (job["file_size"],) * 2)
    resource.setrlimit(resource.RLIMIT_CPU, (int(job["seconds"]) + 5,) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if job["user"] is not None:
        os.setgroups([])
        os.setgid(job["user"])
        os.setuid(job["user"])
    module, _, name = job["call"].rpartition(".")
    sys.argv = ["simulacra"]
    getattr(importlib.import_module(module), name)(job["arguments"])


def end(job: dict[str, Any]) -> NoReturn:
    """Run a job and end the process as an interpreter does."""
    code, interrupted = 0, False
    try:
        run(job)
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
        if isinstance(error.code, str):
            print(error.code, file=sys.stderr)
    except BaseException as error:  # whatever a console script would die of
        interrupted = isinstance(error, KeyboardInterrupt)
        sys.excepthook(type(error), error, error.__traceback__)
        code = 1
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    gc.collect()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    if interrupted:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    os._exit(code)


class Streams:
    """What a child prints: pipes, which no limit on the size of files reaches."""

    def __init__(self) -> None:
        self.pipes = {name: os.pipe() for name in ("stdout", "stderr")}
        self.said = dict.fromkeys(self.pipes, b"")

    def take(self) -> None:
        """In the child: print into them."""
        for number, (reading, writing) in enumerate(self.pipes.values(), start=1):
            os.dup2(writing, number)
            os.close(reading)
            os.close(writing)

    def keep(self) -> None:
        """In the parent: leave the other end to the child."""
        for reading, writing in self.pipes.values():
            os.close(writing)
            os.set_blocking(reading, False)

    def read(self) -> None:
        """What is there by now."""
        for name, (reading, _) in self.pipes.items():
            with contextlib.suppress(BlockingIOError):
                while part := os.read(reading, 2**16):
                    self.said[name] += part

    def close(self, folder: Path) -> None:
        """Write them to files."""
        self.read()
        for name, (reading, _) in self.pipes.items():
            os.close(reading)
            (folder / name).write_bytes(self.said[name])


def awaited(pid: int, job: dict[str, Any], streams: Streams) -> dict[str, Any]:
    """Wait for a child, signal it where the job says so, and end it where it takes too long."""
    begin, sent, hung = time.monotonic(), None, False
    while True:
        streams.read()
        done, status = os.waitpid(pid, os.WNOHANG)
        now = time.monotonic() - begin
        if done:
            break
        if job["stop"] is not None and sent is None and now >= job["stop"][1]:
            os.kill(pid, job["stop"][0])
            sent = now
        if now > job["seconds"]:
            hung = True
            os.kill(pid, signal.SIGKILL)
            _, status = os.waitpid(pid, 0)
            break
        time.sleep(BEAT)
    streams.close(Path(job["folder"]))
    return {
        "code": os.waitstatus_to_exitcode(status),
        "seconds": now,
        "signalled": sent,
        "hung": hung,
    }


def serve() -> None:
    """Answer jobs until the input ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    imported()
    gc.collect()
    gc.freeze()  # what is shared with the children stays shared
    print("ready", file=answers, flush=True)
    for line in iter(sys.stdin.readline, ""):
        job = json.loads(line)
        streams = Streams()
        pid = os.fork()
        if pid == 0:
            os.setsid()
            streams.take()
            os.close(answers.fileno())
            end(job)
        streams.keep()
        print(json.dumps(awaited(pid, job, streams)), file=answers, flush=True)


if __name__ == "__main__":
    serve()
