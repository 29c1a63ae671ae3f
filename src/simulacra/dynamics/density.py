r"""Densities :math:`p(x | c)` of vectors, one interface for all of them.

Normalising flows, chains of layers, kernel density estimates and diffusions meet it, so that a model is
composed of them without knowing which they are.

What an exact density minimises is its negative log-likelihood per number, weighted over events,

.. math:: -\frac1D \frac{\sum_i w_i \ln p(x_i | c_i)}{\sum_i w_i} .
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import ClassVar

import torch
from torch import Tensor, nn

from simulacra.core import Layout, UserError, weighted_mean
from simulacra.core.constructors import role

Rows = tuple[Tensor, Tensor | None, Tensor | None]
"""Values ``(B, D)``, contexts ``(B, C)`` or None, event weights ``(B,)`` or None."""


@role
class Density(nn.Module, ABC):
    """See the module's docstring; ``features`` is ``D``, the numbers that are described."""

    features: int
    exact: ClassVar[bool] = True
    """Whether what is minimised is the negative log-likelihood."""

    @property
    def learns(self) -> bool:
        """Whether it has parameters; else its loss moves nothing and need not be computed in training."""
        return next(self.parameters(), None) is not None

    @abstractmethod
    def sample(
        self, n: int, context: Tensor | None = None, generator: torch.Generator | None = None
    ) -> Tensor:
        """Draw ``(n, D)``, one for each row of the context."""

    def log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Log density ``(B,)`` of ``x`` ``(B, D)``.

        Raises:
            UserError: If it is not known.
        """
        raise UserError(f"{type(self).__name__} draws numbers, but does not know their density")

    def loss(
        self,
        x: Tensor,
        context: Tensor | None = None,
        weight: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """What is minimised, per number and over weighted events: a scalar.

        Args:
            x: Values ``(B, D)``.
            context: ``(B, C)``, or None.
            weight: Event weights ``(B,)``, or None.
            generator: Source of noise, where there is any.
        """
        return -weighted_mean(self.log_prob(x, context), weight) / self.features

    def terms(
        self,
        x: Tensor,
        context: Tensor | None = None,
        weight: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> dict[str, tuple[Tensor, int]]:
        """What :meth:`loss` is the sum of, with the numbers of an event that each term describes; by name,
        which is empty where there is one term.
        """
        return {"": (self.loss(x, context, weight, generator), self.features)}

    def fit(self, rows: Iterable[Rows]) -> None:
        """Start from training events, once before training; nothing for most densities.

        Args:
            rows: Batches of events, made one after the other as they are asked for.
        """

    def remember(self, x: Tensor, context: Tensor | None, weight: Tensor | None) -> None:
        """See a batch in training, of numbers that are learnt themselves; most densities need not.

        The arguments are those of :meth:`loss`.
        """


MakeDensity = Callable[[Layout], Density]
"""What a configuration gives in the place of a density: all but what it describes is set."""


def first(rows: Iterable[Rows]) -> Rows:
    """The first batch, for a start that needs no more.

    Raises:
        UserError: If there are no events.
    """
    found = next(iter(rows), None)
    if found is None:
        raise UserError("a density starts from training events, and there are none")
    return found
