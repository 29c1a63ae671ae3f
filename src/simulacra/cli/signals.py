"""SIGTERM as an exception, so that open files are removed and trackers are finished."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from pytorch_lightning.utilities.exceptions import SIGTERMException

TERMINATED = 128 + signal.SIGTERM
INTERRUPTED = 128 + signal.SIGINT


def _raise(number: int, frame: FrameType | None) -> None:
    if (
        signal.getsignal(signal.SIGTERM) is _raise
    ):  # else Lightning has put its own handler before this one
        raise SystemExit(TERMINATED)


@contextmanager
def interruptible() -> Iterator[None]:
    """Unwind on SIGTERM and on Ctrl-C, with the exit codes that shells expect.

    While the trainer fits, Lightning's own handler takes SIGTERM and stops after the present batch.
    """
    main = threading.current_thread() is threading.main_thread()
    terminate, interrupt = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    if main and terminate == signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _raise)
    try:
        yield
    except SIGTERMException:
        raise SystemExit(TERMINATED) from None
    except KeyboardInterrupt:
        raise SystemExit(INTERRUPTED) from None
    finally:
        if main:
            signal.signal(signal.SIGTERM, terminate)
            signal.signal(signal.SIGINT, interrupt)  # Lightning leaves it ignored after Ctrl-C
