r"""Neural conditional reweighting: the response is corrected, and the truth stays as it is.

Weighs rows of tables, whose conditions :math:`x'` are what a detector responded to, by

.. math:: w(x | x') = \frac{p_1(x | x')}{p_2(x | x')}
                    = \frac{p_1(x, x')}{p_2(x, x')} \Big/ \frac{p_1(x')}{p_2(x')} .

The mean of :math:`w` is 1 at every :math:`x'`, so that the spectrum of :math:`x'` in the second sample
stays, however it differs from that of the first. A classifier sees all of an event and minimises the
weighted binary cross entropy; its odds :math:`e^f` are the ratio of the joint densities. That of the
marginal ones is their mean over the second sample, which a network of the conditions alone learns,

.. math:: e^{m(x')} = E_2[e^{f(x, x')} | x'], \qquad w = e^{f - m},

see :mod:`simulacra.dynamics.conditional_mean`: what the classifier has wrong does not change the spectrum.

Reference: Nachman and Thaler, arXiv:2107.08979.

Note:
    Differs from the reference: the marginal is taken from the joint classifier, not from one of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from simulacra.core import Batch, Field, Latent, Spec, weighted_mean
from simulacra.core.pair import LABEL, unlabelled
from simulacra.dynamics.conditional_mean import mean_entropy
from simulacra.tasks.reweighter import Reweighter
from simulacra.training.objective import Objective
from simulacra.training.optim import Optim
from simulacra.transforms.table import TableTransform


class ConditionalReweighting(Reweighter):
    """See the module's docstring.

    Args:
        spec: A table with conditions, of two samples.
        given: Fields whose spectrum stays (None: all conditions).
        transform: Makes the transform from the spec of one sample and the given fields.
        net: Makes each network of one number from the number of its inputs.
        optim: How both are trained.
    """

    transform: TableTransform

    def __init__(
        self,
        spec: Spec,
        given: Sequence[str] | None,
        transform: Callable[[Spec, Sequence[Field]], TableTransform],
        net: Callable[[int], nn.Module],
        optim: Optim,
    ) -> None:
        super().__init__(spec, given)
        self.transform = transform(unlabelled(spec), self.given_fields)
        context = self.transform.conditions.width
        self.marginal, self.joint = net(context), net(self.transform.width + context)
        self.optim = optim

    @classmethod
    def accepts(cls, spec: Spec) -> str | None:
        """Tables with conditions."""
        if spec.kind != "table":
            return f"it weighs rows of tables, and {spec.name} has events of kind {spec.kind}"
        if not spec.conditions:
            return "it needs conditions, whose spectrum it leaves as it is"
        return None

    def objectives(self) -> dict[str, Objective]:
        """One: the sum of both cross entropies."""
        return {"ratios": Objective(self.loss, list(self.parameters()), self.optim)}

    def loss(self, latent: Latent, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """Cross entropies [nat] of the classifier and of the mean of its odds."""
        label, joint = latent.x[LABEL.name], self.log_joint(latent)
        weight = torch.ones_like(label) if latent.weight is None else latent.weight
        odds = mean_entropy(self.log_marginal(latent), joint.detach().exp())
        values = {
            "joint": latent.mean(binary_cross_entropy_with_logits(joint, label, reduction="none")),
            "marginal": weighted_mean(odds, weight * (1 - label)),
        }
        return {"loss": values["joint"] + values["marginal"], **values}

    def log_joint(self, latent: Latent) -> Tensor:
        """``f`` of normalised events, ``(B,)``."""
        assert latent.cond is not None
        found: Tensor = self.joint(torch.cat([latent.x["table"], latent.cond], 1))
        return found[:, 0]

    def log_marginal(self, latent: Latent) -> Tensor:
        """``m`` of normalised events, ``(B,)``."""
        found: Tensor = self.marginal(latent.cond)
        return found[:, 0]

    @torch.no_grad()
    def ratio(self, batch: Batch) -> Tensor:
        """See the base class; without noise, so that equal events have equal weights."""
        with self.evaluating():
            latent = self.transform(batch.to(self.device))
            return (self.log_joint(latent) - self.log_marginal(latent)).exp().cpu()
