r"""Kernel density estimate of the numbers of an event: training events drawn again, a little smeared.

With kept events :math:`(y_i, c_i)` and product kernels of width :math:`h` in standard deviations,

.. math:: p(y | c) = \sum_i v_i(c)\, \mathcal N(y; y_i, h^2 \Sigma), \qquad
          v_i(c) \propto w_i \exp\bigl(-|c - c_i|^2 / 2 h_c^2\bigr),

where :math:`\Sigma` is the diagonal of variances and :math:`w_i` are event weights. Of one-hot classes only
kernels of the same class count. Of numbers that are learnt themselves the latest events are kept.

References: Rosenblatt 1969, "Conditional probability density and regression estimators"; used for the number
of particles by EPiC-GAN (arXiv:2301.08128) and EPiC-FM (arXiv:2310.00049).
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor

from simulacra.core import Layout, UserError, draws
from simulacra.core.ranges import Count, Positive
from simulacra.dynamics.density import Density, Rows
from simulacra.nn.gathering import Gathering


class KernelDensity(Gathering, Density):
    """Stands where :class:`~simulacra.dynamics.jet_level.JetLevelFlow` does, without parameters.

    Args:
        layout: Numbers per event ``K`` and width of the conditions ``C``, which may be 0.
        kernels: Training events that are kept, at most; of more, evenly spaced ones.
        bandwidth: Width of the kernels in standard deviations.

    Raises:
        UserError: If there is no kernel or the bandwidth is not positive.
    """

    points: Tensor
    conditions: Tensor
    width: Tensor
    condition_width: Tensor
    log_weight: Tensor
    count: Tensor
    place: Tensor

    def __init__(self, layout: Layout, kernels: Count, bandwidth: Positive) -> None:
        super().__init__()
        if kernels < 1 or bandwidth <= 0:
            raise UserError(
                f"a kernel density needs kernels >= 1 and bandwidth > 0, got {kernels} and {bandwidth}"
            )
        columns, cond = layout.features, layout.context
        self.features, self.bandwidth = columns, bandwidth
        self.register_buffer("points", torch.zeros(kernels, columns))
        self.register_buffer("conditions", torch.zeros(kernels, cond))
        self.register_buffer("width", torch.ones(columns))
        self.register_buffer("condition_width", torch.ones(cond))
        self.register_buffer("log_weight", torch.zeros(kernels))
        self.register_buffer("count", torch.tensor(0))
        self.register_buffer("place", torch.tensor(0))

    def fit(self, rows: Iterable[Rows]) -> None:
        """Keep the numbers of training events with their conditions and weights.

        Raises:
            UserError: If a weight is negative.
        """
        values, contexts, weights = zip(*rows, strict=True)
        y = torch.cat(values)
        given = [context for context in contexts if context is not None]
        cond = torch.cat(given) if given else None
        known = zip(values, weights, strict=True)
        weight = torch.cat([torch.ones_like(x[:, 0]) if w is None else w.to(x) for x, w in known])
        _refuse_negative(weight)
        size = min(len(y), len(self.points))
        chosen = torch.linspace(0, len(y) - 1, size, dtype=torch.float64).long()
        self.count.fill_(size)
        self.place.fill_(0)
        self.points[:size] = y[chosen]
        self.log_weight[:size] = weight[chosen].log()
        self.width.copy_(self.bandwidth * _spread(y, weight))
        if cond is not None:
            self.conditions[:size] = cond[chosen]
            self.condition_width.copy_(_scott(cond, weight, size))

    @torch.no_grad()
    def remember(self, x: Tensor, context: Tensor | None, weight: Tensor | None) -> None:
        """Keep a batch in the place of the events that were kept first.

        Raises:
            UserError: If a weight is negative.
        """
        weight = torch.ones_like(x[:, 0]) if weight is None else weight.to(x)
        _refuse_negative(weight)
        whole, new = len(self.points), min(len(x), len(self.points))
        places = (self.place + torch.arange(new, device=x.device)) % whole
        self.points[places] = x[-new:]
        self.log_weight[places] = weight[-new:].log()
        if context is not None:
            self.conditions[places] = context[-new:]
        self.place.copy_((self.place + new) % whole)
        self.count.copy_((self.count + new).clamp(max=whole))
        size = int(self.count)
        kept = self.log_weight[:size].exp()
        self.width.copy_(self.bandwidth * _spread(self.points[:size], kept))
        if context is not None:
            self.condition_width.copy_(_scott(self.conditions[:size], kept, size))

    def log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Log-density ``(B,)`` of ``x``, ``(B, K)``."""
        self._check()
        norm = self.width.log().sum() + 0.5 * self.points.shape[1] * math.log(2 * math.pi)
        near = -0.5 * torch.cdist(x / self.width, self.points / self.width).square()
        return torch.logsumexp(near + self._weights(context).log_softmax(1), 1) - norm

    def sample(
        self, n: int, context: Tensor | None = None, generator: torch.Generator | None = None
    ) -> Tensor:
        """Draw ``(n, K)``, one for each row of ``context``."""
        self._check()
        weights = self._weights(context).softmax(1)
        chosen = draws.categorical(n, weights, generator)
        noise = draws.normal((n, self.features), self.points, generator)
        return self.points[chosen] + self.width * noise

    def _check(self) -> None:
        if not torch.compiler.is_exporting() and not self.count:
            raise UserError("the kernel density of the event's numbers has seen no training events")

    def _weights(self, cond: Tensor | None) -> Tensor:
        """Logarithms of the kernels' weights ``(B, kernels)``, up to a constant of each row; minus infinity
        of places without an event. One row without conditions.
        """
        free = torch.arange(len(self.points), device=self.points.device) >= self.count
        own = self.log_weight.masked_fill(free, -torch.inf)
        if cond is None:
            return own[None]
        scaled = cond / self.condition_width, self.conditions / self.condition_width
        logs = own[None]
        for given, kept in zip(*(values.unbind(1) for values in scaled), strict=True):
            logs = logs - 0.5 * (given[:, None] - kept).square()
        return logs


def _refuse_negative(weight: Tensor) -> None:
    if bool((weight < 0).any()):
        raise UserError("a kernel density takes no negative event weights: use a flow of numbers")


def _scott(cond: Tensor, weight: Tensor, size: int) -> Tensor:
    """Width of the kernels of conditions by Scott's rule."""
    return _spread(cond, weight) * size ** (-1 / (cond.shape[1] + 4))


def _spread(x: Tensor, weight: Tensor) -> Tensor:
    """Standard deviation of each column over weighted events, 1 where it never varies."""
    share = (weight / weight.sum())[:, None]
    std = (share * (x - (share * x).sum(0)).square()).sum(0).sqrt()
    return torch.where(std > 0, std, 1.0)
