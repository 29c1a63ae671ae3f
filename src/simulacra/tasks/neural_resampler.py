r"""Neural resampler: signed event weights become positive ones, with the errors that they had.

Takes rows of tables with weights :math:`w`, some of which may be negative, as higher orders of a calculation
make them. Two networks learn :math:`W(x) = E[w | x]` and :math:`E[w^2 | x] = W^2 (1 + e^{h})`, see
:mod:`simulacra.dynamics.conditional_mean`. An event is kept with the probability

.. math:: p(x) = \frac{E[w | x]^2}{E[w^2 | x]} = \frac{1}{1 + e^{h(x)}}
          \qquad\text{and then has the weight}\qquad
          \tilde w(x) = \frac{W(x)}{p(x)} = \frac{E[w^2 | x]}{E[w | x]} .

So the sum of the weights in any region of ``x`` keeps its mean, as :math:`p \tilde w = E[w | x]`, and its
variance, as :math:`p \tilde w^2 = E[w^2 | x]`, with fewer events.

Reference: Nachman and Thaler, arXiv:2007.11586.

Note:
    Differs from the reference: the second network describes the excess of :math:`E[w^2 | x]` over the square
    of the mean, so that ``p`` is a probability. Here alone weights are what is learnt, not how often an event
    counts: repeating an event and doubling its weight differ in the error that they make.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from simulacra.core import Batch, Field, Latent, Spec, UserError, draws
from simulacra.dynamics.conditional_mean import mean_entropy
from simulacra.training.module import Module
from simulacra.training.objective import Objective
from simulacra.training.optim import Optim
from simulacra.transforms.base import Batches
from simulacra.transforms.table import TableTransform


class NeuralResampler(Module):
    """See the module's docstring.

    Args:
        spec: A table.
        given: Conditions and event fields that weights may depend on beside the features (None: all
            conditions).
        transform: Makes the transform from the spec and the given fields.
        net: Makes each network of one number from the number of its inputs.
        optim: How both are trained.
    """

    transform: TableTransform
    unit: Tensor

    def __init__(
        self,
        spec: Spec,
        given: Sequence[str] | None,
        transform: Callable[[Spec, Sequence[Field]], TableTransform],
        net: Callable[[int], nn.Module],
        optim: Optim,
    ) -> None:
        super().__init__(spec, given)
        self.transform = transform(spec, self.given_fields)
        width = self.transform.width + self.transform.conditions.width
        self.mean, self.excess = net(width), net(width)
        self.register_buffer("unit", torch.tensor(1.0))
        self.optim = optim

    @classmethod
    def accepts(cls, spec: Spec) -> str | None:
        """Tables."""
        if spec.kind != "table":
            return f"it weighs rows of tables, and {spec.name} has events of kind {spec.kind}"
        return None

    def fit_transform(self, batches: Batches) -> Self:
        """Statistics of the transform, and the mean weight.

        Raises:
            UserError: If the mean weight is not above 0.
        """
        super().fit_transform(batches)
        weight = torch.cat([batch.weight_or_one() for batch in batches]).double()
        if not float(weight.mean()) > 0:
            raise UserError(
                f"positive weights cannot have the sum of those of {self.spec.name}, whose mean is "
                f"{float(weight.mean()):.6g}"
            )
        self.unit.copy_(weight.mean())
        return self

    def objectives(self) -> dict[str, Objective]:
        """One: the sum of the losses of both networks."""
        networks = [*self.mean.parameters(), *self.excess.parameters()]
        return {"weights": Objective(self.loss, networks, self.optim)}

    def loss(self, latent: Latent, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """Losses of the mean weight and of the mean square, over events that count the same."""
        weight = latent.weight
        w = torch.ones_like(latent.x["table"][:, 0]) if weight is None else weight / self.unit
        mean, excess = self._described(latent)
        square = 2 * mean.detach() + softplus(excess)
        values = {
            "first": mean_entropy(mean, w).mean(),
            "second": mean_entropy(square, w.square()).mean(),
        }
        return {"loss": values["first"] + values["second"], **values}

    @torch.no_grad()
    def chances(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The probability to keep each event, and the weight it has then, ``(B,)`` each, on the CPU.

        Weights of the batch are not looked at.
        """
        with self.evaluating():
            mean, excess = self._described(self.transform(batch.to(self.device)))
        chance = torch.sigmoid(-excess)
        return chance.cpu(), (self.unit * mean.exp() / chance).cpu()

    def applied(self, batch: Batch, generator: torch.Generator | None = None) -> Batch:
        """The events that are kept, with their new weights."""
        chance, weight = self.chances(batch)
        level = draws.uniform(chance.shape, self.unit, generator).cpu()
        return replace(batch, weight=weight)[level < chance]

    def judged(
        self,
        batch: Batch,
        *,
        batch_size: int | None = None,
        generator: torch.Generator | None = None,
    ) -> Batch:
        """The resampled events of the data set.

        Raises:
            UserError: If there are none, or ``batch_size`` is not positive.
        """
        chunks = self.chunks(batch, batch_size)
        return Batch.cat([self.applied(chunk, generator) for chunk in chunks])

    def _described(self, latent: Latent) -> tuple[Tensor, Tensor]:
        """Logarithm of the mean weight in units of that of all events, and ``h``, ``(B,)`` each."""
        columns = [latent.x["table"]] if latent.cond is None else [latent.x["table"], latent.cond]
        seen = torch.cat(columns, 1)
        return self.mean(seen)[:, 0], self.excess(seen)[:, 0]
