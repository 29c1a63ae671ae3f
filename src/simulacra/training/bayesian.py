r"""Training of modules whose weights have a posterior.

The negative log-likelihood of an event is joined by :math:`KL / N`, the divergence of all weights from their
priors over the number of training events, so that the sum over the training set is the variational bound.

Reference: Bellagente et al., arXiv:2104.04543, equation 8.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Self

from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.data import DataLoader

from simulacra.core import UserError
from simulacra.nn.variational import divergence
from simulacra.training.generative import GenerativeModule
from simulacra.transforms.base import Batches

MakeOptimizer = Callable[[Iterable[nn.Parameter]], Optimizer]


class Variational(GenerativeModule):
    """Mixin of families whose weights may have a posterior: it knows the number of training events."""

    train_events: int = 0
    """Events from which the posterior is learned."""

    def fit_transform(self, batches: Batches) -> Self:
        """Count the events, too; a trainer counts all that it trains on when it starts."""
        super().fit_transform(batches)
        if self.has_posterior:
            self.train_events = sum(len(batch) for batch in batches)
        return self

    def on_fit_start(self) -> None:
        """Count the training events of all ranks, of which statistics may have seen a part only."""
        super().on_fit_start()
        if self.has_posterior:
            self.trainer.fit_loop.setup_data()
            loader = self.trainer.train_dataloader
            assert isinstance(loader, DataLoader)
            self.train_events = len(loader.dataset)  # type: ignore[arg-type]  # sized, as loaders of events are

    def divergence(self, network: nn.Module) -> Tensor:
        """Divergence of a network's weights from their prior per training event, a scalar.

        Raises:
            UserError: If the number of training events is not known.
        """
        if not self.train_events:
            raise UserError(
                "a posterior is learned from a known number of training events: call fit_transform first"
            )
        return divergence(network) / self.train_events


def undecayed(optimizer: MakeOptimizer) -> MakeOptimizer:
    """The same optimizer without weight decay, in whose place there is a prior."""

    def make(parameters: Iterable[nn.Parameter]) -> Optimizer:
        made = optimizer(parameters)
        for group in made.param_groups:
            group["weight_decay"] = 0.0
        return made

    return make
