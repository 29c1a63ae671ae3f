r"""Distances of two samples that a network can make small: by kernels, or by transport with an entropy.

:class:`KernelDiscrepancy` is the maximum mean discrepancy of :mod:`simulacra.dynamics.discrepancy`.
:class:`SinkhornDivergence` is, with the cost :math:`\tfrac12 |x - y|^2` and the blur :math:`b`,

.. math:: S(x, y) = W_{b^2}(x, y) - \tfrac12 W_{b^2}(x, x) - \tfrac12 W_{b^2}(y, y), \qquad
          W_\varepsilon = \min_\pi \langle c, \pi \rangle + \varepsilon\, \mathrm{KL}(\pi | p \otimes q),

which is 0 for equal samples. It is found by Sinkhorn's iterations of the dual potentials, from a blur as
wide as the samples down to :math:`b`.

References: Gretton et al., JMLR 13 (2012) 723; Feydy et al. 2019, arXiv:1810.08278, equation 3 and
section 3.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor

from simulacra.core.constructors import role
from simulacra.core.ranges import Count, Positive
from simulacra.dynamics.discrepancy import Kernel, mmd


@role
class SampleDistance(ABC):
    """A distance of two samples of weighted events."""

    @abstractmethod
    def __call__(
        self, x: Tensor, y: Tensor, weight: Tensor | None = None, other: Tensor | None = None
    ) -> Tensor:
        """The distance, a scalar; gradients reach ``x`` and ``y``.

        Args:
            x: Events ``(B, D)``.
            y: Events ``(B', D)``.
            weight: Event weights ``(B,)`` of ``x``, not negative, or None.
            other: Event weights ``(B',)`` of ``y``, or None.
        """


class KernelDiscrepancy(SampleDistance):
    """See the module's docstring.

    Args:
        kernel: What distances of events are measured with.
    """

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel

    def __call__(
        self, x: Tensor, y: Tensor, weight: Tensor | None = None, other: Tensor | None = None
    ) -> Tensor:
        """See the base class."""
        return mmd(x, y, self.kernel, weight, other)


class SinkhornDivergence(SampleDistance):
    """See the module's docstring.

    Args:
        blur: ``b``, in the unit of the events.
        steps: Iterations, the blur being made smaller in the first half of them.
    """

    def __init__(self, blur: Positive, steps: Count) -> None:
        self.blur, self.steps = blur, steps

    def __call__(
        self, x: Tensor, y: Tensor, weight: Tensor | None = None, other: Tensor | None = None
    ) -> Tensor:
        """See the base class."""
        p, q = _logs(x, weight), _logs(y, other)
        with torch.no_grad():
            low, high = torch.cat([x, y]).amin(0), torch.cat([x, y]).amax(0)
            width = max(float((high - low).norm()), self.blur)
        cross = self._cost(x, y, p, q, width)
        return cross - 0.5 * (self._cost(x, x, p, p, width) + self._cost(y, y, q, q, width))

    def _cost(self, x: Tensor, y: Tensor, p: Tensor, q: Tensor, width: float) -> Tensor:
        r""":math:`W_\varepsilon` by its dual; potentials are constants but for their last update, as at the
        optimum their gradients vanish.
        """
        with torch.no_grad():
            cost = _cost(x, y)
            f, g = x.new_zeros(len(x)), y.new_zeros(len(y))
            for step in range(self.steps):
                epsilon = self._blur(step, width) ** 2
                found = _soft(cost, g, q, epsilon), _soft(cost.T, f, p, epsilon)
                f, g = 0.5 * (f + found[0]), 0.5 * (g + found[1])
        epsilon, cost = self.blur**2, _cost(x, y)
        last = _soft(cost, g, q, epsilon), _soft(cost.T, f, p, epsilon)
        return (p.exp() * last[0]).sum() + (q.exp() * last[1]).sum()

    def _blur(self, step: int, width: float) -> float:
        share = min(1.0, 2 * (step + 1) / self.steps)
        return math.exp((1 - share) * math.log(width) + share * math.log(self.blur))


def _cost(x: Tensor, y: Tensor) -> Tensor:
    return 0.5 * (x[:, None] - y[None]).square().sum(-1)


def _soft(cost: Tensor, potential: Tensor, log_share: Tensor, epsilon: float) -> Tensor:
    """Soft minimum over the other sample of the cost less its potential, ``(B,)``."""
    return -epsilon * ((potential - cost) / epsilon + log_share).logsumexp(1)


def _logs(x: Tensor, weight: Tensor | None) -> Tensor:
    """Logarithms of the shares of events ``(B,)``."""
    own = x.new_ones(len(x)) if weight is None else weight.to(x)
    return (own / own.sum()).clamp_min(torch.finfo(x.dtype).tiny).log()
