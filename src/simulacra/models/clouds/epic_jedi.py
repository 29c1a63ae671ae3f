"""EPiC-JeDi: diffusion of point clouds with an EPiC network.

Generates: what :mod:`simulacra.models.clouds.epic_fm` generates, with the path and the loss of
    :mod:`simulacra.models.clouds.pc_jedi`.
Conditions: whatever the data set is conditioned on, and any event field listed in ``given``.
Representation: clouds of any number of features, jets and showers alike.
Reference: Buhmann, Ewen, Faroughy, Golling, Kasieczka, Leigh, Quetant, Raine, Sengupta, Shih 2023,
    arXiv:2310.00049.

Note:
    Differences from the paper: those of the two modules named above, but for the assignment of noise points.
"""

from __future__ import annotations

from simulacra.models.clouds.cloud_diffusion import CloudDiffusion


class EPiCJeDi(CloudDiffusion):
    """Noise on the cosine path, by :class:`simulacra.nn.epic.EPiC`."""
