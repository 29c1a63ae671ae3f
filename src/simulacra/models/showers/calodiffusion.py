r"""CaloDiffusion: denoising diffusion of showers by a U-Net that knows the geometry of the cells.

Generates cell energies of ragged layers or regular grids (and event numbers such as overflow) given the
incident energy and any further condition. Convolutions close along the angle, maps of depth and radius tell
where a cell lies, and layers of different binnings are brought to one grid within the network
(:mod:`simulacra.nn.cylindrical_unet`). The paper describes all cells at once, as logits of their energies
over the incident one; the code's second version first the layer energies, by a residual network, then the
shares of the cells,

.. math:: p(x | c) = p(u | c)\; p(v | E_1 \dots E_L, c).

Which it is the transform says (``model=calodiffusion`` and ``model=calodiffusion2``), and what the networks
predict, noise, data or a mixture of both, the process.

Reference: Amram, Pedro, arXiv:2308.03876; code OzAmram/CaloDiffusion.

Note:
    Differs from the reference: mean and width of the transform are those of the training events at hand;
    energies of cells end at 1.2 times the largest seen total, not at a number for each data set; each event
    has a step of the chain of its own, and none that of clean data; the rate falls with a cosine in place of
    the plateaus of the training loss. Features of time and the maps of the coordinates: see the network.
"""

from __future__ import annotations

from simulacra.models.showers.shower_model import ShowerModel


class CaloDiffusion(ShowerModel):
    """Diffusions of cells and, where the transform has any, of layer energies."""
