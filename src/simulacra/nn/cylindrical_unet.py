r"""U-Net of the cells of a shower, in a cylinder or a box: convolutions that know the geometry.

Cells stand on the common grid of all layers (:mod:`simulacra.nn.common_grid`); convolutions close along the
angle and see zeros beyond the other ends. Maps of depth and radius, or of both axes of a box, tell where a
cell lies. The grid is a matter of the network alone, so that noise is added to the cells themselves.

References: CaloDiffusion, arXiv:2308.03876, section 3; CaloDREAM, arXiv:2405.09629, whose U-Net has other
    levels.

Note:
    Differs from the references: the time is told by Fourier features in place of a linear layer of one
    number, and maps run from -1 to 1. CaloDREAM's has one block a level where two stand here, norms over the
    batch in place of norms over channels of an event, maps before every convolution, sums with what was kept
    on the way down, and neither shortcuts nor attention.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from simulacra.core import Layout, UserError
from simulacra.core.ranges import Count
from simulacra.nn.common_grid import CommonGrid
from simulacra.nn.coordinates import coordinate_maps
from simulacra.nn.fourier import FourierFeatures
from simulacra.nn.timed_unet import TimedUNet


class CylindricalUNet(nn.Module):
    """See the module's docstring.

    Args:
        layout: Cells with a geometry, and the width of the context.
        widths: Channels of the first convolution and of each level, multiples of eight.
        known: Width of the embedding of the time, and of that of the context.
        frequencies: Fourier frequencies of the time.
        angle: Whether a map tells the place along the periodic axis, too: rolling the cells then no longer
            rolls the output.
        copied: Whether layers of other binnings come to the grid by their values, not by their sums.
        kernels: Cells along depth, rows and columns of the convolutions between levels, from the finest; the
            last goes on.
        strides: Cells that they join along depth, rows and columns, likewise.

    Raises:
        UserError: If it is not known where the numbers lie.
    """

    maps: Tensor

    def __init__(
        self,
        layout: Layout,
        widths: Sequence[Count],
        known: Count,
        frequencies: Count,
        angle: bool,
        copied: bool,
        kernels: Sequence[Sequence[Count]] = ((3, 4, 4),),
        strides: Sequence[Sequence[Count]] = ((2, 2, 2),),
    ) -> None:
        super().__init__()
        if layout.geometry is None:
            raise UserError(
                "convolutions need to know where their numbers lie as cells of a shower: give the layer "
                "energies a density of their own (model.energies)"
            )
        self.grid = CommonGrid(layout.geometry, copied)
        periodic = self.grid.periodic
        axes = [axis for axis in range(3) if angle or axis != periodic]
        maps = coordinate_maps(self.grid.shape, axes)[: len(axes)]
        self.register_buffer("maps", maps, persistent=False)
        fourier = FourierFeatures(frequencies)
        self.time = nn.Sequential(fourier, *_embedding(fourier.width, known))
        self.given = (
            nn.Sequential(
                nn.Linear(layout.context, known // 2),
                nn.GELU(),
                *_embedding(known // 2, known),
            )
            if layout.context
            else None
        )
        width = known if self.given is None else 2 * known
        self.net = TimedUNet(1 + len(axes), width, widths, periodic, kernels, strides)

    def forward(self, x: Tensor, t: Tensor, context: Tensor | None = None) -> Tensor:
        """``(B, V)`` at numbers ``(B,)`` that tell the time, given ``(B, C)``, to ``(B, V)``."""
        known = self.time(t)
        if self.given is not None:
            known = torch.cat([known, self.given(context)], 1)
        grid = self.grid(x)[:, None]
        maps = self.maps.to(grid).expand(x.shape[0], -1, -1, -1, -1)
        return self.grid.back(self.net(torch.cat([grid, maps], 1), known))


def _embedding(inputs: int, outputs: int) -> list[nn.Module]:
    return [nn.Linear(inputs, outputs), nn.GELU(), nn.Linear(outputs, outputs)]
