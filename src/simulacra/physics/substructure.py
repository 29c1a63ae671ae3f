r"""N-subjettiness and energy correlation functions of jets, all jets at once.

With :math:`\Delta R_{ia}` the distance of particle :math:`i` from axis :math:`a` in rapidity and azimuth,

.. math:: \tau_N = \frac{\sum_i p_{T,i} \min_{a \le N} \Delta R_{ia}}{\sum_i p_{T,i}}, \qquad
          \tau_{21} = \tau_2 / \tau_1, \quad \tau_{32} = \tau_3 / \tau_2

(:math:`\beta = 1`, arXiv:1011.2268 eq. 2.1 with :math:`R_0 = 1`, which drops out of the ratios). The axes are
those of exclusive :math:`k_T` clustering (E scheme, massless particles), with no minimisation. With

.. math:: e_2 = \sum_{i<j} z_i z_j \Delta R_{ij}, \qquad e_3 = \sum_{i<j<k} z_i z_j z_k
          \Delta R_{ij} \Delta R_{ik} \Delta R_{jk}, \qquad z_i = p_{T,i} / \sum_j p_{T,j},

:math:`D_2 = e_3 / e_2^3` (:math:`\beta = 1`, arXiv:1409.6298 eq. 1.2), as in fastjet contrib; energyflow sums
over ordered tuples, so that its value is 3/4 of this one.

A ratio whose denominator is 0 is NaN: :math:`\tau_{21}` and :math:`D_2` below two particles,
:math:`\tau_{32}` below three. Particles without transverse momentum do not count.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from simulacra.physics.efp import VALUES_PER_CHUNK, crosses_seam, squared_distances

PARTICLES_PER_CHUNK = 2**16
"""Particles that are clustered together: enough to hide the cost of a step, few enough for the cache."""
SUBJETS = (1, 2, 3)
MAX_ETA = 300.0
"""Beyond it momenta overflow."""


def subjettiness(eta: Tensor, phi: Tensor, pt: Tensor) -> Tensor:
    r""":math:`\tau_1, \tau_2, \tau_3` about kT axes.

    Args:
        eta: Pseudorapidity of particles ``(B, N)``.
        phi: Azimuth [rad] ``(B, N)``.
        pt: Transverse momentum ``(B, N)`` in any unit; particles with 0 or less do not count.

    Returns:
        float64 ``(B, 3)``, 0 where a jet has no more particles than axes, NaN for empty jets and for those
        with particles that are not finite or beyond ``MAX_ETA``.
    """
    eta, phi, pt = (value.detach().double() for value in (eta, phi, pt))
    good = (eta.abs() < MAX_ETA) & phi.isfinite() & pt.isfinite()
    counts = torch.where((good | (pt <= 0)).all(1), (pt > 0).sum(1), 0)
    eta, phi, pt = (torch.where(good & (pt > 0), value, 0.0) for value in (eta, phi, pt))
    found = pt.new_full((len(pt), len(SUBJETS)), torch.nan)
    order = counts.argsort(descending=True, stable=True)
    step = max(1, PARTICLES_PER_CHUNK // max(1, pt.shape[1]))
    order = order[: int((counts > 0).sum())]
    for start in range(0, len(order), step):
        jets = order[start : start + step]
        number = counts[jets]
        ranked, rank = pt[jets].sort(dim=1, descending=True, stable=True)
        width = int(number[0])
        columns = [value[jets].gather(1, rank)[:, :width] for value in (eta, phi)]
        axes = kt_axes(columns[0], columns[1], ranked[:, :width], number)
        found[jets] = _subjettiness(columns, ranked[:, :width], number, axes)
    return found


def _subjettiness(
    columns: list[Tensor], pt: Tensor, number: Tensor, axes: dict[int, tuple[Tensor, Tensor]]
) -> Tensor:
    eta, phi = columns
    taus = []
    for subjets, (y, angle) in axes.items():
        across = _wrapped(phi[..., None] - angle[:, None])
        distance = torch.hypot(eta[..., None] - y[:, None], across)  # (B, N, k)
        tau = (pt * distance.amin(2)).sum(1) / pt.sum(1)
        taus.append(torch.where(number > subjets, tau, 0.0))
    return torch.stack(taus, 1)


def kt_axes(
    eta: Tensor, phi: Tensor, pt: Tensor, number: Tensor
) -> dict[int, tuple[Tensor, Tensor]]:
    r"""Rapidity and azimuth of the exclusive kT subjets of each jet.

    The pair with the smallest :math:`\min(p_{T,i}^2, p_{T,j}^2) \Delta R_{ij}^2` is summed until
    :math:`k` subjets are left. Only each particle's nearest neighbour can be its partner, so a step costs
    :math:`O(N)` instead of :math:`O(N^2)` (hep-ph/0512210).

    Args:
        eta: Pseudorapidity ``(B, N)``.
        phi: Azimuth [rad] ``(B, N)``.
        pt: Transverse momentum ``(B, N)``; the particles come first, padding is 0.
        number: Particles of each jet ``(B,)``, falling.

    Returns:
        For each ``k`` in ``SUBJETS`` two tensors ``(B, k)``; 0 where a jet has fewer particles.
    """
    jets = _Clusters(eta, phi, pt)
    axes = {k: (pt.new_zeros(len(pt), k), pt.new_zeros(len(pt), k)) for k in SUBJETS}
    for step in range(int(number[0])):
        left = number - step
        for k, (y, angle) in axes.items():
            low, high = int((left > k).sum()), int((left >= k).sum())
            if high > low:
                y[low:high], angle[low:high] = jets.y[low:high, :k], jets.phi[low:high, :k]
        merging = left[left > 1]
        if len(merging):
            jets.merge(merging)
    return axes


class _Clusters:
    r"""Momenta of the clusters of each jet, with each cluster's nearest neighbour.

    Sums of :math:`p_T e^{\pm y}, p_x, p_y` are kept, from which direction and transverse momentum follow.
    The clusters of a jet are always its first columns; what lies behind them has infinite rapidity.
    """

    def __init__(self, eta: Tensor, phi: Tensor, pt: Tensor) -> None:
        self.wrap = bool((phi.abs() > math.pi / 2).any())
        parts = (eta.exp(), (-eta).exp(), phi.cos(), phi.sin())
        self.momentum = torch.stack([pt * part for part in parts], 2)  # (B, N, 4)
        self.y, self.phi = torch.where(pt > 0, eta, math.inf), phi.clone()
        self.squared = torch.where(pt > 0, pt.square(), 1.0)
        self.near = torch.full_like(pt, math.inf)
        self.partner = torch.full(pt.shape, -1, device=pt.device)
        for column in range(pt.shape[1]):
            rows = (pt[:, column] > 0).nonzero()[:, 0]
            self._find(pt.shape[1], rows, torch.full_like(rows, column))

    def merge(self, left: Tensor) -> None:
        """Sum the closest pair of each of the first jets, which have ``left`` clusters ``(b,)``, falling."""
        jets, width, last = len(left), int(left[0]), left - 1
        rows = torch.arange(jets, device=self.y.device)
        near, partner = self.near[:jets, :width], self.partner[:jets, :width]
        first = (self.squared[:jets, :width] * near).argmin(1)
        second = partner[rows, first]
        kept, gone = torch.minimum(first, second), torch.maximum(first, second)
        lost = (partner == kept[:, None]) | (partner == gone[:, None])
        partner.copy_(torch.where(partner == last[:, None], gone[:, None], partner))
        total = self.momentum[rows, kept] + self.momentum[rows, gone]
        for values in (
            self.momentum,
            self.y,
            self.phi,
            self.squared,
            self.near,
            self.partner,
            lost,
        ):
            values[rows, gone] = values[rows, last]  # the last cluster fills the gap
        self._put(rows, kept, total)
        self.y[rows, last], self.near[rows, last], self.partner[rows, last] = math.inf, math.inf, -1
        lost[rows, kept], lost[rows, last] = True, False
        self._find(width, *lost.nonzero(as_tuple=True))
        distance = self._distances(rows, kept, width)
        closer = distance < near
        near.copy_(torch.where(closer, distance, near))
        partner.copy_(torch.where(closer, kept[:, None], partner))

    def _put(self, rows: Tensor, columns: Tensor, momentum: Tensor) -> None:
        plus, minus, x, y = momentum.unbind(1)
        self.momentum[rows, columns] = momentum
        self.y[rows, columns] = 0.5 * (plus / minus).log()
        self.phi[rows, columns] = torch.atan2(y, x)
        self.squared[rows, columns] = x.square() + y.square()

    def _find(self, width: int, rows: Tensor, columns: Tensor) -> None:
        """Nearest neighbours of the clusters ``columns`` of the jets ``rows``, ``(K,)`` each."""
        nearest = self._distances(rows, columns, width).min(1)
        self.near[rows, columns] = nearest.values
        self.partner[rows, columns] = nearest.indices

    def _distances(self, rows: Tensor, columns: Tensor, width: int) -> Tensor:
        """Squared distance to the clusters of the same jet ``(K, width)``, infinite to itself."""
        y, phi = (value.index_select(0, rows)[:, :width] for value in (self.y, self.phi))
        y.sub_(y.gather(1, columns[:, None])).square_()
        phi.sub_(phi.gather(1, columns[:, None]))
        squared = y.add_((_wrapped(phi) if self.wrap else phi).square_())
        return squared.scatter_(1, columns[:, None], math.inf)


def correlators(eta: Tensor, phi: Tensor, pt: Tensor) -> Tensor:
    """Normalised energy correlation functions of two and three particles; arguments as :func:`subjettiness`.

    Returns:
        float64 ``(B, 2)``; NaN for empty jets.
    """
    share = pt.detach().double().clamp_min(0)
    share = share / torch.where(share > 0, share, 0.0).sum(1, keepdim=True)
    eta, phi = (value.detach().double() for value in (eta, phi))
    step = max(1, VALUES_PER_CHUNK // max(1, pt.shape[1] ** 2))
    room = share.new_empty(3, min(step, len(pt)), pt.shape[1], pt.shape[1])
    found = share.new_empty(len(pt), 2)
    for start in range(0, len(pt), step):
        jets = slice(start, start + step)
        found[jets] = _correlators(eta[jets], phi[jets], share[jets], room[:, : len(pt[jets])])
    return found


def _correlators(eta: Tensor, phi: Tensor, share: Tensor, room: Tensor) -> Tensor:
    distance, weighted, chain = room
    squared_distances(eta, phi, distance, weighted, crosses_seam(phi)).sqrt_()
    torch.mul(distance, share[:, None], out=weighted)
    torch.bmm(weighted, distance, out=chain)
    pairs, triples = weighted.sum(2), chain.mul_(weighted).sum(2)
    return torch.stack([(share * pairs).sum(1) / 2, (share * triples).sum(1) / 6], 1)


def prongs(eta: Tensor, phi: Tensor, pt: Tensor) -> dict[str, Tensor]:
    """``tau21`` and ``tau32``, float64 ``(B,)``; arguments as for :func:`subjettiness`."""
    one, two, three = subjettiness(eta, phi, pt).unbind(1)
    return {
        "tau21": two / torch.where(one > 0, one, torch.nan),
        "tau32": three / torch.where(two > 0, two, torch.nan),
    }


def ratios(eta: Tensor, phi: Tensor, pt: Tensor) -> dict[str, Tensor]:
    """The same and ``d2``."""
    second, third = correlators(eta, phi, pt).unbind(1)
    d2 = third / torch.where(second > 0, second, torch.nan).pow(3)
    return {**prongs(eta, phi, pt), "d2": d2}


def _wrapped(angle: Tensor) -> Tensor:
    """In [-pi, pi]."""
    return torch.remainder(angle + math.pi, 2 * math.pi) - math.pi
