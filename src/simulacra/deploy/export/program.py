"""The contract as a program of tensor operations, from which every format is written.

``torch.export`` follows the sampler with the axis of the events left free; weights and statistics are
constants of the program.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram
from torch.fx.experimental.symbolic_shapes import (
    ConstraintViolationError,
    GuardOnDataDependentSymNode,
)

from simulacra.core import UserError
from simulacra.deploy.export.contract import Contract
from simulacra.deploy.export.lowering import lowered

MOST_EVENTS = 2**20
"""Events of one call, at most."""
EXPORTERS = ("torch", "onnxscript", "onnx_ir", "copyreg", "ast")
"""Packages in which exporters warn those who develop them; ``ast`` walks through their code."""
LOGGERS = ("torch.export", "torch.fx", "torch.onnx", "onnxscript", "onnx_ir")
"""The like of what is logged."""


class Graph(nn.Module):
    """A contract as a module without parameters: what it holds becomes constants.

    Args:
        contract: The contract.
    """

    def __init__(self, contract: Contract) -> None:
        super().__init__()
        self.held = (contract,)

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Outputs ``(B, *shape)`` of inputs ``(B, *shape)``."""
        return self.held[0].run(inputs)


def program(contract: Contract, inputs: tuple[Tensor, ...]) -> ExportedProgram:
    """The contract's program.

    Args:
        contract: The contract.
        inputs: Inputs of a few events, with which it is followed; of those of one where a call has one event.

    Raises:
        UserError: If what the sampler does depends on the values that it sees.
    """
    events = {} if contract.batch is not None else {0: Dim("events", min=1, max=MOST_EVENTS)}
    try:
        with torch.no_grad(), quiet():
            found = torch.export.export(
                Graph(contract),
                inputs,
                dynamic_shapes=(tuple(events for _ in inputs),),
                strict=False,
            )
            return lowered(found)
    except (
        GuardOnDataDependentSymNode,
        ConstraintViolationError,
        torch._dynamo.exc.UserError,
    ) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(
            f"{type(contract.module).__name__} cannot be exported: what its sampler does depends on the "
            f"values that it sees ({reason[:160]})"
        ) from error


@contextmanager
def quiet() -> Iterator[None]:
    """Without the remarks of torch's exporters, which are for those who develop them."""
    loggers = [logging.getLogger(name) for name in LOGGERS]
    before = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        with warnings.catch_warnings():
            for module in EXPORTERS:
                warnings.filterwarnings("ignore", module=rf"{module}(\.|$)")
            yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
