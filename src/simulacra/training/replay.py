"""A sampler that a card has recorded, from conditions to physical units.

A sampler is thousands of small kernels, and at batch 1 a card waits for the calls that start them. CUDA
records all of them as one graph, which one call starts. What it reads and writes lies in fixed places:
conditions and random numbers are copied into theirs, events out of theirs. A recording is of one number of
events, and serves somewhat fewer.

The random numbers are those of single events (:mod:`simulacra.core.noise`), drawn before the graph is
started. At one seed the events are therefore others than those of a sampler that draws as it goes.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from simulacra.core import Batch, Conditions, UserError, draws
from simulacra.core.draws import Kind
from simulacra.core.noise import Recording, Slices, widths
from simulacra.nn import derived

Made = tuple[Batch, Tensor]
"""Events, and which of them are finite, bool ``(B,)``, on the device."""
Make = Callable[[Conditions, torch.Generator | None], Made]
Recorder = Callable[[Callable[[], Made]], tuple[Callable[[], object], Made]]
"""From a call to one that does the same again, and the place where its results are then."""
EVENTS = 11
"""Events of the run in which the draws are noted, see :class:`~simulacra.core.noise.Recording`."""
SPARE = 2
"""So many times the events that are asked for a recording makes at most, before another is made."""
WARM_UP = 3
"""Calls before a recording, in which libraries choose their kernels."""


def cuda_graph(call: Callable[[], Made]) -> tuple[Callable[[], object], Made]:
    """A call as a CUDA graph.

    Raises:
        UserError: If it waits for values of the card.
    """
    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        for _ in range(WARM_UP):
            call()
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    try:
        with torch.cuda.graph(graph):
            made = call()
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(
            f"the sampler cannot be recorded, since its steps depend on values ({reason[:160]}): set "
            "graph=false"
        ) from error
    return graph.replay, made


class Recorded:
    """A sampler of a fixed number of events.

    Args:
        make: The sampler; all that it draws comes from :mod:`simulacra.core.draws`.
        cond: Conditions of as many events, on ``device``.
        device: Where it runs.
        record: What records it.

    Raises:
        UserError: If it cannot be recorded, or draws numbers that do not belong to single events.
    """

    def __init__(
        self, make: Make, cond: Conditions, device: torch.device, record: Recorder = cuda_graph
    ) -> None:
        noted = Recording(EVENTS, torch.Generator().manual_seed(0))
        with draws.given(noted):
            make(_repeated(cond, EVENTS), None)
        self.cond = Conditions(cond.n, {name: v.clone() for name, v in cond.values.items()})
        self.numbers: dict[Kind, Tensor] = {
            kind: torch.empty(cond.n, width, device=device)
            for kind, width in widths(noted.draws).items()
        }
        self._draw(torch.Generator(device=device).manual_seed(0))

        def call() -> Made:
            with draws.given(Slices(noted.draws, self.numbers)):
                return make(self.cond, None)

        with derived.held() as self._read:  # a graph reads it where it lies
            self._replay, self._made = record(call)

    def __call__(self, cond: Conditions, generator: torch.Generator | None) -> Made:
        """Events of conditions, at most as many as were recorded, in memory of their own."""
        for name, place in self.cond.values.items():
            place[: cond.n].copy_(cond.values[name])
        self._draw(generator)
        self._replay()
        batch, sound = self._made
        return batch[: cond.n].clone(), sound[: cond.n].clone()

    def _draw(self, generator: torch.Generator | None) -> None:
        self.numbers["normal"].normal_(generator=generator)
        self.numbers["uniform"].uniform_(generator=generator)


class Replays:
    """The latest recording of a sampler, made anew for another number of events and for other weights.

    Args:
        record: What records.
    """

    def __init__(self, record: Recorder = cuda_graph) -> None:
        self.record = record
        self._size = 0
        self._kept: derived.Derived[Recorded] | None = None

    def forget(self) -> None:
        """Record anew at the next call."""
        self._kept = None

    def made(
        self,
        make: Make,
        cond: Conditions,
        generator: torch.Generator | None,
        size: int,
        module: nn.Module,
    ) -> Made:
        """Events of a sampler.

        Args:
            make: The sampler.
            cond: Conditions, at most ``size`` of them.
            generator: Source of all randomness, on the module's device.
            size: Events that the recording has at least, and at most :data:`SPARE` times as many.
            module: Holds the weights.
        """
        weights = list(module.parameters())
        if self._kept is None or not size <= self._size <= SPARE * size:
            device = weights[0].device

            def recorded(*weights: Tensor) -> Recorded:
                return Recorded(make, _repeated(cond, size), device, self.record)

            self._size, self._kept = size, derived.Derived(recorded)
        return self._kept(*weights)(cond, generator)

    def __reduce__(self) -> tuple[type[Replays], tuple[Recorder]]:
        """A copy has recorded nothing."""
        return type(self), (self.record,)


def _repeated(cond: Conditions, n: int) -> Conditions:
    """As many conditions, in turn."""
    return cond[torch.arange(n) % cond.n]
