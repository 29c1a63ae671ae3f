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
from collections.abc import Sequence

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

VALUES_PER_CHUNK = 2**15
"""Pairs of particles at a time: 256 KiB per matrix, so that the few in use stay in the cache."""


def efps(jets: Tensor, names: tuple[tuple[str, ...], ...] = D4) -> Tensor:
    """Energy-flow polynomials of each jet.

    Args:
        jets: Rapidity or pseudorapidity, azimuth [rad] and transverse momentum of particles ``(B, N, 3)``,
            with momentum 0 for padding.
        names: Polynomials, each as the names of its connected pieces.

    Returns:
        float64 ``(B, len(names))``.
    """
    values = primes(*jets.detach().double().permute(2, 0, 1).contiguous().unbind(0))
    return torch.stack([torch.stack([values[p] for p in name]).prod(0) for name in names], 1)


def primes(eta: Tensor, phi: Tensor, pt: Tensor) -> dict[str, Tensor]:
    """The polynomials ``PRIMES``, ``(B,)`` each, of particles ``(B, N)``, float64."""
    z = pt
    t, t2, t3, t4, u, v, loop, doubled, walks = _sums(eta, phi, pt)
    zt = z * t
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


def _sums(eta: Tensor, phi: Tensor, z: Tensor) -> Tensor:
    """Sums over all other vertices, per particle of the one that is left ``(9, B, N)``.

    The matrices of all chunks are written to the same memory.
    """
    step = max(1, VALUES_PER_CHUNK // max(1, z.shape[1] ** 2))
    room = z.new_empty(4, min(step, len(z)), z.shape[1], z.shape[1])
    found = z.new_empty(9, *z.shape)
    seam = crosses_seam(phi)
    for start in range(0, len(z), step):
        jets = slice(start, start + step)
        matrices = room[:, : len(z[jets])].unbind(0)
        sums = found[:, jets, :, None].unbind(0)
        _chunk(eta[jets], phi[jets], z[jets], matrices, sums, seam)
    return found


def _chunk(
    eta: Tensor, phi: Tensor, z: Tensor, room: Sequence[Tensor], found: Sequence[Tensor], seam: bool
) -> None:
    square, theta, weighted, chain = room
    t, t2, t3, t4, u, v, loop, doubled, walks = found
    column = z[..., None]
    squared_distances(eta, phi, square, theta, seam)
    torch.sqrt(square, out=theta)
    torch.mul(theta, z[:, None], out=weighted)
    torch.bmm(weighted, theta, out=chain)  # C
    torch.sum(weighted, 2, keepdim=True, out=t)
    zt = column * t
    torch.bmm(theta, zt, out=u)
    torch.bmm(square, column, out=t2)
    torch.bmm(square, zt, out=v)
    torch.sum(torch.mul(weighted, square, out=theta), 2, keepdim=True, out=t3)
    torch.sum(weighted.mul_(chain), 2, keepdim=True, out=loop)  # closed walks of three steps
    torch.bmm(torch.mul(square, chain, out=theta), column, out=doubled)
    torch.bmm(square.square_(), column, out=t4)
    torch.bmm(chain.square_(), column, out=walks)


def crosses_seam(phi: Tensor) -> bool:
    """Whether differences of azimuths [rad] may need wrapping."""
    return bool((phi.abs() > math.pi / 2).any())


def squared_distances(eta: Tensor, phi: Tensor, out: Tensor, spare: Tensor, seam: bool) -> Tensor:
    """Squared distances of particles ``(B, N)`` from each other.

    Args:
        eta: Rapidity.
        phi: Azimuth [rad].
        out: What is written ``(B, N, N)``.
        spare: Memory of the same shape.
        seam: Whether to wrap differences of azimuths.
    """
    torch.sub(eta[:, :, None], eta[:, None], out=out).square_()
    torch.sub(phi[:, :, None], phi[:, None], out=spare)
    if seam:
        spare.abs_().sub_(math.pi).abs_().neg_().add_(math.pi)
    return out.addcmul_(spare, spare)


def _dot(first: Tensor, second: Tensor) -> Tensor:
    return (first * second).sum(1)
