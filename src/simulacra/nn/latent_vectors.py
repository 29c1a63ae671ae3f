r"""Latent vectors that carry the conditions of an event into a generator.

:class:`ScaledLatent`, as published for LAGAN and CaloGAN, multiplies noise with them: with an embedding
:math:`e` of the class and the incident energy :math:`E`,

.. math:: h = z \odot e(\mathrm{class})\, E / E_{max}, \qquad z \sim N(0, 1),

or, as of the GAN of "Getting High", :math:`z \sim U(-1, 1)` (:class:`ScaledUniform`), where a factor is left
out of which the data have none. At low energy nothing is left of :math:`h`, and all events are alike.
:class:`JoinedLatent` puts the conditions beside the noise, which keeps its width.

References: arXiv:1701.05927; arXiv:1712.10321; arXiv:2005.05334.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from simulacra.core import Field, draws
from simulacra.core.ranges import Count, Positive


@dataclass(frozen=True)
class Columns:
    """What the columns of scaled conditions are.

    Args:
        width: How many.
        classes: Those of the class of an event, one-hot; empty where there is none.
        others: Those that are neither its class nor its incident energy.
        energy: Whether one more follows, the incident energy over the largest one.
    """

    width: int
    classes: tuple[int, ...]
    others: tuple[int, ...]
    energy: bool

    @classmethod
    def of(cls, fields: Sequence[Field], energy: Field | None = None) -> Columns:
        """Of given fields, in their order.

        Args:
            fields: The fields; the first with classes is the class of an event.
            energy: The one that is the incident energy, if there is one.
        """
        classes: tuple[int, ...] = ()
        others: list[int] = []
        width = 0
        for field in fields:
            own = range(width, width + field.width)
            width += field.width
            if field.classes is not None and not classes:
                classes = tuple(own)
            elif field != energy:
                others += own
        return cls(width, classes, tuple(others), energy is not None)


class LatentVector(nn.Module, ABC):
    """Draws vectors ``(n, width)``."""

    width: int

    @abstractmethod
    def forward(
        self, n: int, cond: Tensor | None, like: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        """``n`` vectors.

        Args:
            n: How many.
            cond: Conditions ``(n, C)`` as :class:`Columns` says, or None where there are none.
            like: A tensor of the device and type wanted.
            generator: Source of the noise.
        """


MakeLatent = Callable[[Columns], LatentVector]


class ScaledLatent(LatentVector):
    """Noise times class and energy; further conditions stand beside it.

    Args:
        columns: What the conditions are.
        latent: Length of the noise.
    """

    def __init__(self, columns: Columns, latent: Count) -> None:
        super().__init__()
        self.columns, self.latent = columns, latent
        self.width = latent + len(columns.others)
        self.embedding = None
        if columns.classes:
            self.embedding = nn.Linear(len(columns.classes), latent, bias=False)
            nn.init.normal_(self.embedding.weight)

    def forward(
        self, n: int, cond: Tensor | None, like: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        """See :class:`LatentVector`."""
        h = self.drawn(n, like, generator)
        if cond is None:
            return h
        if self.embedding is not None:
            h = h * self.embedding(cond[:, list(self.columns.classes)])
        if self.columns.energy:
            h = h * cond[:, self.columns.width :]
        return torch.cat([h, cond[:, list(self.columns.others)]], dim=1)

    def drawn(self, n: int, like: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Noise ``(n, latent)``."""
        return draws.normal((n, self.latent), like, generator)


class ScaledUniform(ScaledLatent):
    """:class:`ScaledLatent` with uniform noise in (-1, 1).

    Args:
        columns: See there.
        latent: Length of the noise.
    """

    def drawn(self, n: int, like: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """See :meth:`ScaledLatent.drawn`."""
        return 2 * draws.uniform((n, self.latent), like, generator) - 1


class JoinedLatent(LatentVector):
    """Noise and conditions side by side.

    Args:
        columns: What the conditions are.
        latent: Length of the noise.
        mean: Mean of the noise.
        std: Its standard deviation.
    """

    def __init__(
        self, columns: Columns, latent: Count, mean: float = 0.0, std: Positive = 1.0
    ) -> None:
        super().__init__()
        self.columns, self.latent = columns, latent
        self.mean, self.std = mean, std
        self.width = latent + columns.width

    def forward(
        self, n: int, cond: Tensor | None, like: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        """See :class:`LatentVector`."""
        z = self.mean + self.std * draws.normal((n, self.latent), like, generator)
        return z if cond is None else torch.cat([z, cond[:, : self.columns.width]], dim=1)
