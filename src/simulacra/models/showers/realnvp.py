r"""RealNVP: affine coupling flow of calorimeter showers, the baseline of the flow family.

Generates cell energies of ragged layers or regular grids (and event numbers such as overflow) given the
incident energy and any further condition, :math:`p(u | c)\; p(v | E_1 \dots E_L, c)`. Half of the features
steer scale and shift of the others (:mod:`simulacra.dynamics.affine`); blocks of ActNorm, permutation and
coupling.

Reference: Dinh et al., arXiv:1605.08803.

Note:
    Differs from the reference: vectors with fixed permutations in place of images with checkerboards, ActNorm
    for batch normalisation, log scales bounded by ``limit``, a context at every coupling.
"""

from __future__ import annotations

from simulacra.models.showers.shower_model import ShowerModel


class RealNVP(ShowerModel):
    """Coupling flows with affine maps."""
