"""How much of the time of a generator passes in its networks.

A network is whatever module, outside of a transform, is called forward or backward (``inverse``, as of a
flow); a call within another one belongs to that. What is left are draws, solvers, conditions, decoding and
checks.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from torch import nn

from simulacra.training.generative import GenerativeModule
from simulacra.transforms.base import Transform

WAYS = ("forward", "inverse")


class Stay:
    """Time spent in networks.

    Args:
        wait: Waits for the device.
        clock: The time [s].
    """

    def __init__(
        self, wait: Callable[[], None], clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self.wait, self.clock = wait, clock
        self.seconds, self._inside = 0.0, False

    @contextmanager
    def measured(self, module: GenerativeModule) -> Iterator[None]:
        """Count the calls of a generator's networks for the duration of a block."""
        transforms = [part for part in module.modules() if isinstance(part, Transform)]
        inner = {module, *(part for transform in transforms for part in transform.modules())}
        networks = [part for part in module.modules() if part not in inner]
        places = [(part, way) for part in networks for way in WAYS if _has(part, way)]
        for part, way in places:
            part.__dict__[way] = self._timed(getattr(part, way))
        try:
            yield
        finally:
            for part, way in places:
                del part.__dict__[way]

    def _timed(self, function: Callable[..., object]) -> Callable[..., object]:
        def call(*args: object, **kwargs: object) -> object:
            if self._inside:
                return function(*args, **kwargs)
            self.wait()
            start, self._inside = self.clock(), True
            try:
                return function(*args, **kwargs)
            finally:
                self.wait()
                self._inside = False
                self.seconds += self.clock() - start

        return call


def _has(part: nn.Module, way: str) -> bool:
    found = getattr(type(part), way, None)
    return found is not None and found is not nn.Module.forward and way not in vars(part)
