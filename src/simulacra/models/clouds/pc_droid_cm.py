"""PC-Droid's consistency model: point clouds in one pass.

Generates: what its teacher, a :mod:`simulacra.models.clouds.pc_droid`, generates, with one evaluation of a
    network of the same shape.
Conditions and representation: the teacher's.
Reference: Leigh et al. 2023, arXiv:2307.06836, section 5; Song et al. 2023, arXiv:2303.01469.

Note:
    Differences from the paper: those of the teacher; the distance is squared and every noise counts the same.
"""

from __future__ import annotations

from simulacra.models.clouds.cloud_student import CloudStudent
from simulacra.models.clouds.pc_droid import PCDroid


class PCDroidCM(CloudStudent):
    """See :class:`~simulacra.models.clouds.cloud_student.CloudStudent`."""

    learns_from = PCDroid
