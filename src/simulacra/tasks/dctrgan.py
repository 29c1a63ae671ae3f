r"""DCTRGAN: a classifier between true and generated showers, whose odds are event weights.

Weighs calorimeter showers on ragged layers or regular grids, given the incident energy and any further
condition. A network ``f`` sees how much of the incident energy each layer holds and how the layers share it
(with ``cells`` each cell, too), and minimises the weighted binary cross entropy of the label ``y``, 1 for an
event of the sample ``first`` and 0 for one of ``second``,

.. math:: L = -\frac{\sum_i w_i \left[y_i \ln p_i + (1 - y_i) \ln(1 - p_i)\right]}{\sum_i w_i},
          \qquad p = \sigma(f(x, c)),

both samples having the same total weight. At its minimum the odds :math:`p / (1 - p) = e^{f}` are the ratio
of the densities of both samples, which is the event weight; it is not clipped.

References: Diefenbacher et al., arXiv:2009.03796; Andreassen and Nachman, arXiv:1907.08209.

Note:
    Differs from the reference: the classifier sees the energies of the layers in place of images, has SiLU
    for ReLU, and ends in one logit in place of a softmax of two.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from simulacra.core import Batch, Field, Latent, Spec
from simulacra.core.pair import LABEL, unlabelled
from simulacra.tasks.reweighter import Reweighter
from simulacra.training.objective import Objective
from simulacra.training.optim import Optim
from simulacra.transforms.showers import ShowerTransform


class DCTRGAN(Reweighter):
    """See the module's docstring.

    Args:
        spec: Layers or grid with a geometry and an incident energy, of two samples.
        given: Fields that steer the classifier (None: all conditions).
        transform: Makes the transform from the spec of one sample and the given fields.
        net: Makes the classifier of one logit from the number of its inputs.
        cells: Whether it sees the cells beside the energies of the layers.
        optim: How it is trained.
    """

    transform: ShowerTransform

    def __init__(
        self,
        spec: Spec,
        given: Sequence[str] | None,
        transform: Callable[[Spec, Sequence[Field]], ShowerTransform],
        net: Callable[[int], nn.Module],
        cells: bool,
        optim: Optim,
    ) -> None:
        super().__init__(spec, given)
        self.transform = transform(unlabelled(spec), self.given_fields)
        self.seen = ("energies", "cells") if cells else ("energies",)
        width = self.transform.energies.mean.numel() + cells * spec.n_voxels
        self.net = net(width + sum(field.width for field in self.given_fields))
        self.optim = optim

    @classmethod
    def accepts(cls, spec: Spec) -> str | None:
        """Layers and grids with a geometry and an incident energy."""
        if spec.kind not in ("layers", "grid") or spec.geometry is None:
            return f"it weighs cells in layers or on a grid, not events of kind '{spec.kind}'"
        if all(field.role != "energy" for field in spec.conditions):
            return "it needs a condition that is the incident energy"
        return None

    def objectives(self) -> dict[str, Objective]:
        """One: the cross entropy."""
        return {"classifier": Objective(self.loss, list(self.net.parameters()), self.optim)}

    def loss(self, latent: Latent, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """Cross entropy [nat] and the share of events that the classifier finds, both weighted."""
        logit, label = self.logit(latent), latent.x[LABEL.name]
        entropy = binary_cross_entropy_with_logits(logit, label, reduction="none")
        right = ((logit > 0) == (label > 0)).float()
        return {"loss": latent.mean(entropy), "accuracy": latent.mean(right)}

    def logit(self, latent: Latent) -> Tensor:
        """``f`` of normalised events, ``(B,)``."""
        columns = [latent.x[name] for name in self.seen]
        if latent.cond is not None:
            columns.append(latent.cond)
        found: Tensor = self.net(torch.cat(columns, dim=-1))
        return found[:, 0]

    @torch.no_grad()
    def weights(self, batch: Batch) -> Tensor:
        """See the base class; without noise, so that equal events have equal weights."""
        with self.evaluating():
            return self.logit(self.transform(batch.to(self.device))).exp().cpu()
