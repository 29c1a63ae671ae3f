"""EPiC-FM: flow matching of point clouds with an EPiC network, after a flow for an event's numbers.

Generates: complete clouds. A spline flow draws the number of points, the event fields that are not
    given (of a jet: transverse momentum, pseudorapidity, mass) and the sum, centres and widths of
    the energy; flow matching then turns noise into that many points, conditioned on those numbers
    and on everything given.
Conditions: whatever the data set is conditioned on (jet class, incident energy), and any event
    field listed in ``given``, for example ``[pt, mass]``.
Representation: clouds of any number of features, jets and showers alike.
Reference: Buhmann, Ewen, Faroughy, Golling, Kasieczka, Leigh, Quetant, Raine, Sengupta, Shih 2023,
    arXiv:2310.00049.

Note:
    Differences from the paper: time runs from noise (0) to data (1); energy-like features are
    generated in a logarithm that turns linear; time features are cosines and sines of the first
    frequencies times pi; noise is masked before the network also in training; the jet-level flow
    and the conditioning on all its numbers are ours (the paper draws the number of particles from a
    kernel density estimate and takes transverse momentum and mass from truth); times are stratified
    within a batch; with ``ranked`` noise points are assigned to particles by rank; with
    ``calibrate`` the points are scaled and moved to the generated moments, as showers are in
    CaloClouds (arXiv:2309.05704).
"""

from __future__ import annotations

from simulacra.models.clouds.cloud_diffusion import CloudDiffusion


class EPiCFM(CloudDiffusion):
    """Velocity on the straight path, by :class:`simulacra.nn.epic.EPiC`."""
