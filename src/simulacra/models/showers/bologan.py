"""BoloGAN: the fully connected GANs of showers with which AtlFast3 simulates calorimeters (FastCaloGAN).

Generates: cells of all layers as one vector in one pass. Numbers of an event that are not given are drawn
    afterwards from a density.
Conditions: the incident energy, and any further condition; they stand beside the noise and beside the shower
    that the critic sees.
Representation: layers of any rasters; cells in units of the incident energy (``normE`` of the reference)
    or of one energy for all (``midE``).
Reference: AtlFast3, arXiv:2109.02551; code FedericoCorchia/BoloGAN, commit 0d02c5a. There is one
    generator for each particle, slice of pseudorapidity and, of late, range of energies: each is trained from
    a seed (``init=``) on a slice of the data (``data.energies=``), begins with one energy or with all
    (``data.curriculum=``), is chosen by ``val/chi2``, and all of them are used as one by a file that says
    which serves what (:mod:`simulacra.training.generator_set`).

Note:
    Differs from the reference: the energy label is its logarithm on [-1, 1], not on [0, 1]; pseudorapidity,
    which is zero there, is not given; generated showers are asked for the energies of the true ones.
    Widths of production are not public. Those of the sizes ``published`` are what gives the numbers of
    parameters that CaloChallenge lists for BoloGAN (arXiv:2410.21611): on photons one network each for
    energies up to 4 GeV and above, 368,558 parameters together with the second label, on pions a single
    one of 848,733; which of the photons' networks has which widths is our reading.
"""

from __future__ import annotations

from torch import Tensor

from simulacra.core import Layout
from simulacra.models.showers.shower_gan import ShowerGAN
from simulacra.nn.verdicts import Verdict


class BoloGAN(ShowerGAN):
    """See the module's docstring; its arguments are those of :class:`ShowerGAN`."""

    @property
    def canvas(self) -> Layout:
        """How the numbers of a shower lie."""
        return self.transform.vector

    def verdict(self, events: Tensor, cond: Tensor | None) -> Verdict:
        """See :meth:`TwoPlayer.verdict`; the gradient penalty is that of showers alone."""
        assert cond is not None
        return self.critic(events, cond)
