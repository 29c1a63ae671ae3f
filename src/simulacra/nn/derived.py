"""Tensors that follow from parameters, computed once while these stay as they are.

A norm of weights, or their mask, costs as much as the layer itself at batch 1, or more, and comes out the
same at each evaluation of a sampler and at each call of a simulation. Without gradients a layer keeps it, and
computes it anew after a step of any optimizer, and when a parameter is another one, lies elsewhere in memory
or was written to, which PyTorch counts. What it does not count is writing through ``parameter.data``: whoever
does that says so (:func:`changed`).

What is kept is no state: it is in no file and no copy of the module, and is dropped when the layer is
trained.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn
from torch.optim.optimizer import Optimizer, register_optimizer_step_post_hook

Value = TypeVar("Value")
Source = tuple[nn.Parameter, int, int, Tensor]
"""A parameter, how often it had been written to, where it lay, and a view that holds this memory, so that no
other tensor gets its place."""
_changes = 0
_held: ContextVar[list[object] | None] = ContextVar("held", default=None)


def changed() -> None:
    """Weights were written to in a way that PyTorch does not count: what follows from any is made anew."""
    global _changes
    _changes += 1


def _stepped(optimizer: Optimizer, args: object, kwargs: object) -> None:
    """Fused optimizers write without being counted."""
    changed()


register_optimizer_step_post_hook(_stepped)


class Derived(Generic[Value]):
    """What a function makes of parameters.

    Args:
        function: From parameters, then constants. Its value is kept if the parameters are plain ones;
            stand-ins for them, such as those of an adapted layer or ``torch.func``, are taken as they come.
        lay: Lays a value that is kept out in memory, for whoever reads it often; None: as it comes.
    """

    def __init__(
        self, function: Callable[..., Value], lay: Callable[[Value], Value] | None = None
    ) -> None:
        self.function, self.lay = function, lay
        self._kept: tuple[int, list[Source], Value] | None = None

    def __call__(self, *parameters: Tensor, constants: tuple[Tensor, ...] = ()) -> Value:
        """The value, kept where no gradient can be asked of it and no graph is recorded.

        Args:
            parameters: What may change.
            constants: Buffers that never change, and move with the parameters.
        """
        if not keeps():
            if self._kept is not None:
                self._kept = None
            return self.function(*parameters, *constants)
        kept = self._kept  # read once: another thread may drop it
        if kept is not None:
            changes, sources, value = kept
            if changes == _changes and _same(sources, parameters):
                return _noted(value)
            self._kept = None
        made = self.function(*parameters, *constants)
        plain = [item for item in parameters if type(item) is nn.Parameter]
        if len(plain) < len(parameters) or any(item.is_inference() for item in plain):
            return made
        made = made if self.lay is None else self.lay(made)
        sources = [(item, item._version, item.data_ptr(), item.detach()) for item in plain]
        self._kept = _changes, sources, made
        return _noted(made)

    def __deepcopy__(self, memo: dict[int, object]) -> Derived[Value]:
        return type(self)(self.function, self.lay)

    def __reduce__(self) -> tuple[type[Derived[Value]], tuple[object, ...]]:
        return type(self), (self.function, self.lay)


@contextmanager
def held() -> Iterator[list[object]]:
    """What is kept of all that is asked for during a block, for whoever goes on reading where it lies."""
    values: list[object] = []
    token = _held.set(values)
    try:
        yield values
    finally:
        _held.reset(token)


def _noted(value: Value) -> Value:
    if (values := _held.get()) is not None:
        values.append(value)
    return value


def _same(sources: list[Source], parameters: tuple[Tensor, ...]) -> bool:
    """Whether parameters are those, unchanged."""
    for item, (parameter, version, place, _) in zip(parameters, sources, strict=True):
        if item is not parameter or item._version != version or item.data_ptr() != place:
            return False
    return True


def keeps() -> bool:
    """Whether values are kept: where no gradient is asked for, and what runs does not become a graph."""
    return not (torch.is_grad_enabled() or torch.compiler.is_compiling() or torch.jit.is_tracing())
