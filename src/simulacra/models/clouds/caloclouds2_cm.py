"""CaloClouds II (CM): the consistency model of CaloClouds II, one pass per shower.

Generates: what its teacher, a :mod:`simulacra.models.clouds.caloclouds2`, generates, with one evaluation of
    the network of the points; numbers of the shower are the teacher's, the calibration of the number of
    points is its own.
Conditions and representation: the teacher's.
Reference: Buhmann, Gaede, Kasieczka, Korol, Korcari, Krüger, McKeown 2023, arXiv:2309.05704, section 3.3;
    Song et al. 2023, arXiv:2303.01469.

Note:
    Differences from the paper: those of the teacher; batches are the teacher's.
"""

from __future__ import annotations

from simulacra.models.clouds.caloclouds2 import CaloClouds2
from simulacra.models.clouds.cloud_student import CloudStudent
from simulacra.models.clouds.layered_cloud import LayeredCloud


class CaloClouds2CM(LayeredCloud, CloudStudent):
    """See :class:`~simulacra.models.clouds.cloud_student.CloudStudent`."""

    learns_from = CaloClouds2
    together = 4
