"""Child processes for what may end its process, such as Geant4: each starts afresh, and says why it died."""

from __future__ import annotations

import concurrent.futures
import multiprocessing
import os
import pickle
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from simulacra.core import UserError

Found = TypeVar("Found")


class Children:
    """Processes that run functions; made by :func:`children`.

    Args:
        pool: The processes.
        log: What they write to standard error.
    """

    def __init__(self, pool: concurrent.futures.ProcessPoolExecutor, log: Path) -> None:
        self.pool, self.log = pool, log

    def finished(
        self, function: Callable[..., Found], tasks: Sequence[tuple[Any, ...]]
    ) -> Iterator[tuple[int, Found]]:
        """Results of a function with the position of their task, as they are finished.

        Args:
            function: Defined at the top of a module.
            tasks: Its arguments.

        Raises:
            UserError: If the function raised it, or a process died; all other results come first.
        """
        waiting = {self.pool.submit(_packed, function, *task): k for k, task in enumerate(tasks)}
        died = False
        for done in concurrent.futures.as_completed(waiting):
            if isinstance(done.exception(), BrokenProcessPool):
                died = True
            else:
                yield waiting[done], pickle.loads(done.result())
        if died:
            raise UserError(f"a process of the simulation died: {_last(self.log)}")

    def run(self, function: Callable[..., Found], *arguments: Any) -> Found:
        """The result of one call."""
        return next(self.finished(function, [arguments]))[1]


@contextmanager
def children(
    number: int, start: Callable[..., None] | None = None, *arguments: Any
) -> Iterator[Children]:
    """``number`` processes, which leave signals to their parent and are ended with the block, or with the
    parent.

    Args:
        number: How many at once.
        start: Called in each of them first.
        arguments: Its arguments.
    """
    with tempfile.TemporaryDirectory(prefix="simulacra-") as folder:
        log = Path(folder) / "errors.txt"
        context = multiprocessing.get_context("spawn")  # Geant4 does not survive a fork
        pool = concurrent.futures.ProcessPoolExecutor(
            number, context, _begin, (str(log), pickle.dumps((start, arguments)))
        )
        try:
            yield Children(pool, log)
        finally:
            for process in list((pool._processes or {}).values()):
                process.terminate()
            pool.shutdown(wait=True, cancel_futures=True)


def _packed(function: Callable[..., object], *arguments: Any) -> bytes:
    """What a function returns, as bytes: torch sends tensors through sockets, for which the names of
    temporary folders may be too long.
    """
    return pickle.dumps(function(*arguments))


def _begin(log: str, packed: bytes) -> None:
    start, arguments = pickle.loads(packed)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(handle, 2)
    os.close(handle)
    if start is not None:
        start(*arguments)


def _end_with_parent() -> None:
    """A parent that is killed cannot end its children, who would wait for work for ever."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _last(log: Path) -> str:
    """The message in what a process wrote before it died."""
    try:
        lines = [line.strip() for line in log.read_text(errors="replace").splitlines()]
    except OSError:
        lines = []
    told = [line for line in lines if line and not set(line) <= set("-*=! ")]
    return "; ".join(told[-4:])[:500] or "it said nothing, memory may have run out"
