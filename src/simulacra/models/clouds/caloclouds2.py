"""CaloClouds II: diffusion of independent points, between a flow of a shower's numbers and a calibration.

Generates: complete showers. A flow draws the number of points, the visible energy, the centres across
    the axis and for every layer its share of the points and the mean energy of its points; a
    preconditioned diffusion model turns noise into points, each for itself, given the incident energy
    and the number of points; the transform then imposes the drawn numbers on them
    (:mod:`simulacra.transforms.cloud_layers`).
Conditions: whatever the data set is conditioned on (incident energy).
Representation: clouds whose points lie in layers: ILD's clouds and the cloud views of calorimeters.
Reference: Buhmann, Gaede, Kasieczka, Korol, Korcari, Krüger, McKeown 2023, arXiv:2309.05704; code
    FLC-QU-hep/CaloClouds-2, commit 774d84e.

Note:
    Differences from the paper: padded points do not enter the loss; a training step sees some points
    of a shower, drawn at random, since points do not depend on each other; features are standardised
    and energies generated in a logarithm that turns linear, so that none is negative; at small size
    every feature is a standard normal by quantiles instead, so that the core of a shower, narrow in
    space, is as wide as its halo and one step can make it; one optimizer for both stages;
    quantile-normalised numbers and spline couplings in the flow (the paper's blocks hold six affine
    couplings and an element-wise spline each); the moving average has the decay of the callback, not
    an inverse schedule. What the calibration does otherwise is told in its module.
"""

from __future__ import annotations

from simulacra.models.clouds.cloud_diffusion import CloudDiffusion
from simulacra.models.clouds.layered_cloud import LayeredCloud


class CaloClouds2(LayeredCloud, CloudDiffusion):
    """Preconditioned diffusion by :class:`simulacra.nn.pointwise.PointWise`."""

    together = 4
