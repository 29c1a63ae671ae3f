r"""ABCDnn: a source sample is mapped onto data in control regions, and the map is applied in another one.

Moves the columns of tables, given the regions. Events fall into regions by conditions that are classes or
whole numbers, the control variables :math:`c`. A flow :math:`T(y; c)`, autoregressive and monotone in each
column, is trained on the regions that hold events of both samples,

.. math:: \min_T \sum_c n_c\, D\bigl(T(y; c), x\bigr)_c,

with events :math:`x` of ``first`` (the data), :math:`y` of ``second`` (the source), a distance :math:`D` of
weighted samples (:mod:`simulacra.dynamics.two_samples`) and the share :math:`n_c` of the data. What a region
without data is given follows from the others: where the first step of the flow depends on :math:`c` through
one linear layer, effects of the control variables on location and (in logarithm) width add up, which is the
assumption of the ABCD method for whole distributions.

Reference: Choi, Lim, Oh 2020, arXiv:2008.03636.

Note:
    Differs from the reference: steps of the flow are splines in place of networks with positive weights; the
    distance is that of kernels unless a Sinkhorn divergence is chosen; only location and width depend on
    the regions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Self

import torch
from torch import Tensor

from simulacra.core import Field, Latent, Layout, Spec, UserError
from simulacra.dynamics.flows import Flow
from simulacra.dynamics.two_samples import SampleDistance
from simulacra.tasks.column_transport import ColumnTransport, MakeTransform, sides
from simulacra.training.objective import Objective
from simulacra.training.optim import Optim
from simulacra.transforms.base import Batches
from simulacra.transforms.maps.whitening import whitening
from simulacra.transforms.moved_columns import MOVED


class ABCDnn(ColumnTransport):
    """See the module's docstring.

    Args:
        spec: A table, of two samples.
        given: Control variables (None: all conditions).
        transform: Makes the transform from the spec of one sample and the given fields.
        flow: Makes the flow, whose way towards noise is the map.
        distance: ``D``.
        optim: What moves the flow.

    Raises:
        UserError: If a control variable is neither a class nor a whole number.
    """

    middle: Tensor
    root: Tensor

    def __init__(
        self,
        spec: Spec,
        given: Sequence[str] | None,
        transform: MakeTransform,
        flow: Callable[[Layout], Flow],
        distance: SampleDistance,
        optim: Optim,
    ) -> None:
        super().__init__(spec, given, transform, optim)
        strange = [field.name for field in self.given_fields if not counts(field)]
        if strange:
            raise UserError(
                f"control variables are classes or whole numbers, and {', '.join(strange)} is not"
            )
        context = self.transform.context
        self.flow = flow(Layout(self.transform.width, context))
        self.distance = distance
        self.register_buffer("middle", torch.zeros(context))
        self.register_buffer("root", torch.eye(context))

    @classmethod
    def accepts(cls, spec: Spec) -> str | None:
        """Tables whose conditions are classes or whole numbers."""
        if not spec.conditions or not all(map(counts, spec.conditions)):
            return (
                "its regions are told apart by conditions that are classes or whole numbers, and those of "
                f"{spec.name} are not, or there are none"
            )
        return super().accepts(spec)

    @torch.no_grad()
    def fit_transform(self, batches: Batches) -> Self:
        """As of the base class; then mean and covariance of what the flow is given, which it sees as
        independent numbers, so that it learns all effects alike.
        """
        super().fit_transform(batches)
        parts = []
        for batch in batches:
            latent = self.transform(batch.to(self.device))
            assert latent.cond is not None
            parts.append((latent.cond.double(), batch.weight_or_one().to(self.device)))
        context, weight = (torch.cat(part) for part in zip(*parts, strict=True))
        for buffer, value in zip(
            (self.middle, self.root), whitening(context, weight), strict=False
        ):
            buffer.copy_(value)
        return self

    def objectives(self) -> dict[str, Objective]:
        """One."""
        return {"map": Objective(self.loss, list(self.flow.parameters()), self.optim)}

    def loss(self, latent: Latent, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """Distance of the mapped source from the data, the mean over regions with weights of the data."""
        first, second = sides(latent)
        y = latent.x[MOVED]
        moved = self.image(y, latent.cond)
        total, share = 0.0 * moved.sum(), first.new_zeros(())
        for rows in regions(latent.cond):
            true, made = rows & (first > 0), rows & (second > 0)
            if bool(true.any()) and bool(made.any()):
                found = self.distance(moved[made], y[true], second[made], first[true])
                total, share = total + first[true].sum() * found, share + first[true].sum()
        return {"loss": total / share.clamp_min(torch.finfo(y.dtype).tiny)}

    def image(self, y: Tensor, context: Tensor | None) -> Tensor:
        """See the base class."""
        assert context is not None
        return self.flow(y, (context - self.middle) @ self.root)[0]


def counts(field: Field) -> bool:
    """Whether a field is a class or a whole number."""
    return field.classes is not None or field.integer


def regions(context: Tensor | None) -> list[Tensor]:
    """Masks ``(B,)`` of events of like context ``(B, C)``."""
    if context is None:
        return []
    found, place = context.unique(dim=0, return_inverse=True)
    return [place == k for k in range(len(found))]
