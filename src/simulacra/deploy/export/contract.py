"""What a host program and an exported graph agree on: names, shapes, units and order of inputs and outputs.

A contract stands between the host's tensors and the sampler's conditions and noise; what it does is part of
the graph.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn

from simulacra.core import Batch, Conditions, Field, UserError
from simulacra.core.draws import Kind
from simulacra.deploy.export.graph import CUT, Sampler
from simulacra.deploy.export.ports import Port


class Contract(ABC):
    """One of them, for one sampler.

    Args:
        sampler: The sampler.

    Raises:
        UserError: If the contract has no place for what the sampler needs or makes.
    """

    name: ClassVar[str]
    formats: ClassVar[tuple[str, ...]] = ("onnx", "torchscript", "pt2", "aoti")
    """Formats that the host reads."""
    batch: ClassVar[int | None] = None
    """Events of one call, None for any number."""
    notes: ClassVar[tuple[str, ...]] = ()
    """What a user of the host must know."""
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]

    def __init__(self, sampler: Sampler) -> None:
        self.sampler, self.spec, self.module = sampler, sampler.spec, sampler.module
        reason = self.refusal()
        if reason is not None:
            raise UserError(f"contract={self.name} does not fit {self.spec.name}: {reason}")
        self.inputs, self.outputs = self.taken(), self.given()

    def refusal(self) -> str | None:
        """Why the contract does not fit, or None."""
        return None

    @property
    def numbers(self) -> dict[Kind, int]:
        """Random numbers of each distribution that the host draws per event."""
        return self.sampler.widths

    @abstractmethod
    def taken(self) -> tuple[Port, ...]:
        """The inputs."""

    @abstractmethod
    def given(self) -> tuple[Port, ...]:
        """The outputs."""

    @abstractmethod
    def feed(self, cond: Conditions, numbers: dict[Kind, Tensor]) -> tuple[Tensor, ...]:
        """What a host hands over for conditions and its random numbers: one tensor per input, each ``(B,
        *shape)``.
        """

    @abstractmethod
    def read(self, inputs: tuple[Tensor, ...]) -> tuple[Conditions, dict[Kind, Tensor]]:
        """Conditions, and the numbers of the sampler, of a host's inputs."""

    @abstractmethod
    def write(self, batch: Batch, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """The outputs, of events and the inputs they were made from."""

    def threshold(self, cond: Conditions) -> Tensor:
        """Energy from which on cells of the first output count, in its unit ``(B,)``: the threshold of the
        readout, without one a tenth of the cut of public evaluations; 0 where there is neither.
        """
        cut = (self.spec.threshold or 0.1 * self.spec.cut) if self.spec.kind in CUT else 0.0
        return torch.full((cond.n,), cut)

    def wrapped(self, module: nn.Module) -> nn.Module:
        """What a TorchScript file holds, of the module that runs the graph."""
        return module

    def run(self, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Inputs to outputs: the graph."""
        return self.write(self.sampler(*self.read(inputs)), inputs)

    def field_range(self, field: Field) -> tuple[float | None, float | None]:
        """Smallest and largest value of a field in training, or those of the data set where they are not
        known.
        """
        if field.classes is not None:
            return 0.0, len(field.classes) - 1.0
        return self.module.record.trained_range.get(field.name, (field.low, field.high))


class Plain(Contract):
    """Our own: an input for each condition in its unit, and one for the noise of each distribution; an output
    for the events, each event number and the mask of a cloud.
    """

    name = "plain"

    def taken(self) -> tuple[Port, ...]:
        """See :meth:`Contract.taken`."""
        ports = []
        for field in self.module.given_fields:
            low, high = self.field_range(field)
            note = "" if field.classes is None else "number of a class: " + ", ".join(field.classes)
            ports.append(Port(field.name, (field.dim,), "condition", field.unit, low, high, note))
        drawn = (Port(kind, (width,), kind) for kind, width in self.numbers.items() if width)
        return (*ports, *drawn)

    def given(self) -> tuple[Port, ...]:
        """See :meth:`Contract.given`."""
        columns = ", ".join(f"{field.name} [{field.unit}]" for field in self.spec.features)
        events = Port("events", self.spec.shape, "output", self.spec.unit, note=columns)
        numbers = (
            Port(field.name, (field.dim,), "output", field.unit)
            for field in self.spec.event
            if field.name not in self.module.given
        )
        real = "1 for a real point, 0 for padding"
        mask = (Port("mask", self.spec.shape[:1], "output", note=real),)
        return (events, *numbers, *(mask if self.spec.kind == "cloud" else ()))

    def feed(self, cond: Conditions, numbers: dict[Kind, Tensor]) -> tuple[Tensor, ...]:
        """See :meth:`Contract.feed`."""
        values = {**cond.values, **{str(kind): value for kind, value in numbers.items()}}
        return tuple(values[port.name].float() for port in self.inputs)

    def read(self, inputs: tuple[Tensor, ...]) -> tuple[Conditions, dict[Kind, Tensor]]:
        """See :meth:`Contract.read`."""
        count = len(self.module.given)
        classes = {field.name for field in self.module.given_fields if field.classes is not None}
        values = dict(zip(self.module.given, inputs[:count], strict=True))
        typed = {n: value.long() if n in classes else value for n, value in values.items()}
        kinds = [kind for kind, width in self.numbers.items() if width]
        numbers = dict(zip(kinds, inputs[count:], strict=True))
        return Conditions(inputs[0].shape[0], typed), numbers

    def write(self, batch: Batch, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """See :meth:`Contract.write`."""
        known = {**batch.event, "events": batch.x}
        if batch.mask is not None:
            known["mask"] = batch.mask
        return tuple(known[port.name].to(torch.float32) for port in self.outputs)
