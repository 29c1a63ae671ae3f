"""Layers whose largest gain is one."""

from __future__ import annotations

import torch
from torch import nn

from simulacra.nn.spectral import bounded


def test_layers_have_a_largest_gain_of_one_after_some_steps_and_keep_it_in_evaluation() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(2, 5, 1), nn.Flatten(), nn.Linear(45, 7), nn.BatchNorm1d(7))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(20)
    bounded(network)
    for _ in range(50):
        network(torch.randn(4, 2, 3, 3))
    network.eval()
    for layer, shape in ((network[0], (5, 2)), (network[2], (7, 45))):
        gains = torch.linalg.svdvals(layer.weight.view(shape))
        torch.testing.assert_close(gains[0], torch.tensor(1.0), atol=1e-3, rtol=0)
    before = network.state_dict()
    kept = {name: value.clone() for name, value in before.items()}
    network(torch.randn(4, 2, 3, 3))
    assert all(torch.equal(value, kept[name]) for name, value in network.state_dict().items())


def test_the_start_is_that_of_the_network_up_to_a_factor_of_each_layer() -> None:
    torch.manual_seed(0)
    layer = nn.Linear(4, 3)
    before = layer.weight.detach().clone()
    bounded(nn.Sequential(layer))
    ratio = layer.weight / before
    torch.testing.assert_close(ratio, ratio[0, 0].expand(3, 4))
