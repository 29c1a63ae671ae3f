"""An exported generator in Python, on onnxruntime, for programs that only want showers.

An ONNX graph computes and does nothing else. Programs of torch may also open files, so that those of others
are not run here.

It looks at the conditions before it makes anything, draws the noise from a numpy generator, and makes as many
events at once as it is asked for.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np

from simulacra.core import UserError
from simulacra.deploy.export import sidecar
from simulacra.deploy.export.formats import FORMATS, Array, Onnx, Run
from simulacra.deploy.export.ports import Port

Outside = Literal["stop", "warn"]
"""What happens to conditions that the model was not trained with: an error, or one warning for each."""
REDRAWS = 5
"""Rounds in which events that are not finite are made again with other noise."""
SLACK = 1e-6
log = logging.getLogger(__name__)


class Runner:
    """A generator with the contract ``plain``.

    Args:
        told: What its sidecar says.
        run: The graph.
        outside: What happens to conditions outside the trained ranges.
    """

    def __init__(self, told: sidecar.Sidecar, run: Run, outside: Outside = "stop") -> None:
        self.told, self.run, self.outside = told, run, outside
        self.conditions = [port for port in told.inputs if port.role == "condition"]
        self.noise = [port for port in told.inputs if port.role != "condition"]
        self.warned: set[str] = set()

    @classmethod
    def load(cls, folder: Path | str, outside: Outside = "stop", threads: int = 1) -> Runner:
        """From a folder that ``export`` has written.

        Args:
            folder: The folder.
            outside: What happens to conditions outside the trained ranges.
            threads: Threads that share the work.

        Raises:
            UserError: If there is none, it has another contract, or the package that runs it is missing.
        """
        told = sidecar.read(Path(folder))
        if told.contract != "plain" or told.format != Onnx.name:
            raise UserError(
                f"{folder} has contract={told.contract} and format={told.format}, run by the program "
                "it is for: export with contract=plain and format=onnx"
            )
        run = FORMATS[told.format].load(Path(folder) / told.file, threads)
        return cls(told, run, outside)

    def sample(
        self,
        conditions: Mapping[str, object],
        generator: np.random.Generator,
        events: int | None = None,
        batch_size: int = 1024,
    ) -> dict[str, Array]:
        """Events of conditions in physical units.

        Args:
            conditions: By name one value for all events, or one per event.
            generator: Source of the noise.
            events: How many (None: as many as there are values).
            batch_size: Events at once.

        Returns:
            By name all outputs, each ``(n, *shape)``.

        Raises:
            UserError: If a condition is missing, no number, or outside the trained range where that stops; or
                events are not finite, however often they are made again.
        """
        columns, n = self._columns(conditions, events)
        parts = [
            self._made([column[start : start + batch_size] for column in columns], generator)
            if columns
            else self._some(min(batch_size, n - start), [], generator)
            for start in range(0, n, batch_size)
        ]
        joined = (np.concatenate(values) for values in zip(*parts, strict=True))
        return {port.name: value for port, value in zip(self.told.outputs, joined, strict=True)}

    def _made(self, columns: list[Array], generator: np.random.Generator) -> list[Array]:
        return self._some(len(columns[0]), columns, generator)

    def _some(self, n: int, columns: list[Array], generator: np.random.Generator) -> list[Array]:
        found = self.run([*columns, *(_drawn(port, n, generator) for port in self.noise)])
        for _ in range(REDRAWS):
            bad = ~np.all([np.isfinite(v).reshape(n, -1).all(1) for v in found], axis=0)
            if not bad.any():
                return found
            noise = [_drawn(port, int(bad.sum()), generator) for port in self.noise]
            again = self.run([*(column[bad] for column in columns), *noise])
            for value, new in zip(found, again, strict=True):
                value[bad] = new
        bad = ~np.all([np.isfinite(v).reshape(n, -1).all(1) for v in found], axis=0)
        if bad.any():
            raise UserError(
                f"{int(bad.sum())} of {n} events hold NaN or infinite values after {REDRAWS} rounds of other "
                "noise: the model has diverged, or fails in its tails"
            )
        return found

    def _columns(
        self, conditions: Mapping[str, object], events: int | None
    ) -> tuple[list[Array], int]:
        """Conditions in order, each ``(n, dim)``, and ``n``."""
        names = [port.name for port in self.conditions]
        if set(conditions) != set(names):
            raise UserError(f"the generator is given {names}, got {sorted(conditions)}")
        values = {name: _numbers(name, conditions[name]) for name in names}
        sizes = {len(value) for value in values.values() if value.ndim}
        if len({*sizes, *([] if events is None else [events])}) > 1 or (
            not sizes and events is None
        ):
            raise UserError(
                f"conditions of {sorted(sizes)} events and events={events}: one number of events is needed"
            )
        n = events if events is not None else sizes.pop()
        columns = []
        for port in self.conditions:
            value = values[port.name]
            value = value.reshape(len(value), -1) if value.ndim else value.reshape(1, 1)
            try:
                columns.append(np.broadcast_to(value, (n, *port.shape)).copy())
            except ValueError as error:
                raise UserError(
                    f"condition {port.name!r} has {port.width} components per event, got {value.shape[1]}"
                ) from error
            self._check(port, columns[-1])
        return columns, n

    def _check(self, port: Port, column: Array) -> None:
        low = -np.inf if port.low is None else port.low - SLACK * abs(port.low)
        high = np.inf if port.high is None else port.high + SLACK * abs(port.high)
        outside = int(((column < low) | (column > high)).sum())
        if not outside:
            return
        text = (
            f"{outside} of {len(column)} values of {port.name} lie outside the trained range {port.low:g} to "
            f"{port.high:g} {port.unit}"
        )
        if self.outside == "stop":
            raise UserError(f"{text}: the generator would extrapolate")
        if port.name not in self.warned:
            self.warned.add(port.name)
            log.warning("%s", text)


def _numbers(name: str, value: object) -> Array:
    found = np.asarray(value, dtype=np.float32)
    if not np.isfinite(found).all():
        raise UserError(f"condition {name!r} holds NaN or infinite values")
    return found


def _drawn(port: Port, n: int, generator: np.random.Generator) -> Array:
    draw = generator.standard_normal if port.role == "normal" else generator.random
    return draw((n, *port.shape), dtype=np.float32)
