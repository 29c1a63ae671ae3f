"""Memory of large tensors, kept for the next ones.

The C library of Linux gives a block of more than 32 MiB back to the system as soon as it is free, so that a
network whose activations are that large asks for new pages at every layer, and the system clears each of
them: two thirds of the time of a convolutional generator at batch 100.
"""

from __future__ import annotations

import ctypes
import os
import platform

TRIM_THRESHOLD, MMAP_MAX = -1, -4
"""Of ``mallopt`` (malloc.h)."""
MOST = 2**31 - 1
"""Free memory [bytes] above which some is given back all the same; the largest number that fits."""


def keep_pages() -> bool:
    """Let this process keep what its tensors free; whether it does. Only with the C library of GNU, and not
    where the environment says something else (``MALLOC_…``).

    A process then holds the most memory that it ever needed until it ends.
    """
    told = any(name.startswith("MALLOC_") for name in os.environ)
    if told or platform.libc_ver()[0] != "glibc":
        return False
    library = ctypes.CDLL(None)
    return bool(library.mallopt(MMAP_MAX, 0) and library.mallopt(TRIM_THRESHOLD, MOST))
