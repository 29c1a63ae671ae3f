"""Convolutions with their channels last in memory, which tensor cores of graphics cards want.

A convolution whose weights lie so makes its outputs lie so, and the next one takes them as they are: no
network has to know. Values are the same but for the order of sums.
"""

from __future__ import annotations

import torch
from torch import nn

from simulacra.nn.padded_conv import Padded

LAYOUTS: dict[int, torch.memory_format] = {
    4: torch.channels_last,
    5: torch.channels_last_3d,
}
"""By the number of axes of the weights."""
CONVOLUTIONS = (nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.ConvTranspose3d, Padded)


def channels_last(net: nn.Module) -> int:
    """Lay the weights of all convolutions of images and volumes with their channels last, in place.

    Returns:
        The number of convolutions.
    """
    found = [
        part
        for part in net.modules()
        if isinstance(part, CONVOLUTIONS)
        and any(weight.dim() in LAYOUTS for weight in part.parameters())
    ]
    for part in found:
        for (
            weight
        ) in part.parameters():  # of a parametrised convolution, what its weights are made of
            if weight.dim() in LAYOUTS:
                weight.data = weight.data.contiguous(memory_format=LAYOUTS[weight.dim()])
    return len(found)
