r"""Linear layers whose weights are normally distributed, for Bayesian networks by variational inference.

Every weight and bias has :math:`q(w) = N(\mu, \sigma^2)`. Training minimises

.. math:: -E_q[\log p(x | w)] + \frac1{N} \sum_w KL(q(w)\,\|\,N(0, s^2)), \qquad
          KL = \ln\frac{s}{\sigma} + \frac{\mu^2 + \sigma^2}{2 s^2} - \frac12,

with :math:`N` the number of training events. In training mode the output of :math:`y = W x + b` is drawn
rather than the weights, independently for each event (local reparametrisation), :math:`y = \mu_W x + \mu_b +
\epsilon \sqrt{\sigma_W^2 x^2 + \sigma_b^2}`; in evaluation mode the weights are the means, and inside
:func:`one_network` they are one fixed draw, so that a draw is a network like any other.

References: Blundell et al., arXiv:1505.05424; Kingma et al., arXiv:1506.02557, equation 6; for flows
Bellagente et al., arXiv:2104.04543.

Note:
    The authors' biases have one value. Where a network steers a spline, its last biases alone can then hold
    a density of independent features, without any uncertainty; so here biases are distributed, too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from simulacra.core import draws
from simulacra.core.constructors import constructor
from simulacra.core.ranges import Positive

LinearMap = Callable[[Tensor, Tensor], Tensor]
"""``map(x, weight)``: the output of a layer without its bias."""
NOISE = 1e-12
"""Smallest variance of an output, below which its square root has no gradient."""


class Spread(nn.Module):
    """Widths around their means of ``weight`` and ``bias`` of the module that holds this one.

    Args:
        weight: Shape of the weights.
        bias: Shape of the biases, as they are added to the output.
        prior: Width ``s`` of the prior.
        start: Width of each weight before training.
    """

    def __init__(
        self, weight: Sequence[int], bias: Sequence[int], prior: float, start: float
    ) -> None:
        super().__init__()
        if not (prior > 0 and start > 0):
            raise ValueError(f"weights need positive widths, got prior={prior} and start={start}")
        self.prior = prior
        self.weight = nn.Parameter(torch.full(tuple(weight), math.log(start)))
        self.bias = nn.Parameter(torch.full(tuple(bias), math.log(start)))
        self.noise: tuple[Tensor, Tensor] | None = None

    def forward(self, x: Tensor, apply: LinearMap) -> Tensor:
        """What the deviations from the means add to the output ``apply(x, weight) + bias``."""
        if self.noise is not None:
            weight, bias = self.noise
            return apply(x, weight * self.weight.exp()) + bias * self.bias.exp()
        if not self.training:
            return x.new_zeros(())
        variance = apply(x.square(), (2 * self.weight).exp()) + (2 * self.bias).exp() + NOISE
        return draws.normal(variance.shape, variance) * variance.sqrt()

    def divergence(self, weight: Tensor, bias: Tensor) -> Tensor:
        """Kullback-Leibler divergence from the prior at these means, a scalar."""
        parts = []
        for mean, log_width in ((weight, self.weight), (bias, self.bias)):
            ratio = log_width - math.log(self.prior)
            squares = (mean / self.prior).square() + (2 * ratio).exp()
            parts.append((0.5 * squares - ratio - 0.5).sum())
        return parts[0] + parts[1]

    def draw(self, generator: torch.Generator | None) -> None:
        """Fix weights and biases to one draw."""
        weight, bias = self.weight, self.bias
        self.noise = (
            draws.normal(weight.shape, weight, generator),
            draws.normal(bias.shape, bias, generator),
        )

    def release(self) -> None:
        """Back to the means in evaluation, to fresh draws in training."""
        self.noise = None


class VariationalLinear(nn.Linear):
    """A linear layer of normally distributed weights, ``(B, inputs)`` to ``(B, outputs)``.

    Args:
        inputs: Width of the input.
        outputs: Width of the output.
        prior: Width of the weights' prior.
        start: Width of each weight before training.
    """

    def __init__(self, inputs: int, outputs: int, prior: float, start: float) -> None:
        super().__init__(inputs, outputs)
        self.spread = Spread(self.weight.shape, self.bias.shape, prior, start)

    def forward(self, input: Tensor) -> Tensor:
        """See the module's docstring."""
        return super().forward(input) + self.spread(input, functional.linear)


@constructor
@dataclass(frozen=True)
class Bayesian:
    """What networks are given so that their weights are normally distributed.

    Args:
        prior: Width of the weights' prior.
        start: Width of each weight before training.
    """

    prior: Positive = 1.0
    start: Positive = 0.01

    def linear(self, inputs: int, outputs: int) -> VariationalLinear:
        """In place of ``nn.Linear``."""
        return VariationalLinear(inputs, outputs, self.prior, self.start)

    def spread(self, weight: Sequence[int], bias: Sequence[int]) -> Spread:
        """For a module that applies a weight and a bias of its own."""
        return Spread(weight, bias, self.prior, self.start)


def spreads(module: nn.Module) -> Iterator[tuple[nn.Module, Spread]]:
    """Layers of normally distributed weights below a module with their widths, in fixed order."""
    for owner in module.modules():
        for child in owner.children():
            if isinstance(child, Spread):
                yield owner, child


def has_posterior(module: nn.Module) -> bool:
    """Whether any weight is normally distributed."""
    return next(spreads(module), None) is not None


def divergence(module: nn.Module) -> Tensor:
    """Kullback-Leibler divergence of all normally distributed weights from their priors, a scalar."""
    parts = [
        spread.divergence(owner.get_parameter("weight"), owner.get_parameter("bias"))
        for owner, spread in spreads(module)
    ]
    return torch.stack(parts).sum()


@contextmanager
def one_network(module: nn.Module, generator: torch.Generator | None = None) -> Iterator[None]:
    """All normally distributed weights fixed to one draw for the duration of a block."""
    found = [spread for _, spread in spreads(module)]
    for spread in found:
        spread.draw(generator)
    try:
        yield
    finally:
        for spread in found:
            spread.release()
