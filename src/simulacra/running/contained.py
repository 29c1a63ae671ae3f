"""What a run in the midst of others leaves behind in its process: nothing.

A training seeds the global generators, chooses how torch computes, and says what it does. Where many follow
each other in one process, each of them begins as if it were the first, and all that is said of it is what
its caller says.
"""

from __future__ import annotations

import logging
import os
import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

VARIABLES = ("PL_GLOBAL_SEED", "PL_SEED_WORKERS", "CUBLAS_WORKSPACE_CONFIG")
"""What Lightning leaves in the environment."""


class Once(logging.Filter):
    """Lets through warnings of the package, each once, and nothing below; what others say is not touched."""

    def __init__(self) -> None:
        super().__init__()
        self._said: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a record is said."""
        if not record.name.startswith("simulacra."):
            return True
        text = record.getMessage()
        if record.levelno < logging.WARNING or text in self._said:
            return False
        self._said.add(text)
        return True


@contextmanager
def contained(heard: Once) -> Iterator[None]:
    """Around a run: generators of random numbers, torch's settings, the environment and the loggers are
    afterwards as they were before.

    Args:
        heard: Knows what has been said in earlier runs.
    """
    handlers = list(logging.getLogger().handlers)
    before = {name: os.environ.get(name) for name in VARIABLES}
    threads, matmul = torch.get_num_threads(), torch.get_float32_matmul_precision()
    strict = torch.are_deterministic_algorithms_enabled()
    warn = torch.is_deterministic_algorithms_warn_only_enabled()
    benchmark, deterministic = torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic
    state, numpys = random.getstate(), np.random.get_state()  # noqa: NPY002  # the global one, which runs seed
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
    for handler in handlers:
        handler.addFilter(heard)
    try:
        with torch.random.fork_rng(devices):
            yield
    finally:
        for handler in handlers:
            handler.removeFilter(heard)
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
        torch.set_float32_matmul_precision(matmul)
        torch.use_deterministic_algorithms(strict, warn_only=warn)
        torch.backends.cudnn.benchmark = benchmark
        torch.backends.cudnn.deterministic = deterministic
        random.setstate(state)
        np.random.set_state(numpys)  # noqa: NPY002
