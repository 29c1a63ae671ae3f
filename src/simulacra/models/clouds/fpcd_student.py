"""FPCD distilled: point clouds in half the steps of a teacher.

Generates: what its teacher, a :mod:`simulacra.models.clouds.fpcd` or another student, generates, in
    ``steps`` steps of DDIM where the teacher takes twice as many. A chain of students, each the teacher of
    the next, ends with one step.
Conditions and representation: the teacher's.
Reference: Mikuni, Nachman, Pettee 2023, arXiv:2304.01266; Salimans and Ho 2022, arXiv:2202.00512.

Note:
    Differences from the paper: those of the teacher; each halving is a run of its own.
"""

from __future__ import annotations

from simulacra.models.clouds.cloud_student import CloudStudent
from simulacra.models.clouds.fpcd import FPCD


class FPCDStudent(CloudStudent, FPCD):
    """See :class:`~simulacra.models.clouds.cloud_student.CloudStudent`."""

    learns_from = FPCD
    chains = True
