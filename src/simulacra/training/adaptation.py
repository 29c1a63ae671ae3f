r"""Ways to go on with a trained model on other data without moving all of its weights.

They hold for the parts that ``init`` takes from a checkpoint; what is new is trained as a whole, and so are
neutral parts (:class:`~simulacra.nn.neutral.Neutral`), which a checkpoint may lack. Frozen weights, and
running statistics beside them, stay bitwise as they are.

Low-rank adaptation moves a weight :math:`W` to :math:`W + (\alpha/r) B A`, with :math:`A` random and
:math:`B = 0` at first, so that training begins with the very model of the checkpoint. A checkpoint of such a
run holds :math:`W`, :math:`A` and :math:`B` and goes on bitwise from them; :func:`simulacra.load` adds them
up, after which the module is one like any other.

References: Ben Zaken et al., arXiv:2106.10199 (biases); Hu et al., arXiv:2106.09685 (low rank).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from simulacra.core import UserError
from simulacra.core.constructors import role
from simulacra.core.ranges import Count, Positive
from simulacra.nn.neutral import neutral_entries
from simulacra.nn.sets import WeightNormLinear
from simulacra.training.module import Module
from simulacra.training.parts import Part, Parts

LINEAR: tuple[tuple[type[nn.Module], str], ...] = (
    (nn.Linear, "weight"),
    (WeightNormLinear, "direction"),
)
"""Linear layers with the names of their weights."""
RUNNING = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
"""Layers that keep statistics of what they see in training."""


@role
class Adaptation(ABC):
    """See the module's docstring."""

    @abstractmethod
    def grow(self, module: Module, parts: Collection[Part]) -> None:
        """Add the weights that it trains in the place of those of some parts."""

    @abstractmethod
    def moves(self, name: str) -> bool:
        """Whether a parameter of these parts is trained."""

    def start(self, module: Module, parts: Sequence[Part]) -> None:
        """Freeze what is not trained, and grow what is.

        Args:
            module: With the weights of the checkpoint; a module that goes on takes its own afterwards.
            parts: Those that come from the checkpoint.
        """
        held, spared = Parts(module), neutral_entries(module)
        for name, parameter in module.named_parameters():
            if held.of(name) in parts and name not in spared and not self.moves(name):
                parameter.requires_grad_(False)
        module.resting = tuple(_running(module, held, parts))
        self.grow(module, parts)


class Full(Adaptation):
    """All weights are trained."""

    def grow(self, module: Module, parts: Collection[Part]) -> None:
        """Nothing."""

    def moves(self, name: str) -> bool:
        """All do."""
        return True

    def start(self, module: Module, parts: Sequence[Part]) -> None:
        """Nothing is frozen."""


class Biases(Adaptation):
    """The biases alone are trained, those of normalisations, too."""

    def grow(self, module: Module, parts: Collection[Part]) -> None:
        """Nothing."""

    def moves(self, name: str) -> bool:
        """Whether it is a bias."""
        return name.rpartition(".")[2].endswith("bias")


class LoRA(Adaptation):
    """A matrix of low rank is added to the weights of linear layers, and it alone is trained.

    Args:
        rank: ``r``.
        alpha: Its matrix is scaled by ``alpha / r``, so that the learning rate need not change with ``r``.
    """

    def __init__(self, rank: Count, alpha: Positive) -> None:
        self.rank, self.alpha = rank, alpha

    def grow(self, module: Module, parts: Collection[Part]) -> None:
        """Add the matrices.

        Raises:
            UserError: If there is no linear layer.
        """
        held, layers = Parts(module), list(_linear(module))
        grown = [item for item in layers if held.of(f"{item[0]}.{item[2]}") in parts]
        if not grown:
            raise UserError(
                f"{type(module).__name__} has no linear layer in its {', '.join(parts)} that adapt=lora could"
                " change: use adapt=bias or adapt=full"
            )
        for _, layer, weight in grown:
            matrix = LowRank(getattr(layer, weight), self.rank, self.alpha)
            parametrize.register_parametrization(layer, weight, matrix)

    def moves(self, name: str) -> bool:
        """None of those that are there."""
        return False


class LowRank(nn.Module):
    r""":math:`W \mapsto W + (\alpha/r) B A`.

    Args:
        weight: :math:`W`, ``(outputs, inputs)``, for its shape and device.
        rank: ``r``, at most the smaller side.
        alpha: See :class:`LoRA`.
    """

    def __init__(self, weight: Tensor, rank: int, alpha: float) -> None:
        super().__init__()
        outputs, inputs = weight.shape
        rank = min(rank, outputs, inputs)
        self.scale = alpha / rank
        self.a = nn.Parameter(weight.new_empty(rank, inputs))
        self.b = nn.Parameter(weight.new_zeros(outputs, rank))
        nn.init.kaiming_uniform_(self.a, a=math.sqrt(5))

    def forward(self, weight: Tensor) -> Tensor:
        """The weight with what was learnt, ``(outputs, inputs)``."""
        return weight + self.scale * (self.b @ self.a)


@torch.no_grad()
def merge(module: Module) -> None:
    """Add what was learnt to the weights of linear layers, which are then like any other."""
    for _, layer, weight in list(_linear(module)):
        if not parametrize.is_parametrized(layer, weight):
            continue
        chain = layer.get_submodule(f"parametrizations.{weight}").children()
        if any(isinstance(item, LowRank) for item in chain):
            parametrize.remove_parametrizations(layer, weight, leave_parametrized=True)


def _linear(module: nn.Module) -> Iterator[tuple[str, nn.Module, str]]:
    """Linear layers with their names, and the names of their weights."""
    for name, layer in module.named_modules():
        for kind, weight in LINEAR:
            if isinstance(layer, kind):
                yield name, layer, weight


def _running(module: Module, held: Parts, parts: Sequence[Part]) -> Iterator[nn.Module]:
    """Layers of some parts that keep running statistics."""
    for name, layer in module.named_modules():
        if isinstance(layer, RUNNING) and held.of(name) in parts:
            yield layer
