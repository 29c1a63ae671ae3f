r"""Transformers of showers that are cut into patches, at a time of a diffusion.

Every patch of cells is a token (:mod:`simulacra.nn.patches`) that knows its place
(:mod:`simulacra.nn.positions`); time and context, each through two linear layers, are added and steer all
blocks (:mod:`simulacra.nn.dit`). The time is told by cosines and sines of :math:`1000\, t`, at frequencies so
far apart that none is all but constant in t.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from torch import Tensor, nn

from simulacra.core import Layout, UserError
from simulacra.core.ranges import Count, Dropout
from simulacra.nn.dit import DiTBlock, Head, Modulation, SelfAttention
from simulacra.nn.fourier import Sinusoids
from simulacra.nn.mlp import MLP
from simulacra.nn.parted import Parted
from simulacra.nn.patches import Patches
from simulacra.nn.positions import Rotary

MakePositions = Callable[[Patches, int], nn.Module]
"""From tokens and their width to a module that is called for ``(N, width)``."""
TIMES = 256
"""Features of the time, as in the authors' codes of arXiv:2212.09748 and arXiv:2405.09629."""


class PatchTransformer(Parted, nn.Module):
    """See the module's docstring.

    Args:
        layout: Cells of a shower, and the width of the context.
        patches: How they are cut.
        width: Width of a token.
        positions: Where tokens stand, called for ``(N, width)``.
        blocks: Steered blocks of tokens.
        head: What tokens become.
        allowed: Which tokens a token sees ``(N, N)`` (None: all).
        turn: Phases of queries and keys (None: none).
        shared: The part of the modulation that blocks share (None: none).
    """

    EMBEDDERS = ("positions", "embed", "time", "of_time", "of_context")
    HEAD = ("head",)
    allowed: Tensor | None

    def __init__(
        self,
        layout: Layout,
        patches: Patches,
        width: int,
        positions: nn.Module,
        blocks: Sequence[DiTBlock],
        head: Head,
        allowed: Tensor | None = None,
        turn: Rotary | None = None,
        shared: Modulation | None = None,
    ) -> None:
        super().__init__()
        self.patches, self.positions = patches, positions
        self.embed = nn.Linear(patches.size, width)
        self.time = Sinusoids(TIMES)
        self.of_time = MLP(self.time.width, width, [width])
        self.of_context = MLP(layout.context, width, [width]) if layout.context else None
        self.blocks, self.head = nn.ModuleList(blocks), head
        self.turn, self.shared = turn, shared
        self.register_buffer("allowed", allowed, persistent=False)

    def forward(self, x: Tensor, t: Tensor, context: Tensor | None = None) -> Tensor:
        """``(B, V)`` at numbers ``(B,)`` that tell the time, given ``(B, C)``, to ``(B, V)``."""
        known = self.of_time(self.time(t))
        if self.of_context is not None:
            known = known + self.of_context(context)
        h = self.embed(self.patches.split(x)) + self.positions()
        steer = known if self.shared is None else self.shared.together(known)
        for block in self.blocks:
            h = block(h, steer, self.allowed, self.turn)
        return self.patches.join(self.head(h, known))


class VisionTransformer(PatchTransformer):
    """Blocks as in DiT: plain layer norms, each block with a modulation of its own.

    Args:
        layout: Cells of a shower, and the width of the context.
        patch: Layers, rows and columns of a patch; layers that differ have patches of one layer each.
        width: Width of a token, which 6 and the heads divide.
        layers: Number of blocks.
        heads: Attention heads.
        ratio: Width inside the feed-forward parts, in units of ``width``.
        positions: Makes what tokens know of their place.
        causal: Whether a token sees no patch of a later layer.
        dropout: Probability to drop a unit of the feed-forward parts.

    Raises:
        UserError: If the numbers are no cells, or patches and widths do not fit.

    References: CaloDREAM, arXiv:2405.09629, section 3.2 (fixed positions, causal); arXiv:2601.05289 (learned
        frequencies).
    """

    def __init__(
        self,
        layout: Layout,
        patch: Sequence[Count],
        width: Count,
        layers: Count,
        heads: Count,
        ratio: Count,
        positions: MakePositions,
        causal: bool,
        dropout: Dropout,
    ) -> None:
        patches, norm = patches_of(layout, patch), plain_norm
        blocks = [
            DiTBlock(
                width,
                norm,
                SelfAttention(width, heads),
                MLP(width, width, [ratio * width], _gelu, dropout),
                Modulation,
            )
            for _ in range(layers)
        ]
        head = Head(width, patches.size, norm, Modulation)
        allowed = patches.causal() if causal else None
        super().__init__(
            layout, patches, width, positions(patches, width), blocks, head, allowed=allowed
        )


plain_norm = partial(nn.LayerNorm, eps=1e-6, elementwise_affine=False)
"""A layer norm whose scale and shift are left to a modulation."""


def patches_of(layout: Layout, patch: Sequence[int]) -> Patches:
    """The patches of what is described.

    Raises:
        UserError: If the numbers are not the cells of a shower, one by one, or patches do not fit.
    """
    geometry = layout.geometry
    if geometry is None or geometry.n_voxels != layout.features:
        raise UserError(
            f"patches are cut from the cells of a shower, but these {layout.features} numbers are other ones "
            "too: describe layer energies by a density of their own"
        )
    return Patches(geometry, patch)


def _gelu() -> nn.Module:
    return nn.GELU("tanh")
