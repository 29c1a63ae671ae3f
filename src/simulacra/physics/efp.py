r"""Energy-flow polynomials of jets, arXiv:1712.07124, for all multigraphs of at most four edges.

The polynomial of a graph :math:`G` with vertices :math:`1 \dots n` and edges :math:`(k, l)` is

.. math:: \mathrm{EFP}_G = \sum_{i_1} \dots \sum_{i_n} z_{i_1} \dots z_{i_n} \prod_{(k,l) \in G}
          \theta_{i_k i_l}, \qquad \theta_{ij} = \sqrt{(\eta_i - \eta_j)^2 + (\phi_i - \phi_j)^2},

with :math:`z_i` the transverse momentum as given (no normalisation): measure ``hadr`` with :math:`\beta = 1`
of the library energyflow for massless particles. A graph in several pieces is the product of its pieces.

Nobody needs :math:`N^n` terms. A vertex with one neighbour is summed into a vector,
:math:`t^{(k)}_i = \sum_j \theta_{ij}^k z_j`, one with two neighbours into the matrix
:math:`C_{ij} = \sum_k \theta_{ik} z_k \theta_{kj}`, which all graphs share: five products of a matrix and a
vector, and one of matrices, give all 21 connected graphs.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

Graph = tuple[tuple[int, int], ...]

PRIMES: dict[str, Graph] = {
    "dot": (),
    "line": ((0, 1),),
    "line2": ((0, 1), (0, 1)),
    "wedge": ((0, 1), (0, 2)),
    "line3": ((0, 1), (0, 1), (0, 1)),
    "wedge21": ((0, 1), (0, 1), (0, 2)),
    "triangle": ((0, 1), (0, 2), (1, 2)),
    "star3": ((0, 1), (0, 2), (0, 3)),
    "path4": ((0, 1), (1, 2), (2, 3)),
    "line4": ((0, 1), (0, 1), (0, 1), (0, 1)),
    "wedge31": ((0, 1), (0, 1), (0, 1), (0, 2)),
    "wedge22": ((0, 1), (0, 1), (0, 2), (0, 2)),
    "triangle2": ((0, 1), (0, 1), (0, 2), (1, 2)),
    "star211": ((0, 1), (0, 1), (0, 2), (0, 3)),
    "path211": ((0, 1), (0, 1), (1, 2), (2, 3)),
    "path121": ((0, 1), (1, 2), (1, 2), (2, 3)),
    "square": ((0, 1), (1, 2), (2, 3), (0, 3)),
    "paw": ((0, 1), (0, 2), (1, 2), (0, 3)),
    "star4": ((0, 1), (0, 2), (0, 3), (0, 4)),
    "fork": ((0, 1), (0, 2), (0, 3), (3, 4)),
    "path5": ((0, 1), (1, 2), (2, 3), (3, 4)),
}
"""All connected multigraphs of at most four edges. Digits in a name are the multiplicities of its edges."""

D4: tuple[tuple[str, ...], ...] = (
    *((name,) for name in ("dot", "line", "line2", "line3", "line4")),
    *((name,) for name in ("wedge", "wedge21", "wedge31", "wedge22", "triangle", "triangle2")),
    *((name,) for name in ("star3", "star211", "path4", "path211", "path121", "paw", "square")),
    *((name,) for name in ("star4", "fork", "path5")),
    *(("line", name) for name in ("line", "line2", "line3")),
    ("line2", "line2"),
    ("line", "wedge"),
    ("line2", "wedge"),
    *(("line", name) for name in ("wedge21", "triangle")),
    ("line", "line", "line"),
    *(("line", name) for name in ("star3", "path4")),
    ("wedge", "wedge"),
    *(("line", "line", name) for name in ("line2", "wedge")),
    ("line", "line", "line", "line"),
)
"""The 36 polynomials of at most four edges, in energyflow's order for ``EFPSet("d<=4")``: connected ones
by number of vertices, then products."""
N4_D4 = (("star211",), ("path211",), ("path121",), ("paw",), ("square",))
"""The connected ones of four vertices and four edges, in energyflow's order: those of W1EFP."""

VALUES_PER_CHUNK = 2**16
"""Pairs of particles at a time: 512 KiB per matrix, so that the few in use stay in the cache."""


def efps(jets: Tensor, names: tuple[tuple[str, ...], ...] = D4) -> Tensor:
    """Energy-flow polynomials of each jet.

    Args:
        jets: Rapidity or pseudorapidity, azimuth [rad] and transverse momentum of particles ``(B, N, 3)``,
            with momentum 0 for padding.
        names: Polynomials, each as the names of its connected pieces.

    Returns:
        float64 ``(B, len(names))``.
    """
    step = max(1, VALUES_PER_CHUNK // max(1, jets.shape[1] ** 2))
    columns = jets.double().permute(2, 0, 1).contiguous()
    parts = [primes(*part.unbind(0)) for part in columns.split(step, dim=1)]
    values = {name: torch.cat([part[name] for part in parts]) for name in PRIMES}
    return torch.stack([torch.stack([values[p] for p in name]).prod(0) for name in names], 1)


def primes(eta: Tensor, phi: Tensor, pt: Tensor) -> dict[str, Tensor]:
    """The polynomials ``PRIMES`` of all jets at once, ``(B,)`` each; arguments ``(B, N)`` each."""
    z, column = pt, pt[..., None]
    square = squared_distances(eta, phi)
    theta = square.sqrt()
    weighted = theta * z[:, None]
    chain = torch.bmm(weighted, theta)  # C
    t = torch.bmm(theta, column)[..., 0]
    zt = z * t
    u = torch.bmm(theta, zt[..., None])[..., 0]
    both = torch.bmm(square, torch.stack([z, zt], 2))
    t2, v = both.unbind(2)
    t3 = torch.mul(weighted, square).sum(2)
    loop = weighted.mul_(chain).sum(2)  # closed walks of three steps through a vertex
    doubled = torch.bmm(square * chain, column)[..., 0]
    t4 = torch.bmm(square.square_(), column)[..., 0]
    walks = torch.bmm(chain.square_(), column)[..., 0]
    return {
        "dot": z.sum(1),
        "line": zt.sum(1),
        "line2": _dot(z, t2),
        "wedge": _dot(zt, t),
        "line3": _dot(z, t3),
        "wedge21": _dot(zt, t2),
        "triangle": _dot(z, loop),
        "star3": _dot(zt, t.square()),
        "path4": _dot(zt, u),
        "line4": _dot(z, t4),
        "wedge31": _dot(zt, t3),
        "wedge22": _dot(z, t2.square()),
        "triangle2": _dot(z, doubled),
        "star211": _dot(zt * t, t2),
        "path211": _dot(z * t2, u),
        "path121": _dot(zt, v),
        "square": _dot(z, walks),
        "paw": _dot(zt, loop),
        "star4": _dot(z, t.square().square()),
        "fork": _dot(zt * t, u),
        "path5": _dot(z, u.square()),
    }


def squared_distances(eta: Tensor, phi: Tensor) -> Tensor:
    """Squared distances of all particles from each other ``(B, N, N)``, across the azimuth's seam too."""
    squared = (eta[:, :, None] - eta[:, None]).square_()
    across = phi[:, :, None] - phi[:, None]
    if bool((phi.abs() > math.pi / 2).any()):
        across = math.pi - (across.abs() - math.pi).abs()
    return squared.add_(across.square_())


def _dot(first: Tensor, second: Tensor) -> Tensor:
    return (first * second).sum(1)
