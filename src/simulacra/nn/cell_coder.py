"""Encoder and decoder of the cells of a shower: a volume becomes a coarser one of several channels, and back.

Cells stand on the common grid of all layers (:mod:`simulacra.nn.common_grid`). Each level of the encoder is a
block of two convolutions and a strided one that joins cells, and a linear map of the last channels gives the
coarse volume; the decoder splits cells again, with a block on each level. Blocks on the finer side of their
joint, as published, see every cell by itself; on the coarser one they take a fraction of the time. Conditions
are added in every block (:mod:`simulacra.nn.timed_unet`). Convolutions close along the angle, any number of
cells comes back as it was, and maps of the other axes tell where a cell lies.

As numbers in a line the coarse volume has depth, rows and columns in this order, and the channels of a cell
next to each other as if they were columns, so that patches of whole cells can be cut from it.

Reference: CaloDREAM, arXiv:2405.09629, section 3.3; code heidelberg-hepml/calo_dreamer.

Note:
    Differs from the reference: norms over channels of an event in place of norms over the batch, shortcuts,
    another activation, maps at the entrance of encoder and decoder alone. The authors' convolutions close on
    nothing and drop what sticks out: 45 x 50 x 18 cells become 15 x 24 x 16 there, 15 x 25 x 18 here.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from simulacra.core import Layout, UserError, regular_grid
from simulacra.core.ranges import Count
from simulacra.nn.coder import Coder
from simulacra.nn.common_grid import CommonGrid
from simulacra.nn.coordinates import coordinate_maps
from simulacra.nn.mlp import MLP
from simulacra.nn.padded_conv import PaddedConv, PaddedConvUp
from simulacra.nn.timed_unet import TimedBlock


class CellCoder(Coder):
    """See the module's docstring.

    Args:
        layout: Cells with a geometry, and the width of the context.
        numbers: What the encoder gives for each number of the coarse volume.
        outputs: What the decoder gives: one number for each cell.
        channels: Channels of the coarse volume, ``C``.
        widths: Channels of each level, multiples of eight.
        kernels: Cells along depth, rows and columns of the convolutions after each level.
        strides: Cells that they join along depth, rows and columns.
        fine: Whether blocks stand on the finer side of each joint.
        known: Width of the embedding of the context.

    Attributes:
        layout: The coarse volume as numbers in a line, given the same context.

    Raises:
        UserError: If it is not known where the numbers lie, levels do not have one kernel and stride each, or
            more than a number of each cell is asked for.
    """

    fine_maps: Tensor
    coarse_maps: Tensor

    def __init__(
        self,
        layout: Layout,
        numbers: int,
        outputs: int,
        channels: Count,
        widths: Sequence[Count],
        kernels: Sequence[Sequence[Count]],
        strides: Sequence[Sequence[Count]],
        fine: bool,
        known: Count,
    ) -> None:
        super().__init__()
        if layout.geometry is None:
            raise UserError(
                "an encoder of cells needs to know where its numbers lie in a shower: give the layer "
                "energies a density of their own (model.energies)"
            )
        if not len(widths) == len(kernels) == len(strides) or not widths:
            raise UserError(
                f"each level of an encoder has a width, a kernel and a stride, got widths={list(widths)}, "
                f"kernels={list(kernels)}, strides={list(strides)}"
            )
        if outputs != layout.features:
            raise UserError(
                f"a decoder of volumes gives one number for each of {layout.features} cells, not "
                f"{outputs}: take simulacra.nn.vector_coder.VectorCoder, or BernoulliMean as the likelihood"
            )
        self.grid, self.channels = CommonGrid(layout.geometry, copied=True), channels
        self.fine = fine
        self.sizes = [tuple(self.grid.shape)]
        for stride in strides:
            self.sizes.append(
                tuple(-(-n // s) for n, s in zip(self.sizes[-1], stride, strict=True))
            )
        self.layout = self._coarse(layout.context)
        periodic = self.grid.periodic
        axes = [axis for axis in range(3) if axis != periodic]
        for name, sizes in (("fine_maps", self.sizes[0]), ("coarse_maps", self.sizes[-1])):
            self.register_buffer(name, coordinate_maps(sizes, axes)[: len(axes)], persistent=False)
        self.known = MLP(layout.context, known, [known])
        self.downs, self.joins = nn.ModuleList(), nn.ModuleList()
        self.ups, self.splits = nn.ModuleList(), nn.ModuleList()
        forms = list(zip(kernels, strides, strict=True))
        for (before, width), form in zip(pairwise([1 + len(axes), *widths]), forms, strict=True):
            seen, joined = (before, width) if fine else (width, before)
            self.downs.append(TimedBlock(seen, width, known, periodic))
            self.joins.append(PaddedConv(joined, width, *form, periodic))
        self.narrow = nn.Conv3d(widths[-1], numbers * channels, 1)
        entry, back = channels + len(axes), list(widths[::-1])
        inner = back if fine else [entry, *back[1:]]
        outer = pairwise([entry, *back] if fine else [*back, 1])
        for before, width, ends, form in zip(inner, back, outer, forms[::-1], strict=True):
            self.splits.append(PaddedConvUp(*ends, *form, periodic))
            self.ups.append(TimedBlock(before, width, known, periodic))
        self.head = nn.Conv3d(widths[0], 1, 1) if fine else nn.Identity()

    def encode(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Cells ``(B, D)`` given ``(B, context)`` to ``(B, numbers C, *)``."""
        known = self.known(context)
        h = _mapped(self.grid(x)[:, None], self.fine_maps)
        for down, join in zip(self.downs, self.joins, strict=True):
            h = join(down(h, known)) if self.fine else down(join(h), known)
        coarse: Tensor = self.narrow(h)
        return coarse

    def decode(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        """The way back from ``(B, C, *)`` to ``(B, D)``."""
        known = self.known(context)
        h = _mapped(z, self.coarse_maps)
        for up, split, sizes in zip(self.ups, self.splits, self.sizes[-2::-1], strict=True):
            h = up(split(h, sizes), known) if self.fine else split(up(h, known), sizes)
        return self.grid.back(self.head(h)[:, 0])

    def volume(self, line: Tensor) -> Tensor:
        """See :class:`Coder`."""
        return line.unflatten(1, (*self.sizes[-1], self.channels)).movedim(-1, 1)

    def _coarse(self, context: int) -> Layout:
        depth, rows, cols = self.sizes[-1]
        image = rows, cols * self.channels
        closed = None if self.grid.periodic is None else self.grid.periodic - 1
        edges = range(image[0] + 1), range(image[1] + 1)
        geometry = regular_grid(depth, edges, ("u", "v"), periodic=closed)
        return Layout(geometry.n_voxels, context, (), image, closed, geometry=geometry)


def _mapped(x: Tensor, maps: Tensor) -> Tensor:
    """A volume with maps of coordinates as further channels."""
    return torch.cat([x, maps.to(x).expand(x.shape[0], -1, -1, -1, -1)], 1)
