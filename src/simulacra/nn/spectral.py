"""Layers whose largest gain is one, so that the slope of a network of them is bounded.

Reference: Miyato, Kataoka, Koyama, Yoshida, arXiv:1802.05957.
"""

from __future__ import annotations

from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
"""Those that are divided by their largest gain; a locally connected layer is not."""


def bounded(network: nn.Module) -> None:
    """Divide the weights of all linear layers and convolutions by an estimate of their largest gain, which
    follows the weights in training and is held in evaluation.
    """
    for layer in list(network.modules()):
        if isinstance(layer, LAYERS):
            spectral_norm(layer)
