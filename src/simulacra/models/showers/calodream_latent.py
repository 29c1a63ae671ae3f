"""CaloDREAM on the numbers of an auto-encoder: layer energies, then cells that are fewer numbers.

Generates what :mod:`simulacra.models.showers.calodream` generates. An auto-encoder makes of the cells a
    coarser volume of some channels (:mod:`simulacra.dynamics.latent_density`), which the second flow draws in
    place of the cells; it is the paper's way to the 40,500 cells of data set 3.
Conditions and representation: those of CaloDREAM. Layers of different binnings are brought to one grid.
Reference: CaloDREAM, arXiv:2405.09629, section 3.3; code heidelberg-hepml/calo_dreamer.

Note:
    Both trainings are phases of one run: in its first part encoder and decoder learn, in the rest the two
    flows. Differences from the reference, beside those of CaloDREAM and of the auto-encoder
    (:mod:`simulacra.nn.cell_coder`): the encoder sees logits of the shares, and means and widths of its
    channels are those of its last batches.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from simulacra.core import Latent, Spec
from simulacra.core.ranges import Share
from simulacra.dynamics.density import MakeDensity
from simulacra.dynamics.latent_density import LatentDensity, check_coded
from simulacra.models.showers.shower_model import MakeTransform, ShowerModel
from simulacra.training.generative import Objective
from simulacra.training.optim import Optim


class CaloDREAMLatent(ShowerModel):
    """See the module's docstring.

    Args:
        spec: Layers or grid with a geometry and an incident energy.
        given: Fields the generator is given (None: all conditions).
        transform: Makes the transform.
        energies: Makes the density of the layer energies and event numbers.
        cells: Makes the density of the cells, a :class:`~simulacra.dynamics.latent_density.LatentDensity`.
        optim: What moves the flows.
        coder_optim: What moves encoder and decoder.
        coder_share: Part of the run in which they learn, between 0 and 1.

    Raises:
        UserError: If the density of the cells has no encoder.
    """

    cells: LatentDensity

    def __init__(
        self,
        spec: Spec,
        given: Sequence[str] | None,
        transform: MakeTransform,
        energies: MakeDensity,
        cells: MakeDensity,
        optim: Optim,
        coder_optim: Optim,
        coder_share: Share,
    ) -> None:
        super().__init__(
            spec, given, transform=transform, energies=energies, cells=cells, optim=optim
        )
        check_coded(self.cells)
        self.coder_optim, self.coder_share = coder_optim, coder_share

    def objectives(self) -> dict[str, Objective]:
        """Two, one after the other: the auto-encoder, then the flows."""
        coder = list(self.cells.coder.parameters())
        own = {id(parameter) for parameter in coder}
        flows = [parameter for parameter in self.parameters() if id(parameter) not in own]
        return {
            "coder": Objective(self._reconstruction, coder, self.coder_optim, end=self.coder_share),
            "flow": Objective(self._loss, flows, self.optim, begin=self.coder_share),
        }

    def _reconstruction(
        self, latent: Latent, generator: torch.Generator | None
    ) -> dict[str, Tensor]:
        rows = self.described(latent)["cells"]
        return self.cells.reconstruction(*rows, generator)
