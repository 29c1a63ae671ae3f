r"""What a decoder says of the cells of a shower: their distribution, of which generated cells are drawn.

Cells are logits :math:`x` of shares :math:`s = \sigma(x)`, as
:mod:`~simulacra.transforms.layer_shares` makes them. A decoder gives numbers :math:`y` for each event.

- :class:`BernoulliMean`: :math:`\sum_v s_v \ln (s_v / p_v) + (1 - s_v) \ln ((1 - s_v) / (1 - p_v))` with
  :math:`p = \sigma(y)`, the cross-entropy less that of the cells themselves;
- :class:`ContinuousBernoulli`: :math:`p(s) = \eta\, e^{\eta s} / (e^\eta - 1)` with :math:`\eta = \sinh y`;
- :class:`GaussianLogits`: :math:`p(x) = \mathcal N(x; \mu, \sigma^2)`;
- :class:`Multinomial`: :math:`n_v = N_l s_v` of the :math:`N_l` quanta of a layer fall into cell ``v``,
  each with probability :math:`p_v`.

A mean has no fluctuations: cells that are empty in most showers hold a little energy in all of them, and the
strongest are too weak. All but the first are therefore drawn from.

References: Loaiza-Ganem and Cunningham, arXiv:1907.06845, for the continuous Bernoulli distribution; Kingma
and Welling, arXiv:1312.6114, appendix C, for the others.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from simulacra.core import Layout, UserError, draws
from simulacra.core.constructors import role
from simulacra.core.ranges import Positive

STEEPEST = 12.0
"""Largest ``y`` of a continuous Bernoulli distribution; its mean is then 1.2e-5 from the end."""
FLAT = 1e-2
"""``|eta|`` below which the first terms of a series stand for the normalisation."""
REACH = 30.0
"""Half the range of the logarithms of probabilities in a layer."""
FAINT = 1e-6
"""Of a quantum: what is in a cell that no quantum fell into, so that an empty layer has a strongest cell."""
HIGHEST = 12.0
"""Largest logarithm of the number of quanta in a layer."""


@role
class Likelihood(nn.Module, ABC):
    """See the module's docstring; ``outputs`` are the numbers that a decoder gives."""

    outputs: int

    @abstractmethod
    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """What is minimised for cells ``(B, D)`` [nat], one for each event ``(B,)``; it may have a constant.

        Args:
            x: Logits of the cells.
            y: What the decoder gives ``(B, outputs)``.
        """

    @abstractmethod
    def sample(self, y: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Cells ``(B, D)`` as logits."""


MakeLikelihood = Callable[[Layout], Likelihood]
"""From the cells that are described."""


class BernoulliMean(Likelihood):
    """Cells are what the decoder says they are on average.

    Args:
        layout: Cells that are described.
    """

    def __init__(self, layout: Layout) -> None:
        super().__init__()
        self.outputs = layout.features

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """See :class:`Likelihood`; 0 where the cells are those of the decoder."""
        return bernoulli_divergence(x, y).sum(1)

    def sample(self, y: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """See :class:`Likelihood`; nothing is drawn."""
        return y


class ContinuousBernoulli(Likelihood):
    """Each share by itself, the more often the nearer to one end.

    Args:
        layout: Cells that are described.
    """

    def __init__(self, layout: Layout) -> None:
        super().__init__()
        self.outputs = layout.features

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """See :class:`Likelihood`."""
        slope = _slope(y)
        return (_log_norm(slope) - slope * x.sigmoid()).sum(1)

    def sample(self, y: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """See :class:`Likelihood`."""
        slope, u = _slope(y), draws.uniform(y.shape, y, generator)
        steep = slope.abs().clamp(min=1e-6)
        tiny = torch.finfo(y.dtype).tiny
        near = (-torch.log1p(u * torch.expm1(-steep)) / steep).clamp(tiny, 1 - 1e-6)
        logit = near.log() - torch.log1p(-near)  # of the distance from the more likely end
        return torch.where(slope < 0, logit, -logit)


class GaussianLogits(Likelihood):
    """Logits with a mean and a width of each cell.

    Args:
        layout: Cells that are described.
        least: Smallest width; without a bound that of a cell which is always empty goes to 0.
    """

    def __init__(self, layout: Layout, least: Positive) -> None:
        super().__init__()
        self.outputs, self.least = 2 * layout.features, least

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """See :class:`Likelihood`."""
        mean, width = self._of(y)
        squares = ((x - mean) / width).square()
        return (0.5 * squares + width.log() + 0.5 * math.log(2 * math.pi)).sum(1)

    def sample(self, y: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """See :class:`Likelihood`."""
        mean, width = self._of(y)
        return mean + width * draws.normal(mean.shape, mean, generator)

    def _of(self, y: Tensor) -> tuple[Tensor, Tensor]:
        mean, width = y.chunk(2, dim=1)
        return mean, self.least + softplus(width)


class Multinomial(Likelihood):
    r"""Quanta of energy that fall into the cells of their layer.

    The decoder says where they fall and how many there are in each layer, which need not be a whole number:

    .. math:: \ln p = \sum_l \Bigl[\ln \Gamma(N_l + 1) + (K_l - 1) \ln N_l
              + \sum_{v \in l} \bigl(n_v \ln p_v - \ln \Gamma(n_v + 1)\bigr)\Bigr], \qquad n_v = N_l s_v,

    with :math:`K_l` hit cells, whose factor :math:`N_l` takes counts to shares. So the number of quanta
    follows from how far showers scatter around what is decoded, and sets the scale of the likelihood. Drawn
    counts are spread over their unit, since shares are no multiples of a quantum.

    Args:
        layout: Cells in layers.
        least: Share below which a cell is empty.

    Raises:
        UserError: If the numbers do not lie in layers.
    """

    def __init__(self, layout: Layout, least: Positive) -> None:
        super().__init__()
        if layout.geometry is None or not layout.layers:
            raise UserError(
                "quanta fall into the cells of a layer whose energy is known: take a transform with layer "
                "energies, or another likelihood"
            )
        self.geometry, self.least = layout.geometry, least
        self.cells, self.outputs = layout.features, layout.features + len(layout.layers)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """See :class:`Likelihood`; a layer without energy counts nothing."""
        sums, spread = self.geometry.layer_sums, self.geometry.spread
        log_p, quanta = self._of(y)
        share = x.sigmoid()
        share = torch.where(share < self.least, 0.0, share)
        total, hits = sums(share), sums((share > 0).to(x))
        counts = spread(quanta / torch.where(total > 0, total, 1.0)) * share
        cells = sums(counts * log_p - torch.lgamma(counts + 1))
        layers = cells + torch.lgamma(quanta + 1) + (hits - 1) * quanta.log()
        return -torch.where(hits > 0, layers, 0.0).sum(1)

    def sample(self, y: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """See :class:`Likelihood`."""
        log_p, quanta = self._of(y)
        rate = self.geometry.spread(quanta) * log_p.exp()
        counts = draws.poisson(rate, generator)
        smooth = counts + draws.uniform(counts.shape, counts, generator) - 0.5
        energy = torch.where(counts > 0, smooth, 0.0) + FAINT * log_p.exp()
        share = energy / self.geometry.spread(self.geometry.layer_sums(energy))
        share = share.clamp(torch.finfo(y.dtype).tiny, 1 - 1e-6)
        return share.log() - torch.log1p(-share)

    def _of(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Logarithms of the probabilities ``(B, D)`` and the number of quanta in each layer ``(B, L)``, at
        least one.
        """
        where, many = y.split([self.cells, y.shape[1] - self.cells], dim=1)
        where = REACH * torch.tanh(where / REACH)
        norm = self.geometry.layer_sums(where.exp()).log()
        return where - self.geometry.spread(norm), 1 + many.clamp(max=HIGHEST).exp()


def bernoulli_divergence(x: Tensor, y: Tensor) -> Tensor:
    """Of what logits ``y`` say from what logits ``x`` say, number by number."""
    return softplus(y) - softplus(x) - x.sigmoid() * (y - x)


def _slope(y: Tensor) -> Tensor:
    return torch.sinh(y.clamp(-STEEPEST, STEEPEST))


def _log_norm(slope: Tensor) -> Tensor:
    r""":math:`\ln((e^\eta - 1) / \eta)`."""
    flat = slope.abs() < FLAT
    steep = torch.where(flat, 1.0, slope.abs())
    exact = slope.clamp(min=0) + torch.log(-torch.expm1(-steep) / steep)
    return torch.where(flat, slope / 2 + slope.square() / 24, exact)
