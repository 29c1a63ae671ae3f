r"""A small classifier of single sensor images, whose last hidden layer are features for FID and KID.

Charges enter as :math:`\log(1 + q)/\log 256`. Convolutions with batch normalisation halve or keep the size,
the mean over all rows and over each of four bands of columns keeps where along the sensor something is, and
a linear map gives the features, which have mean 0 and variance 1 over the images of the training. A linear
map for each question reads the answer from their positive parts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from simulacra.core import UserError
from simulacra.core.archive import read_archive

BANDS = 4
"""Bands of columns over which features are averaged."""
LARGEST = math.log(256.0)
"""Logarithm of the largest charge of a pixel [ADU], plus 1."""


class SensorNet(nn.Module):
    """The network; :meth:`forward` gives features.

    Args:
        classes: Number of answers to each question.
        strides: By what each convolution divides rows and columns.
        widths: Channels of the convolutions.
        features: Number of features.
    """

    def __init__(
        self,
        classes: Sequence[int],
        strides: Sequence[int],
        widths: Sequence[int] = (16, 16, 32, 64),
        features: int = 64,
    ) -> None:
        super().__init__()
        if len(strides) != len(widths):
            raise UserError(f"{len(widths)} convolutions need as many strides, got {len(strides)}")
        layers: list[nn.Module] = []
        for before, width, stride in zip((1, *widths[:-1]), widths, strides, strict=True):
            kernel = max(3, 2 * stride - 1)
            layers += [
                nn.Conv2d(before, width, kernel, stride, kernel // 2, bias=False),
                nn.BatchNorm2d(width),
                nn.ReLU(),
            ]
        self.convs = nn.Sequential(*layers)
        self.out = nn.Linear(BANDS * widths[-1], features, bias=False)
        self.norm = nn.BatchNorm1d(features, affine=False)
        self.heads = nn.ModuleList([nn.Linear(features, number) for number in classes])

    def forward(self, images: Tensor) -> Tensor:
        """Images of charges ``(n, 1, rows, cols)`` [ADU] to features ``(n, F)``."""
        found = self.convs(images.log1p() / LARGEST)
        banded = functional.adaptive_avg_pool2d(found, (1, BANDS)).flatten(1)
        normed: Tensor = self.norm(self.out(banded))
        return normed

    def answers(self, images: Tensor) -> list[Tensor]:
        """Logits ``(n, classes)`` of each question."""
        features = functional.relu(self(images))
        return [head(features) for head in self.heads]


def save_net(net: SensorNet, path: Path) -> None:
    """Write weights and sizes, plain tensors and numbers alone."""
    convs = [layer for layer in net.convs if isinstance(layer, nn.Conv2d)]
    sizes = {
        "classes": [head.out_features for head in net.heads if isinstance(head, nn.Linear)],
        "strides": [layer.stride[0] for layer in convs],
        "widths": [layer.out_channels for layer in convs],
        "features": net.out.out_features,
    }
    torch.save({**sizes, "state": dict(net.state_dict())}, path)


def load_net(path: Path) -> SensorNet:
    """A network in evaluation mode; nothing in the file is code.

    Raises:
        UserError: If the file is missing, damaged, or holds another network or values that are not finite.
    """
    if not path.is_file():
        raise UserError(f"there is no file of a sensor network {path}")
    found = read_archive(path, "file of a sensor network")
    try:
        classes, strides, widths = (
            [int(item) for item in found[key]] for key in ("classes", "strides", "widths")
        )
        net = SensorNet(classes, strides, widths, int(found["features"]))
        net.load_state_dict(found["state"])
    except (KeyError, TypeError, ValueError, RuntimeError, AttributeError) as error:
        reason = " ".join(str(error).split())[:100]
        raise UserError(f"{path} holds no sensor network ({reason})") from error
    if not all(bool(value.isfinite().all()) for value in net.state_dict().values()):
        raise UserError(f"{path} holds weights that are not finite: get the file again")
    return net.eval()
