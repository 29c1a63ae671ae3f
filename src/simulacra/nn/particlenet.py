r"""ParticleNet with the layers and parameter names of FPND's classifier (arXiv:2106.11535, appendix B).

A block of edge convolution (arXiv:1902.08570) joins each particle to its :math:`k = 16` nearest neighbours,
in :math:`(\eta, \phi)` in the first block and among all its features later, and averages over them

.. math:: x_i' = \frac1k \sum_j h(x_i, x_j - x_i) \oplus x_i .

Three blocks of 64, 128 and 256 features are averaged over the particles and mapped to 256 activations, whose
Fréchet distance from those of real jets is FPND.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from simulacra.core import UserError
from simulacra.core.archive import read_archive

NEIGHBOURS = 16
WIDTHS = (64, 128, 256)
ACTIVATIONS, CLASSES = 256, 5


class EdgeNet(nn.Module):
    """Three linear layers with batch normalisation, on pairs of particles."""

    def __init__(self, features: int, width: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for size in (2 * features, width, width):
            layers += [nn.Linear(size, width), nn.BatchNorm1d(width), nn.ReLU()]
        self.model = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """``(n, 2 * features)`` to ``(n, width)``."""
        return self.model(x)


class ParticleNet(nn.Module):
    """The network; :meth:`forward` gives the activations of FPND.

    Args:
        features: Features of a particle.
    """

    def __init__(self, features: int = 3) -> None:
        super().__init__()
        nets, size = [], features
        for width in WIDTHS:
            nets.append(EdgeNet(size, width))
            size += width
        self.edge_nets = nn.ModuleList(nets)
        self.fc1 = nn.Sequential(nn.Linear(size, ACTIVATIONS))
        self.fc2 = nn.Linear(ACTIVATIONS, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """Normalised particles ``(B, N, F)`` to activations ``(B, 256)``; padding counts as particles."""
        for number, net in enumerate(self.edge_nets):
            near = _neighbours(x[..., :2] if number == 0 else x)  # (B, N, k)
            others = x.gather(1, near.flatten(1)[..., None].expand(-1, -1, x.shape[-1]))
            others = others.unflatten(1, near.shape[1:])  # (B, N, k, F)
            centre = x[:, :, None].expand_as(others)
            pairs = torch.cat([centre, others - centre], -1)
            edges = net(pairs.flatten(0, 2)).unflatten(0, pairs.shape[:3])
            x = torch.cat([edges.mean(2), x], -1)
        return self.fc1(x.mean(1))


def _neighbours(x: Tensor) -> Tensor:
    distance = torch.cdist(x, x, compute_mode="donot_use_mm_for_euclid_dist")
    itself = torch.eye(x.shape[1], dtype=torch.bool, device=x.device)
    distance = distance.masked_fill(itself, torch.inf)
    return distance.topk(min(NEIGHBOURS, x.shape[1] - 1), largest=False).indices


def load(path: str | Path) -> ParticleNet:
    """The network with published weights, in evaluation mode.

    Args:
        path: State dictionary ``pnet_state_dict.pt``.

    Raises:
        UserError: If the file is missing, damaged, or holds code, other or non-finite parameters.
    """
    if not Path(path).is_file():
        raise UserError(f"there is no file of ParticleNet weights {path}")
    found = read_archive(Path(path), "file of ParticleNet weights")
    network = ParticleNet()
    state = {}
    for name, mine in network.state_dict().items():
        value = found.get(name)
        if not isinstance(value, Tensor) or value.shape != mine.shape:
            raise UserError(
                f"{path} holds no ParticleNet of FPND: {name} is missing or has another shape"
            )
        if not bool(value.isfinite().all()):
            raise UserError(
                f"{path} holds values of {name} that are not finite: get the file again"
            )
        state[name] = value
    network.load_state_dict(state)
    return network.eval()
