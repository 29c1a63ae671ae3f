r"""Reweighting: weights under which one sample is distributed like another.

.. math:: w(x) = \frac{p_1(x)}{p_2(x)},

Here :math:`p_1` is the density of the sample ``first`` and :math:`p_2` that of ``second``, each with its own
event weights and normalised to 1: the mean of :math:`w` under :math:`p_2` is 1, whatever the sizes are.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace

import torch
from torch import Tensor

from simulacra.core import Batch
from simulacra.tasks.pair import PairTask


class Reweighter(PairTask):
    """See the module's docstring; a family implements ``accepts``, ``objectives`` and ``ratio``."""

    @abstractmethod
    def ratio(self, batch: Batch) -> Tensor:
        """``w`` of events in physical units, ``(B,)`` on the CPU, whether they were learnt from or not; no
        limit is set to it.
        """

    def weights(self, batch: Batch) -> Tensor:
        """``w`` of events in physical units, ``(B,)`` on the CPU.

        Raises:
            UserError: If events are among those that were learnt from.
        """
        self.refuse_learnt(batch)
        return self.ratio(batch)

    def applied(self, batch: Batch, generator: torch.Generator | None = None) -> Batch:
        """The same events, their weights times ``w``; raises as :meth:`weights`."""
        return replace(batch, weight=batch.weight_or_one() * self.weights(batch))
