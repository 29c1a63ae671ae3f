r"""Normalising flows on vectors: exact likelihood by the change of variables.

A flow maps data ``x`` to noise ``z`` by invertible steps, :math:`\log p(x|c) = \log N(z; 0, 1) + \sum_i
\log|\det J_i|`. Every step returns its log-determinant in both directions. Permutations and fixed statistics
are buffers; data-dependent initialisation happens in one explicit, deterministic call of
:meth:`Flow.fit`, never inside ``forward``.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn

from simulacra.core import Layout, UserError, draws
from simulacra.core.constructors import constructor
from simulacra.core.ranges import Count, Dropout, Whole
from simulacra.dynamics.density import Density, Rows, first
from simulacra.dynamics.splines import Spline
from simulacra.nn.derived import Derived, keeps
from simulacra.nn.dropout import RandomDrop
from simulacra.nn.mlp import MLP
from simulacra.nn.slabs import in_rows, slabs
from simulacra.nn.variational import Bayesian

Steered = tuple[Tensor, Tensor]
FEWEST = 16
"""Events from which a flow starts, at least; fewer would hand on their fluctuations to all others."""


class Step(nn.Module, ABC):
    """One invertible map of vectors ``(B, D)`` given a context ``(B, C)`` or None."""

    @abstractmethod
    def forward(self, x: Tensor, context: Tensor | None = None) -> Steered:
        """Towards noise: values ``(B, D)`` and log-determinant ``(B,)`` (or a scalar if it is the same for
        all).
        """

    @abstractmethod
    def inverse(self, z: Tensor, context: Tensor | None = None) -> Steered:
        """Towards data: values and the log-determinant of this inverse map."""

    def undo(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        """The values of :meth:`inverse` alone, which is what sampling asks for."""
        return self.inverse(z, context)[0]

    def initialise(self, x: Tensor) -> None:
        """Set statistics from the values ``(B, D)`` that reach this step; nothing for most steps."""


class ActNorm(Step):
    """Affine map of each feature, initialised so that the first values have mean 0 and variance 1.

    Reference: Kingma and Dhariwal, arXiv:1807.03039, section 3.1.
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(features))
        self.log_scale = nn.Parameter(torch.zeros(features))
        self.back = Derived(_back)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Steered:
        """``(x + shift) exp(log_scale)``."""
        return (x + self.shift) * self.log_scale.exp(), self.log_scale.sum()

    def inverse(self, z: Tensor, context: Tensor | None = None) -> Steered:
        """Undo :meth:`forward`."""
        return ActNorm.undo(self, z), -self.log_scale.sum()

    def undo(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        """See :class:`Step`."""
        scale, start = self.back(self.log_scale, self.shift)
        return torch.addcmul(start, z, scale)

    @torch.no_grad()
    def initialise(self, x: Tensor) -> None:
        """Match mean and standard deviation of ``x``; a constant feature keeps its scale."""
        std = x.std(0, correction=0)
        self.shift.copy_(-x.mean(0))
        self.log_scale.copy_(-torch.log(torch.where(std > 1e-6, std, 1.0)))


def _back(log_scale: Tensor, shift: Tensor) -> tuple[Tensor, Tensor]:
    return (-log_scale).exp(), -shift


class Permute(Step):
    """Fixed reordering of the features, a buffer.

    Args:
        order: Feature ``i`` of the output is feature ``order[i]`` of the input.
    """

    order: Tensor
    back: Tensor

    def __init__(self, order: Tensor) -> None:
        super().__init__()
        self.register_buffer("order", order)
        self.register_buffer("back", torch.argsort(order))

    def forward(self, x: Tensor, context: Tensor | None = None) -> Steered:
        """Reorder."""
        return x.index_select(1, self.order), x.new_zeros(())

    def inverse(self, z: Tensor, context: Tensor | None = None) -> Steered:
        """Restore the order."""
        return self.undo(z), z.new_zeros(())

    def undo(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        """See :class:`Step`."""
        return z.index_select(1, self.back)


class ContextAffine(Step):
    r"""Every feature moved and scaled by a network of the context alone, :math:`z = (x -
    \mu(c))\,e^{-\sigma(c)}`.

    Takes the dependence of each mean and width on the conditions away before the couplings.

    Args:
        features: ``D``.
        context: Width of the context.
        hidden: Widths of the network.
        limit: Largest ``|sigma|``.
        bayesian: Makes the network's weights normally distributed, or None.
    """

    def __init__(
        self,
        features: int,
        context: int,
        hidden: Sequence[int],
        limit: float = 5.0,
        bayesian: Bayesian | None = None,
    ) -> None:
        super().__init__()
        linear = nn.Linear if bayesian is None else bayesian.linear
        self.net = MLP(context, 2 * features, hidden, zero_init=True, linear=linear)
        self.limit = limit

    def forward(self, x: Tensor, context: Tensor | None = None) -> Steered:
        """See the class."""
        mean, log_width = self._steer(context)
        return (x - mean) * torch.exp(-log_width), -log_width.sum(-1)

    def inverse(self, z: Tensor, context: Tensor | None = None) -> Steered:
        """Undo :meth:`forward`."""
        mean, log_width = self._steer(context)
        return mean + z * log_width.exp(), log_width.sum(-1)

    def undo(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        """See :class:`Step`."""
        mean, log_width = self._steer(context)
        return torch.addcmul(mean, z, log_width.exp())

    def _steer(self, context: Tensor | None) -> tuple[Tensor, Tensor]:
        if context is None:
            raise ValueError("a ContextAffine step needs a context")
        mean, raw = self.net(context).chunk(2, dim=-1)
        return mean, self.limit * torch.tanh(raw / self.limit)


class Coupling(Step):
    """Half of the features steer a monotone map of the others; starts as the identity.

    Args:
        features: ``D``; the first ``ceil(D / 2)`` pass unchanged, of a single one none, which the context
            alone steers.
        context: Width of the context, 0 for none.
        spline: The elementwise map.
        hidden: Widths of the steering network.
        activation: Activation of the network.
        dropout: Dropout of the network.
        bayesian: Makes the network's weights normally distributed, or None.
    """

    def __init__(
        self,
        features: int,
        context: int,
        spline: Spline,
        hidden: Sequence[int],
        activation: Callable[[], nn.Module] = nn.SiLU,
        dropout: float = 0.0,
        bayesian: Bayesian | None = None,
    ) -> None:
        super().__init__()
        if features < 2 and not context:
            raise ValueError(
                f"a coupling needs at least two features, or a context, got {features}"
            )
        self.moved = max(features // 2, 1)
        self.kept = features - self.moved
        self.spline = spline
        linear = nn.Linear if bayesian is None else bayesian.linear
        self.trunk = MLP(
            self.kept + context, hidden[-1], hidden[:-1], activation, dropout, linear=linear
        )
        self.last = (
            nn.Sequential(activation(), RandomDrop(dropout)) if dropout > 0 else activation()
        )
        # numbers first, so that each is one contiguous slab (B, D / 2)
        self.weight = nn.Parameter(torch.zeros(spline.numbers, hidden[-1], self.moved))
        self.bias = nn.Parameter(torch.zeros(spline.numbers, 1, self.moved))
        self.rows = Derived(_same, lay=in_rows)
        self.spread = (
            None if bayesian is None else bayesian.spread(self.weight.shape, self.bias.shape)
        )

    def forward(self, x: Tensor, context: Tensor | None = None) -> Steered:
        """Map the moved half."""
        kept, moved = x.split([self.kept, self.moved], dim=-1)
        moved, log_slope = self.spline(moved, self._free(kept, context))
        return torch.cat([kept, moved], dim=-1), log_slope.sum(-1)

    def inverse(self, z: Tensor, context: Tensor | None = None) -> Steered:
        """Undo :meth:`forward`."""
        kept, moved = z.split([self.kept, self.moved], dim=-1)
        moved, log_slope = self.spline.inverse(moved, self._free(kept, context))
        return torch.cat([kept, moved], dim=-1), log_slope.sum(-1)

    def undo(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        """See :class:`Step`."""
        kept, moved = z.split([self.kept, self.moved], dim=-1)
        return torch.cat([kept, self.spline.undo(moved, self._free(kept, context))], dim=-1)

    def _free(self, kept: Tensor, context: Tensor | None) -> Tensor:
        """Free numbers ``(numbers, B, D / 2)``."""
        hidden = self.last(self.trunk(kept, context))
        weight = self.weight if keeps() and len(hidden) > 1 else self.rows(self.weight)
        free = slabs(hidden, weight, self.bias)
        return free if self.spread is None else free + self.spread(hidden, torch.matmul)


def _same(weight: Tensor) -> Tensor:
    return weight


class Flow(Density):
    """Steps from data to a standard normal.

    Args:
        features: ``D``.
        steps: Invertible steps, first the one next to the data.
    """

    def __init__(self, features: int, steps: Sequence[Step]) -> None:
        super().__init__()
        self.features = features
        self.steps = nn.ModuleList(steps)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Steered:
        """Noise ``(B, D)`` and log-determinant ``(B,)`` of ``x``."""
        total = x.new_zeros(x.shape[0])
        for step in self._steps():
            x, log_det = step(x, context)
            total = total + log_det
        return x, total

    def inverse(self, z: Tensor, context: Tensor | None = None) -> Steered:
        """Data ``(B, D)`` of ``z`` and the log-determinant of this inverse map."""
        total = z.new_zeros(z.shape[0])
        for step in reversed(self._steps()):
            z, log_det = step.inverse(z, context)
            total = total + log_det
        return z, total

    def log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Log density ``(B,)`` of ``x`` ``(B, D)``."""
        z, log_det = self(x, context)
        return log_det - 0.5 * z.square().sum(-1) - 0.5 * self.features * math.log(2 * math.pi)

    def sample(
        self, n: int, context: Tensor | None = None, generator: torch.Generator | None = None
    ) -> Tensor:
        """Draw ``(n, D)``, one for each row of the context."""
        like = next(self.parameters())
        z = draws.normal((n, self.features), like, generator)
        for step in reversed(self._steps()):
            z = step.undo(z, context)
        return z

    @torch.no_grad()
    def fit(self, rows: Iterable[Rows]) -> None:
        """Data-dependent initialisation: every step sees the values of the first batch that reach it, unless
        these are too few.
        """
        x, context, _ = first(rows)
        if len(x) < FEWEST:
            return
        for step in self._steps():
            step.initialise(x)
            x, _ = step(x, context)

    def _steps(self) -> list[Step]:
        return [step for step in self.steps if isinstance(step, Step)]


@constructor
def coupling_flow(
    layout: Layout,
    blocks: Count,
    spline: Spline,
    hidden: Sequence[Count],
    *,
    activation: Callable[[], nn.Module] = nn.SiLU,
    dropout: Dropout = 0.0,
    affine: Sequence[Count] | None = None,
    bayesian: Bayesian | None = None,
    seed: Whole = 0,
) -> Flow:
    """Blocks of ActNorm, permutation and coupling, in this order.

    Args:
        layout: What is described.
        blocks: Number of couplings; each second permutation swaps the halves, so that both move before a new
            shuffle.
        spline: The elementwise map of all couplings.
        hidden: Widths of each steering network.
        activation: Activation of the networks.
        dropout: Dropout of the networks.
        affine: Widths of the network of a first :class:`ContextAffine`, or None for none.
        bayesian: Makes the weights of all networks normally distributed, or None.
        seed: Seed of the shuffles.

    Raises:
        UserError: If there are fewer than two features, and nothing else that steers.
    """
    features, context = layout.features, layout.context
    if features < 2 and not context:
        raise UserError(
            f"a coupling flow needs at least two columns, or one and conditions, got {features}"
        )
    generator = torch.Generator().manual_seed(seed)
    steps: list[Step] = []
    if affine is not None and context > 0:
        steps.append(ContextAffine(features, context, affine, bayesian=bayesian))
    for block in range(blocks):
        if block % 2 == 0:
            order = torch.randperm(features, generator=generator, device="cpu")
        else:  # what moved steers next
            order = torch.roll(torch.arange(features, device="cpu"), features // 2)
        steps += [
            ActNorm(features),
            Permute(order),
            Coupling(features, context, spline, hidden, activation, dropout, bayesian),
        ]
    return Flow(features, steps)
