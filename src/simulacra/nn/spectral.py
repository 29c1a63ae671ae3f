"""Layers whose largest gain is one, so that the slope of a network of them is bounded.

:func:`bounded` lets the estimate of a gain follow the weights each time that they are used in training. Where
the same weights must come out twice in a step, as they must where inner values are recomputed, estimates
rest (:func:`hold`) and follow when they are told to (:func:`advance`).

Reference: Miyato, Kataoka, Koyama, Yoshida, arXiv:1802.05957.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn.utils import parametrize
from torch.nn.utils.parametrizations import spectral_norm

LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
"""Those that are divided by their largest gain; a locally connected layer is not."""


def bounded(
    network: nn.Module, layers: tuple[type[nn.Module], ...] = LAYERS, eps: float = 1e-12
) -> None:
    """Divide the weights of all linear layers and convolutions by an estimate of their largest gain, which
    follows the weights in training and is held in evaluation. Weights on the meta device have no gain, and
    stay.

    Args:
        network: Whose layers.
        layers: Kinds of layers that are bounded.
        eps: Smallest norm that is divided by in an estimate.
    """
    for layer in list(network.modules()):
        if isinstance(layer, layers) and not layer.weight.is_meta:
            spectral_norm(layer, eps=eps)


def hold(network: nn.Module) -> None:
    """Let the estimates of all bounded layers rest from now on, in training, too."""
    for _, part in estimates(network):
        part.n_power_iterations = 0


@torch.no_grad()
def advance(network: nn.Module) -> None:
    """Let estimates that rest follow the weights by one step of the power iteration; in training mode."""
    for layer, part in estimates(network):
        part.n_power_iterations = 1
        _ = layer.weight
        part.n_power_iterations = 0


def estimates(network: nn.Module) -> list[tuple[nn.Module, Any]]:
    """Bounded layers, each with what estimates its gain."""
    return [
        (layer, layer.parametrizations["weight"][0])  # type: ignore[index]  # a module dictionary
        for layer in network.modules()
        if parametrize.is_parametrized(layer, "weight")
    ]
