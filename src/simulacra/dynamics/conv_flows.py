r"""Invertible steps on images ``(B, C, H, W)``, steered by maps of a context ``(B, M, H, W)``.

A layer of cells is folded so that blocks of cells become channels (squeeze); then blocks of ActNorm per
channel, a coupling whose kept channels steer a monotone map of the others through a U-Net, and a 1x1
convolution :math:`W = P L (U + \mathrm{diag}\, e^{s})`, which mixes the channels of each cell with

.. math:: \log|\det J| = H W \sum_i s_i .

:func:`conv_flow` joins them to a flow of flat layers ``(B, V)``; in the U-Net's evaluation mode all steps
are exact inverses of each other. Inverses of 1x1 convolutions are two triangular solves with the current
weights, never a stored matrix.

References: Kingma and Dhariwal, arXiv:1807.03039 (1x1 convolutions); Buss et al., arXiv:2405.20407.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod

import torch
from torch import Tensor, nn

from simulacra.core.constructors import constructor
from simulacra.core.ranges import Count
from simulacra.dynamics.autoregressive import Inverted
from simulacra.dynamics.flows import ActNorm, Flow, Steered, Step
from simulacra.dynamics.splines import Spline

LARGEST = 100.0
"""Kept values are seen within this bound by a U-Net, so that no input makes it overflow."""


class Fold(Step):
    """Flat values ``(B, V)`` as an image ``(B, *shape)``.

    Args:
        shape: ``(C, H, W)``.
    """

    def __init__(self, shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.shape = shape

    def forward(self, x: Tensor, context: Tensor | None = None) -> Steered:
        """Fold."""
        return x.unflatten(-1, self.shape), x.new_zeros(())

    def inverse(self, z: Tensor, context: Tensor | None = None) -> Steered:
        """Flatten."""
        return z.flatten(1), z.new_zeros(())


class Squeeze(Step):
    """Blocks of ``rows x cols`` cells as channels: ``(B, C, H, W)`` to ``(B, C rows cols, H / rows, W /
    cols)``.

    Args:
        rows: Cells of a block along rows; must divide ``H``.
        cols: Cells of a block along columns; must divide ``W``.
    """

    def __init__(self, rows: int = 2, cols: int = 2) -> None:
        super().__init__()
        self.rows, self.cols = rows, cols

    def forward(self, x: Tensor, context: Tensor | None = None) -> Steered:
        """Cells to channels."""
        b, c, h, w = x.shape
        blocks = x.reshape(b, c, h // self.rows, self.rows, w // self.cols, self.cols)
        return blocks.permute(0, 1, 3, 5, 2, 4).flatten(1, 3), x.new_zeros(())

    def inverse(self, z: Tensor, context: Tensor | None = None) -> Steered:
        """Channels to cells."""
        b, _, h, w = z.shape
        blocks = z.reshape(b, -1, self.rows, self.cols, h, w).permute(0, 1, 4, 2, 5, 3)
        return blocks.reshape(b, -1, h * self.rows, w * self.cols), z.new_zeros(())


class ChannelNorm(ActNorm):
    """:class:`~simulacra.dynamics.flows.ActNorm` of each channel."""

    def forward(self, x: Tensor, context: Tensor | None = None) -> Steered:
        """``(x + shift) exp(log_scale)``."""
        z, log_det = super().forward(x.movedim(1, -1))
        return z.movedim(-1, 1), log_det * x[0, 0].numel()

    def inverse(self, z: Tensor, context: Tensor | None = None) -> Steered:
        """Undo :meth:`forward`."""
        x, log_det = super().inverse(z.movedim(1, -1))
        return x.movedim(-1, 1), log_det * z[0, 0].numel()

    def undo(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        """See :class:`~simulacra.dynamics.flows.Step`."""
        return super().undo(z.movedim(1, -1)).movedim(-1, 1)

    def initialise(self, x: Tensor) -> None:
        """Match mean and standard deviation of each channel of ``x`` ``(B, C, H, W)``."""
        super().initialise(x.movedim(1, -1).flatten(0, -2))


class InvertibleConv(Step):
    """1x1 convolution, see the module's docstring; starts as a permutation of the channels.

    Args:
        order: Channel ``i`` of the output starts as channel ``order[i]`` of the input.
    """

    order: Tensor
    back: Tensor

    def __init__(self, order: Tensor) -> None:
        super().__init__()
        channels = len(order)
        self.register_buffer("order", order)
        self.register_buffer("back", torch.argsort(order))
        self.lower = nn.Parameter(torch.zeros(channels, channels))
        self.upper = nn.Parameter(torch.zeros(channels, channels))
        self.log_scale = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor, context: Tensor | None = None) -> Steered:
        """``W x`` in every cell."""
        lower, upper = self._factors()
        z = (lower @ upper)[self.order] @ x.flatten(2)
        return z.view(x.shape), self.log_scale.sum() * x[0, 0].numel()

    def inverse(self, z: Tensor, context: Tensor | None = None) -> Steered:
        """Undo :meth:`forward` by two triangular solves."""
        lower, upper = self._factors()
        x = torch.linalg.solve_triangular(
            lower, z.flatten(2)[:, self.back], upper=False, unitriangular=True
        )
        x = torch.linalg.solve_triangular(upper, x, upper=True)
        return x.view(z.shape), -self.log_scale.sum() * z[0, 0].numel()

    def _factors(self) -> tuple[Tensor, Tensor]:
        """Unit lower and upper triangular matrices."""
        eye = torch.eye(len(self.log_scale), device=self.log_scale.device)
        return self.lower.tril(-1) + eye, self.upper.triu(1) + torch.diag(self.log_scale.exp())


class ConvCoupling(Step):
    """Half of the channels and the context steer a monotone map of the other half.

    Args:
        channels: ``C``; the first ``floor(C / 2)`` pass unchanged, so that two couplings with the halves
            swapped move every channel.
        context: Maps of the context, 0 for none.
        spline: The elementwise map.
        net: Makes the steering network from its input and output channels; zeros give the identity.
    """

    def __init__(
        self,
        channels: int,
        context: int,
        spline: Spline,
        net: Callable[[int, int], nn.Module],
    ) -> None:
        super().__init__()
        if channels < 2:
            raise ValueError(f"a coupling needs at least two channels, got {channels}")
        self.sizes = [channels // 2, channels - channels // 2]
        self.spline = spline
        self.net = net(self.sizes[0] + context, spline.numbers * self.sizes[1])

    def forward(self, x: Tensor, context: Tensor | None = None) -> Steered:
        """Map the moved half."""
        kept, moved = x.split(self.sizes, dim=1)
        moved, log_slope = self.spline(
            moved.transpose(0, 1).contiguous(), self._free(kept, context)
        )
        return torch.cat([kept, moved.transpose(0, 1)], dim=1), log_slope.sum((0, 2, 3))

    def inverse(self, z: Tensor, context: Tensor | None = None) -> Steered:
        """Undo :meth:`forward`."""
        kept, moved = z.split(self.sizes, dim=1)
        moved, log_slope = self.spline.inverse(
            moved.transpose(0, 1).contiguous(), self._free(kept, context)
        )
        return torch.cat([kept, moved.transpose(0, 1)], dim=1), log_slope.sum((0, 2, 3))

    def _free(self, kept: Tensor, context: Tensor | None) -> Tensor:
        """Free numbers ``(numbers, ceil(C / 2), B, H, W)``."""
        kept = kept.clamp(-LARGEST, LARGEST)
        steered = self.net(kept if context is None else torch.cat([kept, context], dim=1))
        return steered.transpose(0, 1).unflatten(0, (self.spline.numbers, -1)).contiguous()


@constructor
def conv_flow(
    size: tuple[int, int],
    context: int,
    blocks: Count,
    spline: Spline,
    net: Callable[[int, int], nn.Module],
    *,
    squeeze: tuple[int, int] = (2, 2),
    cells: bool = False,
    seed: int = 0,
) -> Flow:
    """Flow of flat images: squeeze, then blocks of ActNorm, coupling and 1x1 convolution.

    Args:
        size: Rows and columns, multiples of ``squeeze``.
        context: Maps of the context, which have the squeezed size.
        blocks: Number of couplings; 1x1 convolutions start by swapping the halves, each second one after a
            shuffle.
        spline: The elementwise map of all couplings.
        net: Makes each steering network from its input and output channels.
        squeeze: Cells along rows and columns that become channels.
        cells: Whether each cell has an ActNorm of its own before the squeeze.
        seed: Seed of the shuffles.
    """
    rows, cols = squeeze
    if size[0] % rows or size[1] % cols:
        raise ValueError(f"images of {size} cells do not fold into blocks of {squeeze}")
    channels = rows * cols
    generator = torch.Generator().manual_seed(seed)
    steps: list[Step] = [ActNorm(prod(size))] if cells else []
    steps += [Fold((1, *size)), Squeeze(rows, cols)]
    for block in range(blocks):
        order = torch.roll(torch.arange(channels, device="cpu"), channels // 2)
        if block % 2 == 1:
            order = order[torch.randperm(channels, generator=generator, device="cpu")]
        steps += [
            ChannelNorm(channels),
            ConvCoupling(channels, context, spline, net),
            InvertibleConv(order),
        ]
    steps.append(Inverted(Fold((channels, size[0] // rows, size[1] // cols))))
    return Flow(prod(size), steps)
