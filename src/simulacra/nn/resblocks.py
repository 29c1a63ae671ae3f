"""Blocks of image generators and critics that double or halve the rows and columns.

Generator blocks normalise over the batch, critic blocks do not (a gradient penalty treats images one by
one).
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional


class ConvUp2d(nn.Module):
    """Conv 5x5, batch norm, ReLU, nearest x2: ``(B, C, H, W) -> (B, C', 2H, 2W)``."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, channels, 5, padding=2)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, C, H, W)``."""
        return double(functional.relu(self.norm(self.conv(x))))


class ResidualUp2d(nn.Module):
    """BN-ReLU-up-Conv3-BN-ReLU-Conv3 plus a 1x1 convolution of the doubled input: rows and columns double."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList([nn.BatchNorm2d(in_channels), nn.BatchNorm2d(channels)])
        self.convs = nn.ModuleList(
            [
                nn.Conv2d(in_channels, channels, 3, padding=1),
                nn.Conv2d(channels, channels, 3, padding=1),
            ]
        )
        self.skip = nn.Conv2d(in_channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, C, H, W)``."""
        h = self.convs[0](double(functional.relu(self.norms[0](x))))
        return self.convs[1](functional.relu(self.norms[1](h))) + double(self.skip(x))


class ConvDown2d(nn.Module):
    """Conv 5x5 of stride 2 and LeakyReLU: ``(B, C, 2H, 2W) -> (B, C', H, W)``."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, channels, 5, stride=2, padding=2)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, C, 2H, 2W)``."""
        return functional.leaky_relu(self.conv(x), 0.2)


class ResidualDown2d(nn.Module):
    """ReLU-Conv3-ReLU-Conv3-mean pool plus a 1x1 convolution of the pooled input: rows and columns halve."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList(
            [
                nn.Conv2d(in_channels, channels, 3, padding=1),
                nn.Conv2d(channels, channels, 3, padding=1),
            ]
        )
        self.skip = nn.Conv2d(in_channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, C, 2H, 2W)``."""
        h = self.convs[1](functional.relu(self.convs[0](functional.relu(x))))
        return functional.avg_pool2d(h, 2) + self.skip(functional.avg_pool2d(x, 2))


def double(x: Tensor) -> Tensor:
    """Repeat rows and columns: ``(B, C, H, W) -> (B, C, 2H, 2W)``."""
    return functional.interpolate(x, scale_factor=2, mode="nearest")
