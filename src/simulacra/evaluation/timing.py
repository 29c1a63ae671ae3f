"""Time per event of a generator by batch size, as in the CaloChallenge (arXiv:2410.21611).

A repeat is generation from start to end, decoding to physical units included; conditions are drawn as in
training with a fixed seed, other ones in each repeat. Before a batch size is measured, smaller ones are
tried in steps of ten: from their times and peak memories, linear in the batch size, follow those of the
next one, and a batch that would not fit is left out with a reason.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from simulacra.core import Batch, Conditions
from simulacra.evaluation.memory import Memory
from simulacra.evaluation.networks import Stay
from simulacra.training.generative import GenerativeModule

SHARE = 0.6
"""Part of the free memory that a batch may take."""
GIB = 2**30


@dataclass(frozen=True)
class Protocol:
    """How it is measured.

    Args:
        repeats: Measurements per batch size.
        events: Events per repeat at least, in whole batches; None: one batch.
        seconds: Time per batch size after which no further repeat begins.
        seed: Of conditions and noise.
    """

    repeats: int = 10
    events: int | None = None
    seconds: float = 300.0
    seed: int = 0

    def per_repeat(self, size: int) -> int:
        """Events of one repeat."""
        return size * max(1, math.ceil((self.events or size) / size))


@dataclass(frozen=True)
class Timing:
    """What was measured at one batch size.

    Args:
        batch_size: Events at once.
        events: Events per repeat.
        ms: Time per event of each repeat [ms]; none where the batch was not run.
        peak: Highest memory [bytes], None where the batch was not run.
        note: Why repeats are missing, empty where none is.
        outside: Share of the time of a further batch that passes outside the networks
            (:mod:`~simulacra.evaluation.networks`), None where it was not asked for.
        values: Mean number of cells, pixels or columns of its events, of real points for clouds.
    """

    batch_size: int
    events: int
    ms: tuple[float, ...]
    peak: int | None
    note: str
    outside: float | None = None
    values: float | None = None

    @property
    def quantiles(self) -> tuple[float, float, float, float, float]:
        """Smallest, lower quartile, median, upper quartile, largest time per event [ms]."""
        low, first, middle, third, high = np.quantile(self.ms, [0, 0.25, 0.5, 0.75, 1]).tolist()
        return low, first, middle, third, high


@dataclass(frozen=True)
class Trial:
    """Time [s] and peak memory [bytes] of one batch of ``size`` events."""

    size: int
    seconds: float
    peak: float


class Stopwatch:
    """Measures one generator.

    Args:
        module: The generator, on its device.
        protocol: How it is measured.
        memory: Memory of the device.
    """

    def __init__(self, module: GenerativeModule, protocol: Protocol, memory: Memory) -> None:
        self.module, self.protocol, self.memory = module, protocol, memory
        self.noise = torch.Generator(device=module.device).manual_seed(protocol.seed)
        self.trials = [Trial(0, 0.0, memory.used())]

    def __call__(self, sizes: Sequence[int]) -> list[Timing]:
        """Measure every batch size once, from the smallest to the largest."""
        return [self.measure(size) for size in sorted(set(sizes))]

    def measure(self, size: int) -> Timing:
        """Measure one batch size, which must be larger than those before it."""
        events, repeats = self.protocol.per_repeat(size), self.protocol.repeats
        reason = self._approach(size)
        if reason is not None:
            return Timing(size, events, (), None, reason)
        asked = self.conditions(events * repeats)
        self.memory.reset()
        self._run(asked[:size], size)
        seconds: list[float] = []
        while len(seconds) < repeats and sum(seconds) < self.protocol.seconds:
            start = len(seconds) * events
            seconds.append(self._run(asked[start : start + events], size))
        peak = self.memory.peak()
        self.trials.append(Trial(size, float(np.median(seconds)) * size / events, peak))
        early = (
            f"stopped after {len(seconds)} of {repeats} repeats: {sum(seconds):.0f} s were spent"
        )
        note = early if len(seconds) < repeats else ""
        return Timing(size, events, tuple(1e3 * value / events for value in seconds), peak, note)

    def looked_at(self, timing: Timing) -> Timing:
        """The same with what a further batch tells of its time and its events, where it was run."""
        if not timing.ms:
            return timing
        stay, seen = Stay(self._wait), list[Batch]()
        with stay.measured(self.module):
            whole = self._run(self.conditions(timing.batch_size), timing.batch_size, seen.append)
        values = sum(map(values_of, seen)) / timing.batch_size
        return replace(timing, outside=1 - stay.seconds / whole, values=values)

    def conditions(self, n: int) -> Conditions:
        """Conditions as in training, the same at each call."""
        return self.module.draw_conditions(n, torch.Generator().manual_seed(self.protocol.seed))

    def _approach(self, size: int) -> str | None:
        """Try smaller batches up to a tenth of ``size``; the reason if one, or ``size``, would not fit."""
        tried = self.trials[-1].size
        steps = [10**power for power in range(20) if tried < 10**power < size]
        for step in steps:
            reason = self._refuse(step, size)
            if reason is not None:
                return reason
            asked = self.conditions(step)
            self._run(asked, step)
            self.memory.reset()
            seconds = self._run(asked, step)
            self.trials.append(Trial(step, seconds, self.memory.peak()))
        return self._refuse(size, size)

    def _refuse(self, step: int, size: int) -> str | None:
        """Why a batch of ``step`` events cannot be run on the way to ``size``, from the trials so far."""
        if len(self.trials) == 1:
            return None
        peaks = [(trial.size, trial.peak) for trial in self.trials]
        free = self.memory.free()
        if predict(peaks, step) - self.memory.used() > SHARE * free:
            return f"not run: needs {predict(peaks, size) / GIB:.1f} GiB, free are {free / GIB:.1f} GiB"
        times = [(trial.size, trial.seconds) for trial in self.trials]
        if predict(times, step) > self.protocol.seconds:
            needed = f"{predict(times, size):.0f} s, seconds={self.protocol.seconds:g}"
            return f"not run: one batch would take some {needed}"
        return None

    def _run(
        self, cond: Conditions, size: int, see: Callable[[Batch], object] = lambda _: None
    ) -> float:
        """Generate and drop the events; returns the time [s]."""
        self._wait()
        start = time.perf_counter()
        for batch in self.module.stream(cond, batch_size=size, generator=self.noise):
            see(batch)
        self._wait()
        return time.perf_counter() - start

    def _wait(self) -> None:
        if self.module.device.type == "cuda":
            torch.cuda.synchronize(self.module.device)


def values_of(batch: Batch) -> int:
    """Number of cells, pixels or columns of all events, of real points for clouds."""
    return batch.x.numel() if batch.mask is None else int(batch.mask.sum())


def predict(points: Sequence[tuple[int, float]], size: int) -> float:
    """The value at ``size`` on the line through the last two points; one that falls counts as constant."""
    (before, smaller), (last, value) = points[-2:]
    return value + max(0.0, (value - smaller) / (last - before)) * (size - last)
