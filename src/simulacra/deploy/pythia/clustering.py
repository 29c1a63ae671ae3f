"""Jets of FastJet and their substructure, for the particles of many events at once.

FastJet and awkward are imported where they are called, since they belong to the extra ``jets``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from simulacra.deploy.pythia.particles import Floats, Integers, Particles, transverse


@dataclass(frozen=True)
class Jets:
    """Jets of ``n`` events, one event after the other, those of an event by falling transverse momentum.

    Args:
        momenta: ``(J, 4)`` with px, py, pz, E [GeV].
        counts: Jets of each event ``(n,)``.
        members: Places of the constituents among the particles that were clustered ``(M,)``, those of a jet
            together, by falling transverse momentum.
        sizes: Constituents of each jet ``(J,)``.
    """

    momenta: Floats
    counts: Integers
    members: Integers
    sizes: Integers

    def __len__(self) -> int:
        return len(self.momenta)

    @property
    def event(self) -> Integers:
        """Number of the event of each jet ``(J,)``."""
        return np.repeat(np.arange(len(self.counts)), self.counts)

    @property
    def rank(self) -> Integers:
        """Place of each jet in its event ``(J,)``, from 0."""
        return places(self.counts)

    def __getitem__(self, chosen: np.ndarray) -> Jets:
        """The jets of a mask ``(J,)``."""
        kept = np.repeat(chosen, self.sizes)
        counts = np.bincount(self.event[chosen], minlength=len(self.counts))
        return Jets(self.momenta[chosen], counts, self.members[kept], self.sizes[chosen])


def places(counts: Integers) -> Integers:
    """Place of each member in its group, for groups of so many members one after the other."""
    first = np.cumsum(counts) - counts
    return np.arange(int(counts.sum())) - np.repeat(first, counts)


def anti_kt(particles: Particles, radius: float, least: float) -> Jets:
    """Anti-kT jets (E-scheme) of each event.

    Args:
        particles: What is clustered.
        radius: The jets' radius parameter.
        least: Smallest transverse momentum of a jet [GeV].

    Reference: Cacciari, Salam, Soyez 2008, arXiv:0802.1189.
    """
    import awkward
    import fastjet

    definition = fastjet.JetDefinition(fastjet.antikt_algorithm, radius)
    clusters = fastjet.ClusterSequence(_jagged(particles.momenta, particles.counts), definition)
    found, members = clusters.inclusive_jets(least), clusters.constituent_index(least)
    flat = awkward.flatten(found)
    momenta = np.stack([awkward.to_numpy(flat[axis]) for axis in ("px", "py", "pz", "E")], -1)
    counts = awkward.to_numpy(awkward.num(found)).astype(np.int64)
    sizes = awkward.to_numpy(awkward.flatten(awkward.num(members, axis=2))).astype(np.int64)
    inside = awkward.to_numpy(awkward.flatten(members, axis=None)).astype(np.int64)
    event = np.repeat(np.arange(len(counts)), counts)
    first = np.cumsum(particles.counts) - particles.counts
    inside = inside + np.repeat(first[event], sizes)

    order = np.lexsort((-transverse(momenta), event))
    new = np.empty_like(order)
    new[order] = np.arange(len(order))
    within = np.lexsort((-transverse(particles.momenta[inside]), np.repeat(new, sizes)))
    return Jets(momenta[order], counts, inside[within], sizes[order])


def hardest(momenta: Floats, radius: float) -> float:
    """Transverse momentum of the hardest anti-kT jet of one event ``(P, 4)`` [GeV], 0 where there is none.

    It costs less than :func:`anti_kt` for a single event.
    """
    import fastjet

    definition = fastjet.JetDefinition(fastjet.antikt_algorithm, radius)
    clusters = fastjet.ClusterSequence(
        [fastjet.PseudoJet(*p) for p in momenta.tolist()], definition
    )
    return max((jet.pt() for jet in clusters.inclusive_jets()), default=0.0)


def subjettiness(particles: Particles, jets: Jets, orders: Sequence[int]) -> Floats:
    r"""N-subjettiness :math:`\tau_N = \sum_i p_{T,i} \min_k \Delta R_{ik}` of each jet ``(J, orders)`` [GeV].

    Beta is 1, nothing is normalised, and the axes are those of exclusive kT after one pass of minimisation.
    A jet of at most N particles has 0.

    Reference: Thaler, Van Tilburg 2011, arXiv:1108.2701.
    """
    import awkward
    import fastjet

    if not len(jets):
        return np.zeros((0, len(orders)))
    constituents = _jagged(particles.momenta[jets.members], jets.sizes)
    definition = fastjet.JetDefinition(fastjet.kt_algorithm, 1.0)
    values = fastjet.ClusterSequence(constituents, definition).njettiness(
        measure_definition="UnnormalizedMeasure",
        axes_definition="OnePass_KT_Axes",
        njets=list(orders),
        beta=1.0,
    )
    return np.asarray(awkward.to_numpy(values), np.float64)


def _jagged(momenta: Floats, counts: Integers) -> Any:
    """Momenta of all events as FastJet takes them."""
    import awkward

    columns = zip(("px", "py", "pz", "E"), np.ascontiguousarray(momenta.T), strict=True)
    flat = awkward.zip(dict(columns), with_name="Momentum4D")
    return awkward.unflatten(flat, counts)
