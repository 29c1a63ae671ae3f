r"""Gated PixelCNN: each pixel from those before it, through gates that conditions steer.

With a convolution ``*`` and what is known ``h``, numbers of the image and maps beside it, a layer of either
stack is

.. math:: y = \tanh(W_f * x + V_f h) \cdot \sigma(W_g * x + V_g h);

the horizontal one adds what the vertical one had before its gate, through a 1 x 1 convolution, and is
residual but for its first layer (:mod:`simulacra.nn.pixel_net`).

Reference: van den Oord et al., arXiv:1606.05328, eq. 4 and figure 2.

Note:
    Differs from the reference: pixels enter by an embedding of their level, and a map of what the pixels
    before add up to enters beside them.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from simulacra.core.ranges import Count, Dropout, Whole
from simulacra.nn.dropout import RandomDrop
from simulacra.nn.pixel_net import ColumnConv, Memory, PixelNet, RowConv, sides


class Gate(nn.Module):
    """``tanh(a) sigmoid(b)`` of two halves of ``2 C`` channels and what steers them.

    Args:
        channels: ``C``.
        known: Numbers of the image.
        maps: Maps beside it, as the stacks are given them.
    """

    def __init__(self, channels: int, known: int, maps: int) -> None:
        super().__init__()
        self.numbers = nn.Linear(known, 2 * channels)
        self.maps = nn.Conv2d(maps, 2 * channels, 1, bias=False) if maps else None

    def forward(self, x: Tensor, known: Tensor, maps: Tensor) -> Tensor:
        """``(N, 2 C, h, w)`` to ``(N, C, h, w)``."""
        x = x + self.numbers(known)[:, :, None, None]
        if self.maps is not None:
            x = x + self.maps(maps)
        a, b = x.chunk(2, dim=1)
        return torch.tanh(a) * torch.sigmoid(b)


class GatedPixels(PixelNet):
    """See the module's docstring.

    Args:
        levels: Levels of a pixel.
        outputs: Numbers that describe a pixel.
        known: Numbers of the image.
        maps: Maps beside it, 0 for none.
        channels: Channels of both stacks.
        layers: Layers after the first.
        first: Columns of the kernel of the first layer, an odd number.
        kernel: Columns of the kernels of the others, an odd number.
        head: Channels of the layer before the last.
        dropout: Probability, of what the gates of the horizontal stack let through.
    """

    def __init__(
        self,
        levels: int,
        outputs: int,
        known: int,
        maps: int,
        channels: Count,
        layers: Whole,
        first: Count,
        kernel: Count,
        head: Count,
        dropout: Dropout = 0.0,
    ) -> None:
        super().__init__()
        self.outputs = outputs
        c, sizes = channels, [first] + [kernel] * layers
        self.pixels = nn.Embedding(levels, c)
        self.place = nn.Conv2d(maps, c, 3) if maps else None
        seen, inputs = c if maps else 0, [c] * len(sizes)
        rows = [max(1, first // 2)] + [kernel // 2 + 1] * layers
        self.down = nn.ModuleList(
            RowConv(i, 2 * c, (r, n)) for i, r, n in zip(inputs, rows, sizes, strict=True)
        )
        self.down_gates = nn.ModuleList(Gate(c, known, seen) for _ in sizes[1:])
        inputs[0] += 1  # what the pixels before add up to
        self.across = nn.ModuleList(
            ColumnConv(i, 2 * c, r) for i, r in zip(inputs, rows, strict=True)
        )
        self.links = nn.ModuleList(nn.Conv2d(2 * c, 2 * c, 1) for _ in sizes)
        self.gates = nn.ModuleList(Gate(c, known, seen) for _ in sizes)
        self.kept = nn.ModuleList(nn.Conv2d(c, c, 1) for _ in sizes)
        self.dropout = RandomDrop(dropout)
        last = nn.Conv2d(head, outputs, 1)
        for parameter in last.parameters():
            nn.init.zeros_(parameter)
        self.head = nn.Sequential(nn.ReLU(), nn.Conv2d(c, head, 1), nn.ReLU(), last)

    def embed(self, levels: Tensor) -> Tensor:
        """See :meth:`PixelNet.embed`."""
        embedded: Tensor = self.pixels(levels.long())
        return embedded.movedim(-1, 1)

    def spread(self, maps: Tensor, closed: bool) -> Tensor:
        """See :meth:`PixelNet.spread`; each pixel sees the maps at it and around it."""
        if self.place is None:
            return maps
        wide = nn.functional.pad(sides(maps, 1, closed), (0, 0, 1, 1))
        return nn.functional.silu(self.place(wide))

    def vertical(
        self, x: Tensor, known: Tensor, maps: Tensor, closed: bool, memory: Memory | None = None
    ) -> Sequence[Tensor]:
        """See :meth:`PixelNet.vertical`; one for each layer ``(N, 2 C, h, W)``."""
        before = [self.down[0](x, closed, memory)]
        for gate, conv in zip(self.down_gates, self.down[1:], strict=True):
            before.append(conv(gate(before[-1], known, maps), closed, memory))
        return [link(numbers) for link, numbers in zip(self.links, before, strict=True)]

    def horizontal(
        self,
        x: Tensor,
        spent: Tensor,
        above: Sequence[Tensor],
        known: Tensor,
        maps: Tensor,
        memory: Memory | None = None,
    ) -> Tensor:
        """See :meth:`PixelNet.horizontal`."""
        x = torch.cat([x, spent], dim=1)
        for number, conv in enumerate(self.across):
            gated = self.gates[number](conv(x, memory) + above[number], known, maps)
            kept = self.kept[number](self.dropout(gated))
            x = kept if number == 0 else x + kept
        described: Tensor = self.head(x)
        return described
