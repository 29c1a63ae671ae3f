"""CaloShowerGAN: BoloGAN's networks on showers whose cells and layers are scaled by what they are parts of.

Generates: shares of cells in their layers, of layers in the shower, and the response, in one pass.
Conditions: as of :class:`~simulacra.models.showers.bologan.BoloGAN`.
Representation: layers of any rasters, see :mod:`~simulacra.transforms.parted`. Shares come from a softmax,
    so that no cell of a layer with energy is empty before what lies below the floor is cut.
Reference: Faucci Giannelli and Zhang, arXiv:2309.06515. With 533 cells in 7 layers the generator has 880,541
    parameters, as CaloChallenge lists for it on pions (arXiv:2410.21611), statistics of the normalisation
    over batches included, and the networks together have 1,715,742.

Note:
    A reading of the paper and of public code by its authors (chnzhangrui/funcXtraining and copies of it): the
    activations and widths are those that give the listed numbers. The response comes from a softplus, not
    from a ReLU, which may be zero for all showers at the start. Weights of all networks start as in BoloGAN.
    On photons the published showers come from two or three networks for ranges of energies, which a file of
    checkpoints joins (:mod:`simulacra.training.generator_set`).
"""

from __future__ import annotations

from simulacra.models.showers.bologan import BoloGAN
from simulacra.transforms.parted import PartedShowers


class CaloShowerGAN(BoloGAN):
    """See the module's docstring; its arguments are those of
    :class:`~simulacra.models.showers.shower_gan.ShowerGAN`.
    """

    transform: PartedShowers
