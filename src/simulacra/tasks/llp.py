r"""LLP, learning from label proportions: a classifier of signal and background from bags of known fractions.

Nobody knows what any event is, only which share of each bag is signal. A network :math:`f` predicts
:math:`h = \sigma(f(x, c))` for each event, and its mean over the events of a bag in a batch is compared with
the fraction of that bag (:mod:`simulacra.tasks.proportions`). Two bags of different fractions are enough, and
there may be any number of them.

What is applied to a file are the odds :math:`h / (1 - h) = e^f` as factors on event weights: they order
events as the ratio of the densities of signal and background does. Their values are no ratio of densities
unless the predictions are calibrated, which the loss does not ask for: it is smallest where the mean
predictions of both kinds are as far apart as can be.

What is judged are events of the bag with the least signal, under the weights that make them look like those
of the bag with the most, if the predictions are calibrated:

.. math:: w = \frac{f_1 r + 1 - f_1}{f_2 r + 1 - f_2}, \qquad r = \frac{1 - \pi}{\pi} e^f,

with the fractions of both bags and that of all events, :math:`\pi`.

References: Dery et al., arXiv:1702.00414; Komiske et al., arXiv:1801.10158 (bags of a batch, both losses).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from simulacra.core import Batch, Latent, Spec
from simulacra.core.bags import BAG, FRACTION, MARKS, seen, unbagged, without_bag
from simulacra.core.weights import weighted_mean
from simulacra.tasks.proportions import Proportions
from simulacra.tasks.remembering import Remembering
from simulacra.tasks.sights import KINDS, MakeNet, Sight, chosen
from simulacra.training.objective import Objective
from simulacra.training.optim import Optim


class LLP(Remembering):
    """See the module's docstring.

    Args:
        spec: Events in bags.
        given: Fields that are given (None: all conditions).
        sees: What the classifier sees, by name: the first that fits is taken, None is passed over.
        net: Makes the network of one logit from the widths of what it sees.
        proportions: How mean predictions are compared with fractions.
        optim: How the network is trained.

    Raises:
        IncompatibleError: If no sight fits the events.
    """

    marks = MARKS

    def __init__(
        self,
        spec: Spec,
        given: Sequence[str] | None,
        sees: Mapping[str, Sight | None],
        net: MakeNet,
        proportions: Proportions,
        optim: Optim,
    ) -> None:
        super().__init__(spec, given)
        self.single, self.bags = unbagged(spec), spec.field(BAG).width
        sight = chosen(sees, self.single)
        self.transform = sight.transform(self.single, self.given_fields)
        self.classifier = sight.logit(self.single, self.transform, net)
        self.proportions, self.optim = proportions, optim

    @classmethod
    def unfit(cls, spec: Spec) -> str | None:
        """As of the base class; there must be bags."""
        if FRACTION not in spec.event:
            return "it learns from bags of known fractions: take data=bags data/of=NAME"
        return super().unfit(spec)

    @classmethod
    def accepts(cls, spec: Spec) -> str | None:
        """Showers, clouds and tables."""
        if spec.kind not in KINDS:
            return f"it classifies events of the kinds {', '.join(KINDS)}, not of {spec.kind!r}"
        return None

    def encode(self, batch: Batch, generator: torch.Generator | None = None) -> Latent:
        """As of the base class, without noise, and with the bags."""
        training = self.transform.training
        self.transform.eval()
        try:
            latent = super().encode(batch)
        finally:
            self.transform.train(training)
        marks = {name: batch.event[name][:, 0] for name in MARKS}
        return replace(latent, x={**latent.x, **marks})

    def objectives(self) -> dict[str, Objective]:
        """One: the distance of predicted from known proportions."""
        moved = [item for item in self.classifier.parameters() if item.requires_grad]
        return {"classifier": Objective(self.loss, moved, self.optim)}

    def loss(self, latent: Latent, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """Distance of the bags of a batch, and how far their mean predictions are from the fractions, root
        mean square; both weighted by the weights of the bags.
        """
        prediction = torch.sigmoid(self.classifier(latent))
        weight = torch.ones_like(prediction) if latent.weight is None else latent.weight
        bag, fraction = latent.x[BAG].long(), latent.x[FRACTION.name]
        zero = prediction.new_zeros(self.bags)
        total, predicted, known = (
            zero.index_add(0, bag, weight * value)
            for value in (torch.ones_like(prediction), prediction, fraction)
        )
        held = total > 0
        total, predicted, known = (value[held] for value in (total, predicted, known))
        predicted, known, share = predicted / total, known / total, total / total.sum()
        return {
            "loss": (share * self.proportions(predicted, known)).sum(),
            "off": (share * (predicted - known).square()).sum().sqrt().detach(),
        }

    @torch.no_grad()
    def logit(self, batch: Batch) -> Tensor:
        """Logits of events in physical units, ``(B,)`` on the CPU, whether they were learnt from or not."""
        with self.evaluating():
            found: Tensor = self.classifier(self.transform(batch.to(self.device)))
            return found.cpu()

    def applied(self, batch: Batch, generator: torch.Generator | None = None) -> Batch:
        """The same events, their weights times the odds of signal.

        Raises:
            UserError: If events are among those that were learnt from.
        """
        events = seen(batch, self.single)
        self.refuse_learnt(events)
        return replace(batch, weight=batch.weight_or_one() * self.logit(events).exp())

    def truth(self, batch: Batch) -> Batch:
        """The events of the bag with the most signal, without the bag."""
        fraction = batch.event[FRACTION.name][:, 0]
        return without_bag(batch[fraction == fraction.max()])

    def judged(
        self,
        batch: Batch,
        *,
        batch_size: int | None = None,
        generator: torch.Generator | None = None,
    ) -> Batch:
        """Events of the bag with the least signal, weighted to look like :meth:`truth`.

        Raises:
            UserError: If there are none, or ``batch_size`` is not positive.
        """
        self.chunks(
            batch, batch_size
        )  # refuses what cannot be judged before the bags are looked at
        fraction = batch.event[FRACTION.name][:, 0].double()
        all_of_it = weighted_mean(fraction, batch.weight).clamp(1e-6, 1 - 1e-6)
        most, least = fraction.max(), fraction.min()
        poor = without_bag(batch[fraction == least])
        self.refuse_learnt(seen(poor, self.single))
        chunks = self.chunks(poor, batch_size)
        logit = torch.cat([self.logit(chunk) for chunk in chunks]).double()
        shifted = logit - torch.logit(all_of_it).cpu()
        signal, background = torch.sigmoid(shifted), torch.sigmoid(-shifted)
        above, below = (f * signal + (1 - f) * background for f in (most.cpu(), least.cpu()))
        poor = poor.to("cpu")
        return replace(poor, weight=poor.weight_or_one() * (above / below).float())
