"""Three-dimensional convolutional classifiers of showers on a regular grid, float64 once they are trained."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from simulacra.core import UserError
from simulacra.core.ranges import Count
from simulacra.nn.mlp import MLP

SIDE = 7
"""Side of the first convolution."""
Norm = Callable[[int], nn.Module]
"""Makes the norm of so many channels."""


class ResNetBody(nn.Module):
    """What a 3D ResNet-18 says of a volume (layout of arXiv:1711.09577).

    A 7^3 convolution of stride 2 and a max-pool, four stages of two basic blocks of which all but the first
    halve the grid, and the mean over what is left.

    Args:
        planes: Channels of the stages.
        norm: Makes the norms.
        kernel: Sides of the first convolution, odd.
    """

    def __init__(
        self, planes: Sequence[int], norm: Norm, kernel: tuple[int, int, int] = (SIDE,) * 3
    ) -> None:
        super().__init__()
        padding = (kernel[0] // 2, kernel[1] // 2, kernel[2] // 2)
        self.stem = nn.Sequential(
            nn.Conv3d(1, planes[0], kernel, stride=2, padding=padding, bias=False),
            norm(planes[0]),
            nn.ReLU(),
            nn.MaxPool3d(3, stride=2, padding=1),
        )
        blocks = []
        for number, (first, second) in enumerate(pairwise([planes[0], *planes])):
            blocks += [
                BasicBlock(first, second, 1 if number == 0 else 2, norm),
                BasicBlock(second, second, 1, norm),
            ]
        self.blocks = nn.Sequential(*blocks)

    def start(self) -> None:
        """Draw the weights of all convolutions, those of a class that derives included."""
        for module in self.modules():
            if isinstance(module, nn.Conv3d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def features(self, volume: Tensor) -> Tensor:
        """Volumes ``(B, 1, L, rows, cols)`` to ``(B, planes[-1])``."""
        found: Tensor = self.blocks(self.stem(volume)).mean((2, 3, 4))
        return found


class VolumeClassifier(ResNetBody):
    """A ResNet whose features are joined by numbers of the event, of which a network makes the logit.

    Norms are those of single events, in groups of channels: norms over a batch would let one event change the
    logit of another, and take no weights. They take away how much a volume holds, which the numbers tell. The
    first convolution is no larger than the volume: on some processors the gradient of one that is writes
    beyond its memory (seen with torch 2.13, oneDNN, 7^3 on 5 layers).

    Args:
        image: Layers, rows and columns.
        context: ``C``, numbers of the event.
        planes: Channels of the stages, whole multiples of ``groups``.
        groups: Groups of channels in a norm.
        hidden: Widths of the last network.
    """

    def __init__(
        self,
        image: Sequence[int],
        context: int,
        planes: Sequence[Count],
        groups: Count,
        hidden: Sequence[Count],
    ) -> None:
        sides = [max(1, min(SIDE, size - 1 + size % 2)) for size in map(int, image)]
        super().__init__(
            planes,
            lambda channels: nn.GroupNorm(groups, channels),
            (sides[0], sides[1], sides[2]),
        )
        self.head = MLP(planes[-1] + context, 1, hidden)
        self.start()

    def forward(self, volume: Tensor, context: Tensor) -> Tensor:
        """Logits ``(B, 1)`` of volumes ``(B, L, rows, cols)`` and numbers ``(B, C)``."""
        found: Tensor = self.head(torch.cat([self.features(volume[:, None]), context], 1))
        return found


class ResNet3d(ResNetBody):
    """The CaloChallenge's 3D ResNet-18 (arXiv:2410.21611).

    The first input (log10 E_inc), normalised over the batch, joins before the last linear layer.

    Args:
        inputs: Number of inputs: log10 E_inc, then the voxels.
        image: Layers, rows and columns.
        planes: Channels of the stages.
        outputs: Logits.
    """

    def __init__(
        self,
        inputs: int,
        image: Sequence[Count],
        planes: Sequence[int] = (32, 64, 64, 128),
        outputs: int = 1,
    ) -> None:
        super().__init__(planes, nn.BatchNorm3d)
        self.image = _checked(inputs - 1, image)
        self.energy = nn.BatchNorm1d(1)
        self.last = nn.Linear(planes[-1] + 1, outputs)
        self.start()

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``(B, outputs)`` of inputs ``(B, 1 + V)``."""
        image = x[:, 1:].unflatten(1, (1, *self.image))  # (B, 1, L, rows, cols)
        return self.last(torch.cat([self.features(image), self.energy(x[:, :1])], dim=1))


class BasicBlock(nn.Module):
    """Two 3^3 convolutions with norms, and a shortcut that is a 1^3 convolution where shapes differ."""

    def __init__(self, first: int, second: int, stride: int, norm: Norm) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv3d(first, second, 3, stride=stride, padding=1, bias=False),
            norm(second),
            nn.ReLU(),
            nn.Conv3d(second, second, 3, padding=1, bias=False),
            norm(second),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or first != second:
            shortcut = nn.Conv3d(first, second, 1, stride=stride, bias=False)
            self.shortcut = nn.Sequential(shortcut, norm(second))

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, C, D, H, W)``."""
        return torch.relu(self.body(x) + self.shortcut(x))


class ConvNet3d(nn.Module):
    """The low-level classifier of ILD showers (ConvL2LFlows, arXiv:2405.20407).

    Four times a convolution (5^3 with padding 3, then 3^3), LeakyReLU and a max-pool of 2, then linear layers
    on what is left and the conditions; the logit itself passes a LeakyReLU, as in the public code.

    Args:
        inputs: Number of inputs: conditions, then the voxels.
        image: Layers, rows and columns.
        channels: Channels of each convolution.
        hidden: Widths of the linear layers.
    """

    def __init__(
        self,
        inputs: int,
        image: Sequence[Count],
        channels: int = 16,
        hidden: Sequence[int] = (128, 64, 32),
    ) -> None:
        super().__init__()
        self.given = inputs - math.prod(image)
        self.image = _checked(inputs - self.given, image)
        left = math.prod((size + 2) // 16 for size in self.image)
        if left == 0:
            raise UserError(
                f"four max-pools of 2 leave nothing of {self.image}: each side needs 14 cells"
            )
        convolutions: list[nn.Module] = []
        for number in range(4):
            before, size, padding = (1, 5, 3) if number == 0 else (channels, 3, 1)
            convolution = nn.Conv3d(before, channels, size, padding=padding)
            convolutions += [convolution, nn.LeakyReLU(), nn.MaxPool3d(2)]
        self.convolutions = nn.Sequential(*convolutions, nn.Flatten())
        linear: list[nn.Module] = []
        for first, second in pairwise([left * channels + self.given, *hidden, 1]):
            linear += [nn.Linear(first, second), nn.LeakyReLU()]
        self.linear = nn.Sequential(*linear)

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``(B, 1)`` of inputs ``(B, C + V)``."""
        given, cells = x[:, : self.given], x[:, self.given :]
        found = self.convolutions(cells.unflatten(1, (1, *self.image)))
        return self.linear(torch.cat([found, given], dim=1))


def _checked(cells: int, image: Sequence[int]) -> tuple[int, ...]:
    if cells != math.prod(image) or cells < 1:
        raise UserError(f"a classifier of images of shape {tuple(image)} got {cells} cells")
    return tuple(image)
