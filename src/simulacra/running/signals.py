"""Commands end on Ctrl-C and on SIGTERM with one line and the exit codes that shells expect, 130 and 143."""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


def leave(number: int, frame: FrameType | None = None) -> None:
    """End the process while modules are being imported: nothing is open yet, and compiled modules turn an
    exception in their import into another one.
    """
    text = f"simulacra: stopped by {signal.Signals(number).name}\n"
    os.write(sys.stderr.fileno(), text.encode())
    os._exit(128 + number)


@contextmanager
def starting() -> Iterator[None]:
    """Answer signals from the first instruction of a command on; enter it before anything is imported."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    unset = (signal.SIG_DFL, signal.default_int_handler)
    before = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)}
    for number, answer in before.items():
        if answer in unset:
            signal.signal(number, leave)
    try:
        yield
    finally:
        for number, answer in before.items():
            signal.signal(number, answer)
        # last on the list, so first to be called: what libraries do at the end is not interrupted
        atexit.unregister(_ending)
        atexit.register(_ending)


def _ending() -> None:
    """Answer signals while the interpreter ends, where an exception would be a traceback."""
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
            signal.signal(number, leave)


@contextmanager
def interruptible() -> Iterator[None]:
    """Unwind on SIGTERM and on Ctrl-C, so that open files are removed and trackers are finished.

    Raises:
        Interrupted: When a signal arrives, at the latest at the end of the block, also where a library has
            made another exception of it.
    """
    from simulacra.core import signals

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    answered = (signal.SIG_DFL, signal.default_int_handler, leave)
    before = {n: signal.getsignal(n) for n in signals.STOPPING if signal.getsignal(n) in answered}
    if not before:  # a block around this one answers, and remembers what has arrived
        yield
        return
    signals.Pending.number = None
    for number in before:
        signal.signal(number, signals.interrupt)
    try:
        yield
        signals.check()
    except KeyboardInterrupt:  # raised by a library for itself
        raise signals.Interrupted(signal.SIGINT) from None
    finally:
        came, signals.Pending.number = signals.Pending.number, None
        for number, answer in before.items():
            signal.signal(number, answer)
        if came is not None and not isinstance(sys.exception(), signals.Interrupted):
            raise signals.Interrupted(came) from None
