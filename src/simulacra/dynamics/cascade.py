r"""Images as a cascade of divisions, with the same law at all scales.

The content of an image is divided in two, rows and columns in turn, down to its pixels. A parent with content
:math:`e` gives all of it to its first child, or all to the second, or to both: then the logit of the first
share, :math:`v = \ln(e_1 / e_2)`, follows a mixture of normal distributions. What is minimised is

.. math:: -\sum_{\text{parents}} \ln P(\text{kind}) + [\text{both}] \ln p(v) ,

so that contents are conserved exactly and empty pixels are exactly zero. Children that lie outside of the
image get nothing.

Codes of an encoder pass a random mask on their way into the decoder. Where all codes are masked, the law is
that of the cascade alone: images are generated from the whole down to the pixels, and each time others.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from simulacra.core import UserError, draws
from simulacra.core.constructors import constructor
from simulacra.core.ranges import Count
from simulacra.nn.splitting import Splitter, division, interleaved

KINDS = 3
NARROWEST, WIDEST = math.exp(-4.0), math.exp(3.0)
"""Smallest and largest width of a component of the mixture."""
SHOWN = math.log(1e-6)
"""Logarithm of the smallest share of the whole that a network tells from none."""


@dataclass(frozen=True)
class Level:
    """True divisions of all parents of a level.

    Args:
        whole: Contents of the parents ``(B, h, w)``.
        kind: See :func:`~simulacra.nn.splitting.division`.
        logit: The same.
    """

    whole: Tensor
    kind: Tensor
    logit: Tensor


@constructor
class Cascade(nn.Module):
    """See the module's docstring.

    Args:
        inside: Which pixels of a square image of :math:`2^K` rows there are, bool ``(rows, rows)``.
        context: Width of the context, 0 for none.
        components: Of the mixture.
        state: Channels of a state of the network.
        code: Channels of a code.
        hidden: Channels inside.

    Raises:
        UserError: If the rows are no power of two, or not as many as the columns.
    """

    def __init__(
        self,
        inside: Tensor,
        context: int,
        components: Count,
        state: Count,
        code: Count,
        hidden: Count,
    ) -> None:
        super().__init__()
        rows = len(inside)
        if inside.ndim != 2 or inside.shape[1] != rows or rows & (rows - 1):
            raise UserError(
                f"a cascade needs a square image of a power of two rows, not {tuple(inside.shape)}"
            )
        self.halvings = 2 * (rows.bit_length() - 1)
        self.components = components
        self.net = Splitter(context, KINDS + 3 * components, state, code, hidden)
        self.pixels = int(inside.sum())
        reach = inside[None].double()
        for level in reversed(range(self.halvings)):
            pair = torch.stack([reach[:, 0::2] > 0, reach[:, 1::2] > 0], 1)  # (1, 2, h, w)
            self.register_buffer(f"open_{level}", pair, persistent=False)
            reach = _turned(pair.any(1).double())

    def loss(
        self,
        shares: Tensor,
        context: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """What is minimised, per pixel, of each image ``(B,)``; half of the images are seen without codes.

        Args:
            shares: Images ``(B, rows, rows)`` in shares of their content.
            context: ``(B, C)`` or None.
            generator: Source of the masks.
        """
        n = len(shares)
        kept = (2 * draws.uniform((n, 1, 1), shares, generator) - 1).clamp_min(0)
        masks = [
            (draws.uniform(level.whole.shape, shares, generator) < kept).to(shares)
            for level in self.levels(shares)
        ]
        return -self.log_law(shares, context, masks) / self.pixels

    def levels(self, shares: Tensor) -> list[Level]:
        """All divisions of images, from the whole down."""
        found: list[Level] = []
        content = shares
        for _ in range(self.halvings):
            first, second = content[:, 0::2], content[:, 1::2]
            kind = torch.where(second > 0, torch.where(first > 0, 0, 2), 1)
            both = kind == 0
            logit = torch.where(both, first, 1.0).log() - torch.where(both, second, 1.0).log()
            found.append(Level(first + second, kind, logit))
            content = _turned(first + second)
        return found[::-1]

    def codes(self, levels: list[Level]) -> list[Tensor]:
        """Codes ``(B, code, h, w)`` of the parents of each level."""
        last = levels[-1].whole
        below = last.new_zeros(len(last), self.net.code, 2 * last.shape[1], last.shape[2])
        found: list[Tensor] = []
        for level in reversed(levels):
            found.append(self.net.encode(below, division(level.kind, level.logit)))
            below = _turned(found[-1])
        return found[::-1]

    def log_law(
        self, shares: Tensor, context: Tensor | None, masks: list[Tensor] | None = None
    ) -> Tensor:
        """Logarithm ``(B,)`` of the law of all divisions of images; without masks, no code is seen.

        Args:
            shares: As of :meth:`loss`.
            context: The same.
            masks: Where codes pass, ``(B, h, w)`` of each level's parents.
        """
        levels = self.levels(shares)
        codes = None if masks is None else self.codes(levels)
        state = self.net.start(len(shares), context)
        total = shares.new_zeros(len(shares))
        for number, level in enumerate(levels):
            code, mask = self._passed(number, level.whole, codes, masks)
            told, features = self.net.decode(state, code, mask, _share(level.whole))
            total = total + self._judged(number, level, told).flatten(1).sum(1)
            state = _turned(self.net.descend(features, division(level.kind, level.logit)))
        return total

    def sample(
        self, n: int, context: Tensor | None = None, generator: torch.Generator | None = None
    ) -> Tensor:
        """Images ``(n, rows, rows)`` in shares of their content, from the whole down."""
        state = self.net.start(n, context)
        return self._drawn(0, state.new_ones(n, 1, 1), state, None, None, generator)

    def regenerated(
        self,
        shares: Tensor,
        context: Tensor | None,
        levels: int,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Images whose first ``levels`` divisions are those of others, and whose finer ones are drawn.

        Raises:
            UserError: If there are not as many.
        """
        if not 0 <= levels <= self.halvings:
            raise UserError(f"an image has {self.halvings} divisions, {levels} cannot be kept")
        state = self.net.start(len(shares), context)
        content = shares.sum((1, 2), keepdim=True)
        for number, level in enumerate(self.levels(shares)[:levels]):
            code, mask = self._passed(number, level.whole, None, None)
            _, features = self.net.decode(state, code, mask, _share(level.whole))
            state = _turned(self.net.descend(features, division(level.kind, level.logit)))
            content = _turned(_divided(level.whole, level.kind, level.logit))
        return self._drawn(levels, content, state, None, None, generator)

    def reconstructed(
        self, shares: Tensor, context: Tensor | None, generator: torch.Generator | None = None
    ) -> Tensor:
        """Images decoded from all of their codes."""
        levels = self.levels(shares)
        masks = [torch.ones_like(level.whole) for level in levels]
        state = self.net.start(len(shares), context)
        content = shares.sum((1, 2), keepdim=True)
        return self._drawn(0, content, state, self.codes(levels), masks, generator)

    def _drawn(
        self,
        begin: int,
        content: Tensor,
        state: Tensor,
        codes: list[Tensor] | None,
        masks: list[Tensor] | None,
        generator: torch.Generator | None,
    ) -> Tensor:
        """Divide contents ``(B, h, w)`` from a level down to the pixels."""
        for number in range(begin, self.halvings):
            code, mask = self._passed(number, content, codes, masks)
            told, features = self.net.decode(state, code, mask, _share(content))
            kind, logit = self._draw(number, told, generator)
            state = _turned(self.net.descend(features, division(kind, logit)))
            content = _turned(_divided(content, kind, logit))
        return _turned(content)

    def _passed(
        self, number: int, like: Tensor, codes: list[Tensor] | None, masks: list[Tensor] | None
    ) -> tuple[Tensor, Tensor]:
        """Codes and masks of a level as channels; zeros where there are none."""
        if codes is None or masks is None:
            zero = torch.zeros_like(like)[:, None]
            return zero.expand(-1, self.net.code, -1, -1), zero
        return codes[number], masks[number][:, None]

    def _kinds(self, number: int, told: Tensor) -> Tensor:
        """Log probabilities ``(B, 3, h, w)``; of what lies outside a very small one."""
        first, second = getattr(self, f"open_{number}")[0]
        closed = torch.stack([~(first & second), ~first, ~second])
        return told[:, :KINDS].masked_fill(closed, -1e4).log_softmax(1)

    def _mixture(self, told: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Log weights, means and widths of components, each ``(B, M, h, w)``."""
        weight, mean, width = told[:, KINDS:].chunk(3, 1)
        return weight.log_softmax(1), mean, width.exp().clamp(NARROWEST, WIDEST)

    def _judged(self, number: int, level: Level, told: Tensor) -> Tensor:
        """Logarithm of the law of each division ``(B, h, w)``, 0 for empty parents."""
        kind = self._kinds(number, told).gather(1, level.kind[:, None])[:, 0]
        weight, mean, width = self._mixture(told)
        off = (level.logit[:, None] - mean) / width
        normal = -0.5 * off.square() - width.log() - 0.5 * math.log(2 * math.pi)
        value = (weight + normal).logsumexp(1)
        law = kind + torch.where(level.kind == 0, value, 0.0)
        return torch.where(level.whole > 0, law, 0.0)

    def _draw(
        self, number: int, told: Tensor, generator: torch.Generator | None
    ) -> tuple[Tensor, Tensor]:
        """Kinds and logits ``(B, h, w)`` of divisions."""
        kind = _chosen(self._kinds(number, told), generator)
        weight, mean, width = self._mixture(told)
        component = _chosen(weight, generator)[:, None]
        noise = draws.normal(kind.shape, told, generator)
        return kind, mean.gather(1, component)[:, 0] + width.gather(1, component)[:, 0] * noise


def _chosen(logs: Tensor, generator: torch.Generator | None) -> Tensor:
    """One of the channels ``(B, h, w)``, drawn with probabilities whose logarithms are ``(B, K, h, w)``."""
    n, kinds, rows, cols = logs.shape
    flat = logs.movedim(1, -1).reshape(-1, kinds).exp()
    level = draws.uniform((n, rows, cols), logs, generator).reshape(-1, 1)
    summed = flat.cumsum(1)
    return (summed[:, :-1] <= level * summed[:, -1:]).sum(1).view(n, rows, cols)


def _divided(content: Tensor, kind: Tensor, logit: Tensor) -> Tensor:
    """Contents of the children ``(B, 2 h, w)``."""
    share = torch.where(kind == 0, torch.sigmoid(logit), (kind == 1).to(logit))
    first = content * share
    return interleaved(first[:, None], (content - first)[:, None])[:, 0]


def _share(content: Tensor) -> Tensor:
    """Logarithm of a share of the whole as a channel ``(B, 1, h, w)``, between -1 and 0."""
    return (content.clamp_min(math.exp(SHOWN)).log() / -SHOWN)[:, None]


def _turned(grid: Tensor) -> Tensor:
    """Rows as columns, so that the next division is that of the other axis."""
    return grid.transpose(-1, -2)
