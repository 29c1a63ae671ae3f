r"""CaloArt's transformer of showers: few large patches, known by fixed sinusoids and rotary phases.

Norms are root mean squares, also of queries and keys, and feed-forward parts are gated (SwiGLU, of two thirds
of four times the width).

Reference: arXiv:2605.12011.
"""

from __future__ import annotations

from collections.abc import Sequence

from simulacra.core import Layout
from simulacra.core.ranges import Count
from simulacra.nn.dit import DiTBlock, Head, Modulation, RMSNorm, SelfAttention, Shared, SwiGLU
from simulacra.nn.positions import Rotary, SinusoidalPositions
from simulacra.nn.vision_transformer import PatchTransformer, patches_of


class CaloArt(PatchTransformer):
    """See the module's docstring.

    Args:
        layout: Cells of a shower, and the width of the context.
        patch: Layers, rows and columns of a patch; layers that differ have patches of one layer each.
        width: Width of a token, which 6 and the heads divide.
        layers: Number of blocks.
        heads: Attention heads.
        shared: Whether one map modulates all blocks, each of which adds numbers of its own.
        closed: Whether phases turn whole times around the axis that closes on itself, and no token knows its
            place along it: moving a shower by whole patches then moves the result (not so in the reference).

    Raises:
        UserError: If the numbers are no cells, or patches and widths do not fit.
    """

    def __init__(
        self,
        layout: Layout,
        patch: Sequence[Count],
        width: Count,
        layers: Count,
        heads: Count,
        shared: bool,
        closed: bool,
    ) -> None:
        patches = patches_of(layout, patch)
        hidden = 8 * width // 3
        steer = Shared if shared else Modulation
        blocks = [
            DiTBlock(
                width,
                RMSNorm,
                SelfAttention(width, heads, normalised=True),
                SwiGLU(width, hidden),
                steer,
            )
            for _ in range(layers)
        ]
        without = () if patches.periodic is None or not closed else (patches.periodic,)
        head = Head(width, patches.size, RMSNorm, steer)
        positions = SinusoidalPositions(patches, width, without)
        super().__init__(
            layout,
            patches,
            width,
            positions,
            blocks,
            head,
            turn=Rotary(patches, width // heads, closed),
            shared=Modulation(width, 6) if shared else None,
        )
