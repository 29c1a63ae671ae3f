r"""Transport: events of one sample are moved so that they are distributed like those of another.

.. math:: T_* p_2 = p_1,

with the density :math:`p_1` of the sample ``first`` and :math:`p_2` of ``second``. Events keep their weights
and their conditions; unlike weights, a map reaches places where the second sample has no events.
"""

from __future__ import annotations

from abc import abstractmethod

import torch

from simulacra.core import Batch
from simulacra.tasks.pair import PairTask


class Transport(PairTask):
    """See the module's docstring; a family implements ``accepts``, ``objectives`` and ``map``."""

    @abstractmethod
    def map(self, batch: Batch, generator: torch.Generator | None = None) -> Batch:
        """Where events in physical units go, on the CPU, one by one and in order.

        Events that were learnt from go there, too.

        Args:
            batch: Events of the second sample.
            generator: Source of whatever is drawn, on the module's device.
        """

    def applied(self, batch: Batch, generator: torch.Generator | None = None) -> Batch:
        """The moved events.

        Raises:
            UserError: If events are among those that were learnt from.
        """
        self.refuse_learnt(batch)
        return self.map(batch, generator)
