"""Three-dimensional convolutional classifiers of showers on a regular grid, float64 once they are trained."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from simulacra.core import UserError
from simulacra.core.ranges import Count


class ResNet3d(nn.Module):
    """The CaloChallenge's 3D ResNet-18 (arXiv:2410.21611; layout of arXiv:1711.09577).

    A 7^3 convolution of stride 2 and a max-pool, four stages of two basic blocks of which all but the first
    halve the grid, and the mean over what is left; the first input (log10 E_inc), normalised over the batch,
    joins before the last linear layer.

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
        super().__init__()
        self.image = _checked(inputs - 1, image)
        self.stem = nn.Sequential(
            nn.Conv3d(1, planes[0], 7, stride=2, padding=3, bias=False),
            nn.BatchNorm3d(planes[0]),
            nn.ReLU(),
            nn.MaxPool3d(3, stride=2, padding=1),
        )
        blocks = []
        for number, (first, second) in enumerate(pairwise([planes[0], *planes])):
            blocks += [
                BasicBlock(first, second, 1 if number == 0 else 2),
                BasicBlock(second, second, 1),
            ]
        self.blocks = nn.Sequential(*blocks)
        self.energy = nn.BatchNorm1d(1)
        self.last = nn.Linear(planes[-1] + 1, outputs)
        for module in self.modules():
            if isinstance(module, nn.Conv3d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``(B, outputs)`` of inputs ``(B, 1 + V)``."""
        image = x[:, 1:].unflatten(1, (1, *self.image))  # (B, 1, L, rows, cols)
        found = self.blocks(self.stem(image)).mean((2, 3, 4))
        return self.last(torch.cat([found, self.energy(x[:, :1])], dim=1))


class BasicBlock(nn.Module):
    """Two 3^3 convolutions with batch norm, and a shortcut that is a 1^3 convolution where shapes differ."""

    def __init__(self, first: int, second: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv3d(first, second, 3, stride=stride, padding=1, bias=False),
            nn.BatchNorm3d(second),
            nn.ReLU(),
            nn.Conv3d(second, second, 3, padding=1, bias=False),
            nn.BatchNorm3d(second),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or first != second:
            shortcut = nn.Conv3d(first, second, 1, stride=stride, bias=False)
            self.shortcut = nn.Sequential(shortcut, nn.BatchNorm3d(second))

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
