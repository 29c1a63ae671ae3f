r"""Direct regression of a true value: a calibration that takes the spectrum of its training events along.

Predicts: :math:`E[t\,|\,r, \theta]` of the true value :math:`t` given the measured one :math:`r` and the
    features :math:`\theta`.
Representation: tables with a measured column and its true value as a condition.
Reference: the prior dependence is that of Cukierman and Nachman 2016, arXiv:1609.05195, section 2.

The prediction :math:`L` minimises :math:`\langle (t / r - L / r)^2 \rangle` over weighted events. Events that
are measured alike have different true values, and their mean depends on how many there are of each, so that
a calibration of events of another spectrum is off: this is the control of calibrations that have no prior.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from simulacra.core import Latent, Spec
from simulacra.nn.monotone import Monotone
from simulacra.tasks.regressor import MakeTransform, Regressor
from simulacra.training.objective import Objective
from simulacra.training.optim import Optim
from simulacra.transforms.measured import MEASURED, TRUE


class DirectRegression(Regressor):
    """See the module's docstring.

    Args:
        spec, given, transform: As of the base class.
        net: Makes the network from the width of the features.
        optim: What moves it.
    """

    def __init__(
        self,
        spec: Spec,
        given: Sequence[str] | None,
        transform: MakeTransform,
        net: Callable[[int], Monotone],
        optim: Optim,
    ) -> None:
        super().__init__(spec, given, transform)
        self.net, self.optim = net(self.transform.features.width), optim

    def objectives(self) -> dict[str, Objective]:
        """One."""
        return {"regression": Objective(self.loss, list(self.net.parameters()), self.optim)}

    def loss(self, latent: Latent, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """Squared distance from the true value, over the measured one."""
        measured, scale = latent.x[MEASURED], self.transform.scale
        true = (scale * (latent.x[TRUE] - measured)).exp()
        found = (scale * (self.net(measured, latent.cond) - measured)).exp()
        return {"loss": latent.mean((true - found).square())}

    def calibrated(self, measured: Tensor, features: Tensor | None) -> Tensor:
        """See the base class."""
        found: Tensor = self.net(measured, features)
        return found
