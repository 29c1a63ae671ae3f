"""CaloClouds3: CaloClouds II whose showers are told by their layers alone, given energy and direction.

Generates: complete showers. A flow draws for every layer the number of its points and their mean energy; a
    preconditioned diffusion model with a narrower network turns noise into points, each for itself, given
    what is given; the transform then imposes the drawn numbers on them
    (:mod:`simulacra.transforms.cloud_layerwise`). The published generator is the consistency model of
    this one, :mod:`simulacra.models.clouds.caloclouds3_cm`.
Conditions: whatever the data set is conditioned on: incident energy, angles or direction.
Representation: clouds whose points lie in layers: ILD's clouds and the cloud views of calorimeters.
Reference: Buss, Day-Hall, Gaede, Kasieczka, Krüger, Korol, Madlener, McKeown, Mozzanica,
    Valente 2025, arXiv:2511.01460; code FLC-QU-hep/CaloClouds-3, commit 6de0be3.

Note:
    Differences from the paper: those of :mod:`simulacra.models.clouds.caloclouds2` (masks, points drawn
    at random in training, one optimizer, quantiles in the flow). The local frame of the paper's detector,
    which takes positions out of its data, is a matter of the data set.
"""

from __future__ import annotations

from simulacra.models.clouds.caloclouds2 import CaloClouds2


class CaloClouds3(CaloClouds2):
    """Preconditioned diffusion by :class:`simulacra.nn.pointwise.PointWise`."""
