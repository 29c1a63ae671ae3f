"""Chain of convolutional flows, one per layer, each steered by maps that embed the layers before.

Reference: convolutional L2LFlows, arXiv:2405.20407.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from simulacra.core import Layout, UserError
from simulacra.core.constructors import constructor
from simulacra.core.ranges import Count, Whole
from simulacra.dynamics.conv_flows import Squeeze
from simulacra.dynamics.flows import Flow
from simulacra.dynamics.layer_chain import CausalChain
from simulacra.nn.coordinates import constant_maps, coordinate_maps
from simulacra.nn.padded_conv import PaddedConv
from simulacra.nn.unet import joined


@constructor
class MapEmbedding(nn.Module):
    """Layers before the present one and numbers, as maps of the squeezed size.

    Args:
        size: Rows and columns of a layer, multiples of ``squeeze``.
        layers: Layers ``P`` before the present one; without any the maps are the numbers.
        given: Numbers ``G``.
        maps: Channels ``M`` of the maps.
        squeeze: Rows and columns of a block of cells.
        periodic: Axis that closes on itself, or None.
        early: Whether the layers are squeezed before the first convolution, which is cheaper; published is
            after the second.
        positions: Whether maps of the coordinates and of their squares are added, but for the axis that
            closes on itself.
    """

    positions: Tensor

    def __init__(
        self,
        size: tuple[int, int],
        layers: int,
        given: int,
        maps: Count,
        squeeze: tuple[int, int],
        periodic: int | None,
        early: bool,
        positions: bool,
    ) -> None:
        super().__init__()
        self.size = size
        self.coarse = (size[0] // squeeze[0], size[1] // squeeze[1])
        free = [axis for axis in (0, 1) if positions and axis != periodic]
        self.register_buffer("positions", coordinate_maps(self.coarse, free), persistent=False)
        self.outputs = (maps if layers > 0 else given) + len(self.positions)
        self.squeeze = Squeeze(*squeeze) if early else Squeeze(1, 1)
        if early:
            inputs = layers * squeeze[0] * squeeze[1] + given
            steps: list[nn.Module] = [
                PaddedConv(inputs, maps, (3, 3), periodic=periodic),
                nn.LeakyReLU(),
            ]
        else:
            steps = [
                PaddedConv(layers + given, maps, (1, 1)),
                nn.LeakyReLU(),
                PaddedConv(maps, maps, (3, 3), periodic=periodic),
                nn.LeakyReLU(),
                nn.Conv2d(maps, maps, squeeze, stride=squeeze),
                nn.LeakyReLU(),
            ]
        steps.append(PaddedConv(maps, maps, (3, 3), periodic=periodic))
        self.net = nn.Sequential(*steps) if layers > 0 else None

    def forward(self, past: list[Tensor], given: Tensor) -> Tensor:
        """Layers ``(B, V)`` and numbers ``(B, G)`` to maps ``(B, M, H / rows, W / cols)``."""
        fixed = self.positions.expand(len(given), -1, -1, -1)
        if self.net is None:
            return torch.cat([constant_maps(given, self.coarse), fixed], dim=1)
        images, _ = self.squeeze(torch.stack([x.unflatten(-1, self.size) for x in past], dim=1))
        maps: Tensor = self.net(torch.cat([images, constant_maps(given, images.shape[-2:])], dim=1))
        return torch.cat([maps, fixed], dim=1)


@constructor
def conv_chain(
    layout: Layout,
    history: Count,
    squeeze: tuple[Count, Count],
    levels: Whole,
    embedding: Callable[..., MapEmbedding],
    net: Callable[..., nn.Module],
    flow: Callable[..., Flow],
) -> CausalChain:
    """A flow of each layer, an image.

    Args:
        layout: What is described, in layers that are images.
        history: Layers that each layer sees before it.
        squeeze: Rows and columns of the block of cells that becomes channels.
        levels: Levels of the steering networks after the first, which together join all cells
            (:func:`simulacra.nn.unet.joined`).
        embedding: Makes the embedding of the layers before each from ``(size, layers, given, squeeze,
            periodic)``, by keyword.
        net: Makes the steering networks, from ``(inputs, outputs)`` and by keyword ``strides`` and
            ``periodic``.
        flow: Makes each flow from ``(size, context)`` and by keyword ``net``, ``squeeze`` and ``seed``.

    Raises:
        UserError: If the layers are no images.
    """
    size, periodic, given = layout.image, layout.periodic, layout.given
    if size is None:
        raise UserError("a convolutional flow needs layers that are images of equal size")
    block = (squeeze[0], squeeze[1])
    strides = joined((size[0] // block[0], size[1] // block[1]), levels)

    def steering(inputs: int, outputs: int) -> nn.Module:
        return net(inputs, outputs, strides=strides, periodic=periodic)

    embeddings = [
        embedding(
            size=size, layers=min(n, history), given=given + 1, squeeze=block, periodic=periodic
        )
        for n in range(len(layout.layers))
    ]
    flows = [
        flow(size, maps.outputs, net=steering, squeeze=block, seed=n)
        for n, maps in enumerate(embeddings)
    ]
    return CausalChain(layout.layers, history, given, embeddings, flows)
