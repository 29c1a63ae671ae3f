r"""The exact density of showers of partons of one kind, from the trees of their final states.

Where Cambridge/Aachen gives back the splittings of a shower, its density in :math:`(\ln \Delta, \ln z,
\varphi)` of all splittings, with the share :math:`z` of the softer daughter, is

.. math:: \ln p = \sum_{splittings} \ln \frac{\alpha_s\, z\, [P(z) + P(1 - z)]}{2 \pi^2}
          - \frac{\alpha_s}{\pi} \int_{z_{cut}}^{1 - z_{cut}} P\, dz \sum_{partons} \ln \frac{\theta_{begin}}
          {\theta_{end}} - \ln A,

over splittings and the evolution of all partons until they split or cannot; :math:`A` is the share of showers
that are kept, see :mod:`simulacra.data.showering.toy`.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from simulacra.core import UserError
from simulacra.data.showering.evolution import Evolution
from simulacra.data.showering.kernels import Kernels, Term
from simulacra.transforms.clustering import ANGLE, SHARE, Trees

NODES = 2001
"""Of the integral over shares, even in their logit."""


def only(kernels: Kernels) -> Term:
    """The one term of partons of one kind.

    Raises:
        UserError: If there are several kinds of partons or terms.
    """
    if len(kernels.terms) > 1:
        raise UserError(
            "flavours do not show in final states, so that their showers have no density in closed form: "
            "take kernels of one kind of parton"
        )
    return kernels.terms[0]


def kernel(kernels: Kernels, z: Tensor) -> Tensor:
    """``P(z)`` with its coefficient, where it does not depend on the hardness."""
    return kernels.coefficients[0] * only(kernels).density(z, torch.zeros_like(z))


def integral(kernels: Kernels, cut: float) -> float:
    """``P`` over all shares between the cut and 1 minus the cut, by the trapezoidal rule."""
    edge = math.log((1 - cut) / cut)
    logit = torch.linspace(-edge, edge, NODES, dtype=torch.float64)
    z = logit.sigmoid()
    return float(torch.trapezoid(kernel(kernels, z) * z * (1 - z), logit))


def log_density(kernels: Kernels, evolution: Evolution, trees: Trees) -> Tensor:
    """``ln p`` of showers ``(B,)`` without ``-ln A``; see the module's docstring.

    Args:
        kernels: Of one kind of parton, whose kernel does not depend on the hardness.
        evolution: How the shower ran; both daughters split on.
        trees: Trees of the final states.

    Raises:
        UserError: If it has no density in closed form.
    """
    if not evolution.both:
        raise UserError("the density is that of showers whose daughters both split on")
    b, t = trees.mother.shape
    rows = torch.arange(b)
    per_log = evolution.coupling / math.pi
    total = per_log * integral(kernels, evolution.cut)
    begin = torch.full((b, t + 1), evolution.begin, dtype=torch.float64)
    lived, split = torch.zeros(b, dtype=torch.float64), torch.zeros(b, dtype=torch.float64)
    for k in range(t):
        real, mother = trees.mask[:, k], trees.mother[:, k]
        angle, z = (trees.splitting[:, k, column] for column in (ANGLE, SHARE))
        angle, z = torch.where(real, angle, 1.0), torch.where(real, z, 0.5)
        dense = per_log * z * (kernel(kernels, z) + kernel(kernels, 1 - z)) / (2 * math.pi)
        split = split + torch.where(real, dense.log(), 0.0)
        lived = lived + torch.where(real, (begin[rows, mother] / angle).log(), 0.0)
        started = (angle * evolution.ordering)[:, None]
        for slot in (mother, torch.full_like(mother, k + 1)):
            begin[rows, slot] = torch.where(real, started[:, 0], begin[rows, slot])
    there = torch.cat([torch.ones(b, 1, dtype=torch.bool), trees.mask], 1)
    rest = (begin / evolution.narrowest).clamp_min(1).log()
    return split - total * (lived + (rest * there).sum(1))
