r"""Numerical inversion: calibrations that do not depend on the spectrum of true values.

Predicts: the true value :math:`t` of a measured one :math:`r` by :math:`L(r, \theta)`, with features
    :math:`\theta` of the event.
Representation: tables with a measured column and its true value as a condition.
References: numerical inversion and its closure, Cukierman and Nachman 2016, arXiv:1609.05195; all features
    at once, with networks, Cheong et al. 2019, arXiv:1910.03773 (ATL-PHYS-PUB-2018-013); one feature after
    the other, global sequential calibration, ATLAS, arXiv:1703.09665, section 5.

The centre of the response :math:`f(t, \theta)` is learnt first (:mod:`simulacra.tasks.responses`), then its
inverse on points of it,

.. math:: L(f(t, \theta), \theta) \to t,

in which no fluctuation is left that a spectrum could weigh. Both rise by construction. Without features this
is numerical inversion, with all of them at once the generalised one; global sequential calibration begins
without and takes one feature after the other, each learnt from events that the steps before have calibrated.

Note:
    Where :math:`f` is not a straight line, :math:`E[f^{-1}(r)|t] \ne t`, whatever is learnt: the closure says
    by how much. Points lie at the true values of the training events and beside them, so that :math:`L` is
    known where measured values fluctuate to. The sequential calibration of the reference has binned factors;
    here each step is an inversion with networks.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from simulacra.core import Latent, Spec, weighted_mean
from simulacra.nn.monotone import Monotone
from simulacra.tasks.regressor import MakeTransform, Regressor
from simulacra.tasks.responses import Response
from simulacra.training.objective import Objective
from simulacra.training.optim import Optim
from simulacra.transforms.measured import MEASURED, TRUE

BESIDE = (-0.3, 0.0, 0.3)
"""Where points of the inverse lie beside each true value, in standard deviations of true values."""
LEARNT = 0.6
"""Share of a step that learns the response; the rest learns its inverse."""


class Inversion(nn.Module):
    """A response and its inverse, given some of the features.

    Args:
        places: Columns of the features that it is given.
        response: Makes the response from their number.
        net: Makes the network of the inverse from their number.
    """

    def __init__(
        self,
        places: Sequence[int],
        response: Callable[[int], Response],
        net: Callable[[int], Monotone],
    ) -> None:
        super().__init__()
        self.places = list(places)
        self.response, self.inverse = response(len(self.places)), net(len(self.places))

    def seen(self, features: Tensor | None) -> Tensor | None:
        """Its features ``(B, k)`` of all of them, or None."""
        return features[:, self.places] if features is not None and self.places else None

    def inverse_loss(self, true: Tensor, features: Tensor | None, weight: Tensor | None) -> Tensor:
        """Squared distance of the inverse from the true value at points of the response."""
        parts = []
        for beside in BESIDE:
            at = true + beside
            with torch.no_grad():
                point = self.response.centre(at, features)
            parts.append((self.inverse(point, features) - at).square())
        return weighted_mean(torch.stack(parts, 1), weight)


class Inverting(Regressor):
    """Inversions, one after the other; a family says what features each is given.

    Args:
        spec, given, transform: As of the base class.
        response: Makes each response from the width of its features.
        net: Makes the network of each inverse.
        optim: What moves all of them.
    """

    def __init__(
        self,
        spec: Spec,
        given: Sequence[str] | None,
        transform: MakeTransform,
        response: Callable[[int], Response],
        net: Callable[[int], Monotone],
        optim: Optim,
    ) -> None:
        super().__init__(spec, given, transform)
        known = self.transform.features
        self.steps = nn.ModuleList(
            Inversion([i for name in names for i in known.places(name)], response, net)
            for names in self.plan(known.names)
        )
        self.optim = optim

    @classmethod
    @abstractmethod
    def plan(cls, features: Sequence[str]) -> list[Sequence[str]]:
        """Names of the features that each inversion is given."""

    def objectives(self) -> dict[str, Objective]:
        """The response of each step, then its inverse."""
        found, length = {}, 1 / len(self.steps)
        for k, step in enumerate(self._inversions()):
            begin, end = k * length, 1.0 if k + 1 == len(self.steps) else (k + 1) * length
            middle = begin + LEARNT * length
            for name, part, loss, first, last in (
                ("response", step.response, self.response_loss, begin, middle),
                ("inverse", step.inverse, self.inverse_loss, middle, end),
            ):
                own = list(part.parameters())
                found[f"{name}_{k}"] = Objective(partial(loss, k), own, self.optim, first, last)
        return found

    def response_loss(
        self, k: int, latent: Latent, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """Loss of the response of a step over weighted events."""
        step = self._inversions()[k]
        with torch.no_grad():
            measured = self._through(latent.x[MEASURED], latent.cond, k)
        features, scale = step.seen(latent.cond), self.transform.scale
        loss = step.response.loss(latent.x[TRUE], measured, features, scale, latent.weight)
        return {"loss": loss}

    def inverse_loss(
        self, k: int, latent: Latent, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """Loss of the inverse of a step."""
        step = self._inversions()[k]
        return {"loss": step.inverse_loss(latent.x[TRUE], step.seen(latent.cond), latent.weight)}

    def calibrated(self, measured: Tensor, features: Tensor | None) -> Tensor:
        """See the base class."""
        return self._through(measured, features, len(self.steps))

    def _through(self, measured: Tensor, features: Tensor | None, steps: int) -> Tensor:
        """Values after the first steps."""
        for step in self._inversions()[:steps]:
            measured = step.inverse(measured, step.seen(features))
        return measured

    def _inversions(self) -> list[Inversion]:
        return [step for step in self.steps if isinstance(step, Inversion)]


class NumericalInversion(Inverting):
    """Of the measured value alone."""

    @classmethod
    def plan(cls, features: Sequence[str]) -> list[Sequence[str]]:
        """See the base class."""
        return [()]


class GeneralizedNumericalInversion(Inverting):
    """With all features at once."""

    @classmethod
    def plan(cls, features: Sequence[str]) -> list[Sequence[str]]:
        """See the base class."""
        return [tuple(features)]


class SequentialCalibration(Inverting):
    """Without features, then with one after the other."""

    @classmethod
    def plan(cls, features: Sequence[str]) -> list[Sequence[str]]:
        """See the base class."""
        return [(), *((name,) for name in features)]
