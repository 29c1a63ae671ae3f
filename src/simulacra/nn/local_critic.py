"""Images to features by locally connected layers, as in the critics of LAGAN and CaloGAN."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

from torch import Tensor, nn

from simulacra.core.errors import UserError
from simulacra.core.ranges import Count, Dropout
from simulacra.nn.dropout import RandomDrop
from simulacra.nn.locally_connected import LocallyConnected2d
from simulacra.nn.verdicts import leaky


def same_conv(in_channels: int, channels: int, kernel: int) -> nn.Module:
    """A convolution that keeps rows and columns; an even kernel is padded once more behind than before."""
    before, after = (kernel - 1) // 2, kernel // 2
    pad = nn.ZeroPad2d((before, after, before, after))
    return nn.Sequential(pad, nn.Conv2d(in_channels, channels, kernel))


class LocalFeatures(nn.Module):
    """``(B, 1, *size)`` to ``(B, features)``.

    A convolution at full size comes first, then locally connected layers, each with LeakyReLU and dropout,
    the latter, where asked, with batch normalisation, and in the end a mean over blocks of pixels. Inputs of
    the locally connected layers are padded by half a kernel.

    Args:
        size: Rows and columns.
        channels: Channels of each layer.
        kernels: Rows and columns of the kernel of each layer.
        strides: Rows and columns between the outputs of each locally connected layer.
        batch_norm: Whether locally connected layers are followed by normalisation over the batch.
        dropout: Probability to drop a feature while training.
        pool: Rows and columns of the blocks that are averaged in the end.

    Raises:
        UserError: If there are not as many kernels as channels, or not one stride less.
    """

    def __init__(
        self,
        size: Sequence[int],
        channels: Sequence[Count],
        kernels: Sequence[Count],
        strides: Sequence[Sequence[Count]],
        batch_norm: bool,
        dropout: Dropout,
        pool: Count,
    ) -> None:
        super().__init__()
        if not len(channels) == len(kernels) == len(strides) + 1:
            raise UserError(
                f"local features need a kernel for each of {len(channels)} layers and a stride for all "
                f"but the first, got {len(kernels)} and {len(strides)}"
            )
        layers: list[nn.Module] = [same_conv(1, channels[0], kernels[0]), leaky()]
        layers += [RandomDrop(dropout)] if dropout else []
        for (a, b), kernel, stride in zip(pairwise(channels), kernels[1:], strides, strict=True):
            local = LocallyConnected2d(size, a, b, (kernel,) * 2, stride, (kernel // 2,) * 2)
            layers += [local, leaky()]
            layers += [RandomDrop(dropout)] if dropout else []
            layers += [nn.BatchNorm2d(b)] if batch_norm else []
            size = local.size
        block = [min(pool, n) for n in size]
        self.layers = nn.Sequential(*layers, nn.AvgPool2d((block[0], block[1])), nn.Flatten())
        self.features = channels[-1] * (size[0] // block[0]) * (size[1] // block[1])

    def forward(self, images: Tensor) -> Tensor:
        """See the class."""
        return self.layers(images)


MakeFeatures = Callable[[Sequence[int]], LocalFeatures]
"""From rows and columns."""
