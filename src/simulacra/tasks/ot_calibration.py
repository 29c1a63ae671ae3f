r"""Optimal-transport calibration: events are moved as little as possible.

Moves the columns of tables, given the conditions and the columns that stay. Among all maps :math:`T` of the
second sample onto the first the one that minimises :math:`\langle |T(y) - y|^2 \rangle` is the gradient of a
convex function. It is found with two input-convex networks :math:`f` and :math:`g`
(:mod:`simulacra.nn.convex`) as the saddle point

.. math:: \min_f \max_g \; \langle f(x) \rangle_1 + \langle y \cdot \nabla g(y) - f(\nabla g(y)) \rangle_2,

in which :math:`g` becomes the convex conjugate of :math:`f`, and :math:`T = \nabla g`. Each mean is one over
the weighted events of one sample. Distances are those of :mod:`simulacra.transforms.moved_columns`.

References: Pollard and Windischhofer, arXiv:2107.08648, for the calibration of simulations; Makkuva,
Taghvaei, Oh, Lee, arXiv:1908.10962, for the saddle point.

Note:
    Differs from the references: weights of both networks are kept positive by their parametrisation, in place
    of a projection of :math:`f` and a penalty on :math:`g`, and both have a quadratic term. Conditions and
    columns that stay must be distributed alike in both samples: weigh one of them first where they are not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from simulacra.core import Latent, Spec, weighted_mean
from simulacra.core.ranges import Count
from simulacra.nn.convex import InputConvex
from simulacra.tasks.column_transport import ColumnTransport, MakeTransform, sides
from simulacra.training.objective import Objective, frozen
from simulacra.training.optim import Optim
from simulacra.transforms.moved_columns import MOVED


class OTCalibration(ColumnTransport):
    """See the module's docstring.

    Args:
        spec: A table, of two samples.
        given: Fields that steer the map (None: all conditions).
        transform: Makes the transform from the spec of one sample and the given fields.
        potential: Makes each network from the numbers of columns that move and of the context.
        steps: Steps of ``g`` for one of ``f``.
        optim: How both are trained.
    """

    adversarial = True

    def __init__(
        self,
        spec: Spec,
        given: Sequence[str] | None,
        transform: MakeTransform,
        potential: Callable[[int, int], InputConvex],
        steps: Count,
        optim: Optim,
    ) -> None:
        super().__init__(spec, given, transform, optim)
        widths = self.transform.width, self.transform.context
        self.potential, self.net = potential(*widths), potential(*widths)
        self.steps = steps

    def objectives(self) -> dict[str, Objective]:
        """The map, then the potential that it answers to."""
        net, potential = list(self.net.parameters()), list(self.potential.parameters())
        return {
            "map": Objective(self.map_loss, net, self.optim, steps=self.steps),
            "potential": Objective(self.potential_loss, potential, self.optim),
        }

    def used_parameters(self) -> list[nn.Parameter]:
        """Those of the map."""
        return list(self.net.parameters())

    def map_loss(
        self, latent: Latent, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """``f(T(y)) - y T(y)`` of the second sample, and the mean square of the way that it is moved."""
        _, second = sides(latent)
        y = latent.x[MOVED]
        moved = self.net.gradient(y, latent.cond)
        with frozen(self.potential):
            value = self.potential(moved, latent.cond)
        way = (moved - y).detach().square().sum(1)
        return {
            "loss": weighted_mean(value - (y * moved).sum(1), second),
            "way": weighted_mean(way, second),
        }

    def potential_loss(
        self, latent: Latent, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """``f`` of the first sample minus ``f`` of the moved second one."""
        first, second = sides(latent)
        with torch.no_grad():
            moved = self.net.gradient(latent.x[MOVED], latent.cond)
        at = torch.cat([latent.x[MOVED], moved])
        cond = None if latent.cond is None else torch.cat([latent.cond, latent.cond])
        true, made = self.potential(at, cond).chunk(2)
        return {"loss": weighted_mean(true, first) - weighted_mean(made, second)}

    def image(self, y: Tensor, context: Tensor | None) -> Tensor:
        """See the base class."""
        return self.net.gradient(y, context)
