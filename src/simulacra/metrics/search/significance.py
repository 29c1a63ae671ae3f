r"""What a cut on a score gains in a search, from events whose truth is known.

A cut keeps the share :math:`\epsilon_S` of the signal and :math:`\epsilon_B` of the background, so that the
significance :math:`S / \sqrt B` is multiplied by the significance improvement

.. math:: \mathrm{SIC} = \frac{\epsilon_S}{\sqrt{\epsilon_B}}, \qquad
          \frac{\sigma_\mathrm{SIC}^2}{\mathrm{SIC}^2}
          = \frac{\sigma_S^2}{\epsilon_S^2} + \frac{\sigma_B^2}{4 \epsilon_B^2},

with the binomial error of a weighted share,
:math:`\sigma^2 = \sum_i w_i^2 (k_i - \epsilon)^2 / (\sum_i w_i)^2`, where :math:`k_i` is 1 for an event that
is kept and 0 for another. A cut that leaves few background events has a large error, and the largest of many
such figures is large by chance: the maximum is taken over the cuts that keep at least :data:`LEAST` of them.

Reference: Gallicchio et al., arXiv:1009.3919, for the curve.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from simulacra.core import UserError
from simulacra.metrics.classifiers.boosted import hanley_mcneil
from simulacra.metrics.engine.weighted import worth

LEAST = 25
"""Background events that a cut keeps, at least, where a maximum is looked for."""


@dataclass(frozen=True)
class Significance:
    """The curve of one score, a point for each value that a cut may have, the hardest cut first.

    Args:
        cut: Events with a score from here on are kept, ``(K,)``.
        signal: Share of the signal that is kept, ``(K,)``.
        background: The same of the background.
        signal_error: Error of ``signal``.
        background_error: Error of ``background``.
        events: Background events that are kept, whatever they weigh.
        worth: Effective numbers of signal and background events.
    """

    cut: Tensor
    signal: Tensor
    background: Tensor
    signal_error: Tensor
    background_error: Tensor
    events: Tensor
    worth: tuple[float, float]

    @property
    def sic(self) -> Tensor:
        """Significance improvement ``(K,)``; infinite without background."""
        return self.signal / self.background.sqrt()

    @property
    def error(self) -> Tensor:
        """Its statistical error ``(K,)``; NaN where nothing is kept of one of them."""
        relative = (self.signal_error / self.signal).square()
        relative = relative + (self.background_error / self.background).square() / 4
        return self.sic * relative.sqrt()

    @property
    def auc(self) -> float:
        """Area under the ROC curve; a tie counts half."""
        zero = torch.zeros(1, dtype=torch.float64)
        return float(
            torch.trapezoid(torch.cat([zero, self.signal]), torch.cat([zero, self.background]))
        )

    @property
    def auc_error(self) -> float:
        """Its statistical error, by Hanley and McNeil."""
        return hanley_mcneil(self.auc, *self.worth)

    def at(self, background: float) -> int:
        """Number of the softest cut that keeps at most a share of the background, or of the hardest one."""
        return max(int((self.background <= background).sum()) - 1, 0)

    def best(self, least: int = LEAST) -> int:
        """Number of the cut with the largest improvement among those that keep enough background events.

        Raises:
            UserError: If there are not as many.
        """
        if int(self.events[-1]) < least:
            raise UserError(
                f"a maximum at {least} background events or more needs as many, got {int(self.events[-1])}"
            )
        return int(torch.where(self.events >= least, self.sic, -torch.inf).argmax())

    def figures(self, least: int = LEAST) -> dict[str, float]:
        """``max_sic``, what is kept there, and ``auc``, with errors; floors are those of chance."""
        k = self.best(least)
        return {
            "max_sic": float(self.sic[k]),
            "max_sic/error": float(self.error[k]),
            "max_sic/floor": 1.0,
            "max_sic/signal": float(self.signal[k]),
            "max_sic/signal/error": float(self.signal_error[k]),
            "max_sic/background": float(self.background[k]),
            "max_sic/background/error": float(self.background_error[k]),
            "auc": self.auc,
            "auc/error": self.auc_error,
            "auc/floor": 0.5,
        }


def significance(score: Tensor, signal: Tensor, weight: Tensor | None = None) -> Significance:
    """The curve of a score, the higher the more like signal.

    Args:
        score: Of all events ``(N,)``.
        signal: Which of them are signal, bool ``(N,)``.
        weight: Weights of all events ``(N,)``, not negative, or None.

    Raises:
        UserError: If a score is NaN, a weight negative, or one kind of event missing or without weight.
    """
    if bool(score.isnan().any()):
        raise UserError(f"{int(score.isnan().sum())} of {len(score)} scores are NaN")
    one = torch.ones_like(score, dtype=torch.float64) if weight is None else weight.double()
    kinds = torch.stack([signal, ~signal]).double() * one  # (2, N)
    if bool((one < 0).any()) or not bool((kinds.sum(1) > 0).all()):
        raise UserError(
            "a significance needs events of signal and of background, of weights that are not negative"
        )
    values, order = score.double().sort(descending=True)
    last = torch.cat([values[1:] != values[:-1], torch.ones(1, dtype=torch.bool)])
    weights = kinds[:, order]
    total, squares = weights.sum(1, keepdim=True), weights.square()
    kept = (weights.cumsum(1) / total)[:, last].clamp(max=1)
    inside = squares.cumsum(1)[:, last]
    outside = (squares.sum(1, keepdim=True) - inside).clamp(min=0)
    error = ((inside * (1 - kept).square() + outside * kept.square()).sqrt()) / total
    found = [
        worth(int(mask.sum()), None if weight is None else one[mask]) for mask in (signal, ~signal)
    ]
    return Significance(
        values[last], kept[0], kept[1], error[0], error[1],
        (~signal)[order].long().cumsum(0)[last], (found[0], found[1]),
    )  # fmt: skip
