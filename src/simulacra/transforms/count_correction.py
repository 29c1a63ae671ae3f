r"""Correction of the bias of generated numbers of points, layer by layer.

With the mean number of points of a layer in true and in generated showers of the same conditions,
generated numbers are multiplied by

.. math:: f_l = \langle n_l \rangle_{true} / \langle n_l \rangle_{generated}

within a factor of two, before they are rounded; a layer that holds a point in fewer than one of ten
showers is left as it is. Means are those of weighted events.

Reference: AllShowers, code FLC-QU-hep/AllShowers, whose branch of several geometries fits layers by
themselves; that fit is not told in arXiv:2601.11716, and this one is a constant for each layer.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from simulacra.core import Batch, Field, event_mean
from simulacra.transforms.calibration import Calibration

FACTOR = 2.0
"""By which a number is changed, at most."""
LEAST = 0.1
"""Mean number of points of a layer that is corrected, at least."""


class CountCorrection(Calibration):
    """See the module's docstring.

    Args:
        fields: Fields that the generator is given.
        layers: ``L``.
        events: True events that are remembered, 0 for no correction.
    """

    means: Tensor

    def __init__(self, fields: Sequence[Field], layers: int, events: int) -> None:
        super().__init__(fields, events)
        self.register_buffer("means", torch.ones(2, layers))

    def fit_true(self, counts: Batch | None) -> None:
        """Take numbers of points ``(B, L)``, the ``x`` of a batch, of the true events that are remembered."""
        if counts is not None:
            self._fit(0, counts)

    def fit_generated(self, batch: Batch) -> None:
        """Take numbers of points ``(B, L)``, the ``x`` of a batch, for which no points are made."""
        self._fit(1, batch)

    def _fit(self, side: int, counts: Batch) -> None:
        self.means[side] = event_mean(counts.x.to(self.means), counts.weight)
        self.known[side] = True

    def shift(self) -> Tensor:
        """Logarithms of the factors ``(L,)``, zero until both sides are known."""
        true, generated = self.means.clamp_min(LEAST)
        factor = (true / generated).clamp(1 / FACTOR, FACTOR)
        some = (self.means >= LEAST).all(0) & self.known.all()
        return torch.where(some, factor, 1.0).log()
