"""Jets and their substructure against numpy and scipy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize

from simulacra.deploy.pythia.clustering import Jets, anti_kt, hardest, places, subjettiness
from simulacra.deploy.pythia.collisions import silent
from simulacra.deploy.pythia.particles import (
    Particles,
    azimuth,
    momentum,
    pseudorapidity,
    transverse,
    wrapped,
)

pytest.importorskip("fastjet", reason="jets need the extra 'jets'")


def sprays(centres: list[list[tuple[float, float, int]]]) -> Particles:
    """Events of narrow sprays: eta, phi, number of particles of 10 GeV each on average."""
    random, momenta = np.random.default_rng(4), []
    for event in centres:
        for eta, phi, n in event:
            eta_phi = np.array([eta, phi])[:, None] + random.normal(0, 0.08, (2, n))
            momenta.append(momentum(random.exponential(10, n), *eta_phi, np.zeros(n)))
    flat = np.concatenate(momenta)
    counts = np.array([sum(n for *_, n in event) for event in centres])
    order = np.concatenate(
        [
            start + random.permutation(n)
            for start, n in zip(np.cumsum(counts) - counts, counts, strict=True)
        ]
    )
    return Particles(flat[order], counts, np.zeros(len(flat), int), np.zeros((len(flat), 3)))


def found(particles: Particles, least: float = 5.0) -> Jets:
    with silent():
        return anti_kt(particles, 0.8, least)


def test_jets_of_each_event_are_sorted_and_hold_their_own_particles() -> None:
    particles = sprays([[(0.0, 3.1, 5), (1.9, -1.0, 40)], [(-1.0, 0.0, 20)]])
    jets = found(particles)
    assert jets.counts.tolist() == [2, 1]
    assert jets.sizes.tolist() == [40, 5, 20]
    assert jets.rank.tolist() == [0, 1, 0]
    assert sorted(jets.members.tolist()) == list(range(65))
    own = np.repeat(np.arange(3), jets.sizes)
    assert np.array_equal(particles.event[jets.members], jets.event[own])
    for number in range(3):
        members = particles.momenta[jets.members[own == number]]
        np.testing.assert_allclose(members.sum(0), jets.momenta[number], rtol=1e-9)
        assert (np.diff(transverse(members)) <= 0).all()
    second = jets[np.array([False, True, True])]
    assert second.counts.tolist() == [1, 1]
    assert np.array_equal(second.members, jets.members[40:])
    assert len(found(particles, least=1e6)) == 0


def test_the_hardest_jet_of_one_event_is_that_of_all_its_jets() -> None:
    particles = sprays([[(0.0, 3.1, 5), (1.9, -1.0, 40)]])
    with silent():
        assert hardest(particles.momenta, 0.8) == pytest.approx(
            transverse(found(particles).momenta).max()
        )
        assert hardest(np.zeros((0, 4)), 0.8) == 0


def test_subjettiness_is_a_minimum_over_axes() -> None:
    particles = sprays([[(0.0, 3.1, 12), (0.3, 3.3, 9)], [(-1.0, 0.0, 20)], [(0.0, 1.0, 2)]])
    jets = found(particles)
    with silent():
        values = subjettiness(particles, jets, (1, 2, 3))
        assert subjettiness(particles, jets[jets.sizes < 0], (1, 2)).shape == (0, 2)
    assert values.shape == (3, 3)
    assert values[2, 1:] == pytest.approx(0, abs=1e-6)
    assert (np.diff(values, axis=1) <= 1e-9).all()
    own = np.repeat(np.arange(3), jets.sizes)
    for number in range(3):
        members = particles.momenta[jets.members[own == number]]
        pt, eta, phi = transverse(members), pseudorapidity(members), azimuth(members)

        def tau(axis: np.ndarray, pt=pt, eta=eta, phi=phi) -> float:
            return float((pt * np.hypot(eta - axis[0], wrapped(phi - axis[1]))).sum())

        best = min(
            minimize(tau, (e, p), method="Nelder-Mead").fun for e, p in zip(eta, phi, strict=True)
        )
        assert best * (1 - 1e-6) <= values[number, 0] <= 1.02 * best


def test_places_count_from_zero_in_each_group() -> None:
    assert places(np.array([2, 0, 3])).tolist() == [0, 1, 0, 1, 2]
