"""Python's search for cyclic garbage, which walks through all objects that it has not seen to stay.

The packages behind a command are half a million objects that live as long as it runs, and every figure is
some hundred thousand that die together: walking through them while they are made finds nothing.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[None]:
    """No search for cyclic garbage for the duration of a block that makes many objects at once."""
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if before:
            gc.enable()


def settled() -> None:
    """Search from now on, but never among the objects that there are; they stay. Only once in a process, so
    that one that runs many commands gets rid of what each leaves behind.
    """
    if gc.get_freeze_count() == 0:
        gc.freeze()
    gc.enable()
