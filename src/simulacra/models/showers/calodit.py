"""CaloDiT: showers at any energy and angle and in any detector of one mesh, by one diffusion.

Generates: all cell energies of ragged layers or regular grids at once, as logarithms; event numbers such as
    an overflow, where a data set has them, by a small diffusion of their own.
Conditions: the incident energy and any further condition: angles that close on themselves as sine and cosine,
    classes of a detector one by one. A class that no training event has is free for a detector to come.
Representation: grids and layers.
Reference: arXiv:2509.07700; the conditions are those of the inference code in Geant4's example Par04.

Note:
    The paper's network is not public, so that no size is called published: a diffusion transformer
    (arXiv:2212.09748) with a preconditioned denoiser (arXiv:2206.00364) is our reading of it.
    :mod:`simulacra.models.showers.calodit_cm` draws in one call.
"""

from __future__ import annotations

from simulacra.models.showers.shower_model import ShowerModel


class CaloDiT(ShowerModel):
    """A preconditioned diffusion of all cells."""
