"""EPiC-FM beyond kinematics: jets of identified particles with charges and impact parameters.

Generates: complete jets of up to 128 particles with momenta, type, charge and impact parameters with their
    errors; first, as :mod:`simulacra.models.clouds.epic_fm`, the numbers of the jet.
Conditions: the jet's class (ten classes in one model), and any event field listed in ``given``.
Representation: clouds of identified particles (JetClass).
Reference: Birk, Buhmann, Ewen, Kasieczka, Shih 2023, arXiv:2312.00123.

Note:
    Differences from the paper: those of :mod:`simulacra.models.clouds.epic_fm`; multiplicity, transverse
    momentum and pseudorapidity come from a conditional spline flow in place of a kernel density estimate
    per class; impact parameters are generated as their arsinh; neutral particles have exactly no charge and
    no impact parameters.
"""

from __future__ import annotations

from simulacra.core import Spec
from simulacra.models.clouds.epic_fm import EPiCFM
from simulacra.transforms.particles import is_identified


class EPiCFMJetClass(EPiCFM):
    """:class:`~simulacra.models.clouds.epic_fm.EPiCFM` for identified particles."""

    @classmethod
    def accepts(cls, spec: Spec) -> str | None:
        """Clouds of particles with types, charge and impact parameters."""
        reason = super().accepts(spec)
        if reason is None and not is_identified(spec.features):
            return "it generates identified particles, and these points have no types and charges"
        return reason
