"""CaloClouds3 as published: the consistency model of a trained :mod:`simulacra.models.clouds.caloclouds3`.

Generates: what its teacher generates, with one evaluation of the network of the points; numbers of the
    shower are the teacher's, the calibration of the number of points is its own.
Conditions and representation: the teacher's.
Reference: Buss et al. 2025, arXiv:2511.01460; consistency distillation: arXiv:2309.05704, section 3.3, and
    arXiv:2303.01469.

Note:
    Differences from the paper: those of the teacher; batches are the teacher's.
"""

from __future__ import annotations

from simulacra.models.clouds.caloclouds3 import CaloClouds3
from simulacra.models.clouds.cloud_student import CloudStudent
from simulacra.models.clouds.layered_cloud import LayeredCloud


class CaloClouds3CM(LayeredCloud, CloudStudent):
    """See :class:`~simulacra.models.clouds.cloud_student.CloudStudent`."""

    learns_from = CaloClouds3
    together = 4
