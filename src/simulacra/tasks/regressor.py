r"""Regression: the true value of a measured quantity, event by event.

A regressor answers with the same events, in which its prediction takes the place of the measured column
(:mod:`simulacra.transforms.measured`). What is judged are such events, against those in which the true value
stands there.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from simulacra.core import Batch, Latent, Spec
from simulacra.training.module import Module
from simulacra.transforms.measured import MEASURED, TRUE, MeasuredColumns, positive

MakeTransform = Callable[[Spec], MeasuredColumns]


class Regressor(Module):
    """See the module's docstring; a family implements ``objectives`` and ``calibrated``.

    Args:
        spec: A table whose conditions are the truth.
        given: Fields of the truth (None: all conditions); no network sees them.
        transform: Makes the transform.
    """

    transform: MeasuredColumns

    def __init__(self, spec: Spec, given: Sequence[str] | None, transform: MakeTransform) -> None:
        super().__init__(spec, given)
        self.transform = transform(spec)

    @classmethod
    def accepts(cls, spec: Spec) -> str | None:
        """Tables with a column and a condition that are above 0 by their bounds."""
        if spec.kind != "table":
            return (
                f"it calibrates a column of a table, and {spec.name} has events of kind {spec.kind}"
            )
        if not positive(spec.features) or not positive(spec.conditions):
            return (
                "it calibrates a column by a condition that is its true value, both with a lower bound above "
                f"0, and {spec.name} lacks one of them"
            )
        return None

    @abstractmethod
    def calibrated(self, measured: Tensor, features: Tensor | None) -> Tensor:
        """The prediction on the scale of the transform, ``(B,)``, from measured values ``(B,)`` and scaled
        features ``(B, K)``, or None without features.
        """

    @torch.no_grad()
    def applied(self, batch: Batch, generator: torch.Generator | None = None) -> Batch:
        """The same events and weights, with the prediction in the place of the measured value; nothing is
        drawn, and the truth is not looked at.
        """
        with self.evaluating():
            latent: Latent = self.transform(batch.to(self.device))
            value = self.calibrated(latent.x[MEASURED], latent.cond)
            x = self.transform.replaced(batch, value, latent)
        return replace(batch, x=x.cpu())

    @torch.no_grad()
    def truth(self, batch: Batch) -> Batch:
        """The events with the true value in the place of the measured one."""
        latent: Latent = self.transform(batch.to(self.device))
        x = self.transform.replaced(batch, latent.x[TRUE], latent)
        return replace(batch, x=x.to(batch.x.device))

    def judged(
        self,
        batch: Batch,
        *,
        batch_size: int | None = None,
        generator: torch.Generator | None = None,
    ) -> Batch:
        """The events as :meth:`applied` makes them.

        Raises:
            UserError: If there are none, or ``batch_size`` is not positive.
        """
        return Batch.cat([self.applied(chunk) for chunk in self.chunks(batch, batch_size)])
