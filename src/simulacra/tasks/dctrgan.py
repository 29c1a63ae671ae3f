r"""DCTRGAN: a classifier between two samples, whose odds are event weights.

Weighs events of any kind that a sight (:mod:`simulacra.tasks.sights`) fits: showers by the energies of their
layers, their cells or as volumes, rows of tables, clouds by their moments or point by point, each with the
conditions that are given. A network ``f`` minimises the weighted binary cross entropy of the label ``y``, 1
for an event of the sample ``first`` and 0 for one of ``second``,

.. math:: L = -\frac{\sum_i w_i \left[y_i \ln p_i + (1 - y_i) \ln(1 - p_i)\right]}{\sum_i w_i},
          \qquad p = \sigma(f(x, c)),

both samples having the same total weight. At its minimum the odds :math:`p / (1 - p) = e^{f}` are the ratio
of the densities of both samples, which is the event weight; it is not clipped. Before the odds are formed,
``f`` is calibrated on the events of validation (:mod:`simulacra.tasks.calibration`), whenever they are looked
at, so that each checkpoint holds the calibration of its weights.

References: Diefenbacher et al., arXiv:2009.03796; Andreassen and Nachman, arXiv:1907.08209.

Note:
    Differs from the reference: the classifier sees the energies of the layers in place of images unless
    another is chosen, has SiLU for ReLU, and ends in one logit in place of a softmax of two. Events are
    normalised without noise, in training, too: equal events have equal weights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from simulacra.core import Batch, Latent, Spec
from simulacra.core.pair import LABEL, unlabelled
from simulacra.tasks.calibration import Calibration
from simulacra.tasks.reweighter import Reweighter
from simulacra.tasks.sights import KINDS, MakeNet, Sight, chosen
from simulacra.training.objective import Objective
from simulacra.training.optim import Optim


class DCTRGAN(Reweighter):
    """See the module's docstring.

    Args:
        spec: Events of two samples.
        given: Fields that are given (None: all conditions).
        sees: What the classifier sees, by name: the first that fits is taken, None is passed over.
        net: Makes the network of one logit from the widths of what it sees.
        calibration: Makes the calibration of the logits (None: they are taken as they are).
        optim: How the network is trained.

    Raises:
        IncompatibleError: If no sight fits the events.
    """

    def __init__(
        self,
        spec: Spec,
        given: Sequence[str] | None,
        sees: Mapping[str, Sight | None],
        net: MakeNet,
        calibration: Callable[[], Calibration] | None,
        optim: Optim,
    ) -> None:
        super().__init__(spec, given)
        one = unlabelled(spec)
        sight = chosen(sees, one)
        self.transform = sight.transform(one, self.given_fields)
        self.classifier = sight.logit(one, self.transform, net)
        self.calibration = None if calibration is None else calibration()
        self.optim = optim

    @classmethod
    def accepts(cls, spec: Spec) -> str | None:
        """Showers, clouds and tables."""
        if spec.kind not in KINDS:
            return f"it weighs events of the kinds {', '.join(KINDS)}, not of {spec.kind!r}"
        return None

    def encode(self, batch: Batch, generator: torch.Generator | None = None) -> Latent:
        """As of the base class, without noise."""
        training = self.transform.training
        self.transform.eval()
        try:
            return super().encode(batch)
        finally:
            self.transform.train(training)

    def objectives(self) -> dict[str, Objective]:
        """One: the cross entropy."""
        moved = [item for item in self.classifier.parameters() if item.requires_grad]
        return {"classifier": Objective(self.loss, moved, self.optim)}

    def loss(self, latent: Latent, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """Cross entropy [nat] and the share of events that the classifier finds, both weighted."""
        logit, label = self.classifier(latent), latent.x[LABEL.name]
        entropy = binary_cross_entropy_with_logits(logit, label, reduction="none")
        right = ((logit > 0) == (label > 0)).float()
        return {"loss": latent.mean(entropy), "accuracy": latent.mean(right)}

    @torch.no_grad()
    def ratio(self, batch: Batch) -> Tensor:
        """See the base class; without noise, so that equal events have equal weights."""
        with self.evaluating():
            logit = self.classifier(self.transform(batch.to(self.device)))
            calibrated: Tensor = logit if self.calibration is None else self.calibration(logit)
            return calibrated.exp().cpu()

    def on_validation_epoch_start(self) -> None:
        """Calibrate the weights that are validated and saved."""
        events = self.looked_at()
        if self.calibration is not None and events is not None and not self.trainer.sanity_checking:
            self.calibrate(events)

    @torch.no_grad()
    def calibrate(self, events: Iterable[Batch]) -> None:
        """Fit the calibration to labelled events that were not trained on."""
        if self.calibration is None:
            return
        parts = []
        with self.evaluating():
            for batch in events:
                latent = self.encode(batch.to(self.device))
                weight = batch.weight_or_one().to(self.device)
                parts.append((self.classifier(latent), latent.x[LABEL.name], weight))
        if parts:
            self.calibration.fit(*(torch.cat(items) for items in zip(*parts, strict=True)))
