"""Post-processing of the cells of generated showers: a part of models whose generator has learnt before.

A network of single cells (:class:`simulacra.nn.bib_ae.PostProcessor`) is trained in a phase of its own, while
what it processes stays as it is (arXiv:2005.05334, section 3.3).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from simulacra.core.constructors import constructor
from simulacra.core.ranges import Share
from simulacra.dynamics.cell_losses import CellLoss
from simulacra.training.optim import Optim


@constructor
@dataclass(frozen=True)
class PostProcessing:
    """What comes after a generator has learnt.

    Args:
        net: Makes the post-processor from the cells per axis and the columns of the conditions.
        begin: Part of a training after which it learns, instead of the generator.
        losses: What it learns from, by name.
        optim: What moves it.
    """

    net: Callable[[Sequence[int], int], nn.Module]
    begin: Share
    losses: Mapping[str, CellLoss]
    optim: Optim

    def loss(
        self, found: Tensor, given: Tensor, true: Tensor, weight: Tensor | None
    ) -> dict[str, Tensor]:
        """Weighted sum of the terms as ``"loss"``, and each of them as a constant.

        Args:
            found: Cells after processing [MeV] ``(B, *)``.
            given: Cells before it.
            true: Cells of the true showers.
            weight: Event weights ``(B,)``, or None.
        """
        parts = {name: term(found, given, true, weight) for name, term in self.losses.items()}
        total = torch.stack([self.losses[name].factor * part for name, part in parts.items()]).sum()
        return {"loss": total, **{name: part.detach() for name, part in parts.items()}}
