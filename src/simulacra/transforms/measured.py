r"""A quantity that is measured, its true value and what else is seen of an event.

The measured and the true value are taken in logarithm on one scale, that of the true ones:

.. math:: z(p) = \frac{\ln p - \overline{\ln p_\mathrm{true}}}{s}, \qquad
          \frac{p}{p_\mathrm{true}} = e^{s\,(z(p) - z(p_\mathrm{true}))},

so that a calibration that changes nothing is the identity. Features are scaled like conditions
(:mod:`simulacra.transforms.condition`).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from simulacra.core import Batch, Conditions, Field, Latent, Spec, UserError
from simulacra.transforms.base import Batches, Transform
from simulacra.transforms.condition import ConditionScaling
from simulacra.transforms.maps.elementwise import Moments, Standardise

MEASURED, TRUE, REST = "measured", "true", "rest"


def positive(fields: Sequence[Field]) -> list[str]:
    """Names of the quantities that are above 0 by their bounds."""
    return [field.name for field in fields if field.low is not None and field.low > 0]


class MeasuredColumns(Transform):
    """See the module's docstring. Latent stages are ``measured`` and ``true``, ``(B,)``, and ``rest``, the
    other columns in physical units ``(B, F - 1)``; the context are the features.

    Args:
        spec: A table.
        measured: Name of the column that is calibrated; None: the first one above 0 by its bounds.
        truth: Name of the condition that is its true value; None: the first one above 0.
        features: Names of the columns on which the response may depend; None: all others.

    Raises:
        UserError: If a name is not known, or a quantity is not above 0 by its bounds.
    """

    def __init__(
        self,
        spec: Spec,
        measured: str | None = None,
        truth: str | None = None,
        features: Sequence[str] | None = None,
    ) -> None:
        super().__init__()
        self.measured = _chosen(spec, "measured", measured, spec.features)
        self.truth = _chosen(spec, "truth", truth, spec.conditions)
        names = [field.name for field in spec.features]
        others = [name for name in names if name != self.measured]
        chosen = others if features is None else list(features)
        strange = [name for name in chosen if name not in others]
        if strange:
            raise UserError(
                f"features of a calibration are some of {', '.join(others) or 'no columns'}, got "
                f"{', '.join(strange)}"
            )
        self.place = names.index(self.measured)
        self.columns = [names.index(name) for name in chosen]
        self.rest = [i for i in range(len(names)) if i != self.place]
        field = spec.features[self.place]
        self.low, self.high = field.low, field.high
        self.features = ConditionScaling([spec.features[i] for i in self.columns])
        self.scaling = Standardise(1)

    @property
    def scale(self) -> Tensor:
        """``s``, a scalar."""
        return self.scaling.std[0]

    def fit_statistics(self, batches: Batches) -> None:
        """Mean and standard deviation of the logarithm of true values, and the scaling of the features."""
        moments = Moments()
        for batch in batches:
            moments.add(_logs(batch.cond[self.truth].float()))
        self.scaling.set(moments)
        self.features.fit([Batch(batch.x, self._seen(batch)) for batch in batches])

    def forward(self, batch: Batch, generator: torch.Generator | None = None) -> Latent:
        """See :meth:`~simulacra.transforms.base.Transform.forward`; nothing is drawn."""
        x = {
            MEASURED: self.scaling(_logs(batch.x[:, [self.place]]))[:, 0],
            TRUE: self.scaling(_logs(batch.cond[self.truth].float()))[:, 0],
            REST: batch.x[:, self.rest],
        }
        return Latent(x, self.features(Conditions(len(batch), self._seen(batch))))

    def inverse(
        self, latent: Latent, cond: Conditions, generator: torch.Generator | None = None
    ) -> Batch:
        """See :meth:`~simulacra.transforms.base.Transform.inverse`; values outside of the bounds of the
        measured column are at the bound.
        """
        value = self.scaling.inverse(latent.x[MEASURED][:, None]).clamp_max(80.0).exp()
        x = value.new_zeros(len(value), 1 + len(self.rest))
        x[:, [self.place]] = value.clamp(self.low, self.high)
        x[:, self.rest] = latent.x[REST]
        return Batch(x, dict(cond.values))

    def replaced(self, batch: Batch, stage: Tensor, latent: Latent) -> Tensor:
        """Columns ``(B, F)`` of events in which ``stage`` ``(B,)`` takes the place of the measured value."""
        swapped = Latent({**latent.x, MEASURED: stage})
        return self.inverse(swapped, Conditions(len(batch))).x

    def _seen(self, batch: Batch) -> dict[str, Tensor]:
        fields = zip(self.features.fields, self.columns, strict=True)
        return {field.name: batch.x[:, [i]] for field, i in fields}


def _logs(values: Tensor) -> Tensor:
    return values.clamp_min(torch.finfo(torch.float32).tiny).log()


def _chosen(spec: Spec, key: str, name: str | None, fields: Sequence[Field]) -> str:
    known = positive(fields)
    if name is None and known:
        return known[0]
    if name not in known:
        raise UserError(
            f"what is calibrated has a lower bound above 0: say in model.transform.{key} which of "
            f"{', '.join(known) or 'no columns'} of {spec.name} it is, got {name}"
        )
    return name
