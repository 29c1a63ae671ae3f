"""The toy detector against the numbers of its description."""

from __future__ import annotations

import numpy as np
import pytest

from simulacra.deploy.pythia.detector import (
    Calorimeter,
    Detector,
    Tracker,
    electromagnetic,
    hadronic,
)
from simulacra.deploy.pythia.particles import (
    Particles,
    azimuth,
    mass,
    momentum,
    pseudorapidity,
    transverse,
    wrapped,
)

N = 20_000


def gun(
    pdg: int, pt: float, eta: float, n: int = N, mass: float = 0.14, at: tuple = (0, 0, 0)
) -> Particles:
    """One particle per event, at random azimuth, and at eta with both signs."""
    random = np.random.default_rng(3)
    side, phi = random.choice([-1, 1], n), random.uniform(-np.pi, np.pi, n)
    momenta = momentum(np.full(n, pt), side * eta, phi, np.full(n, mass))
    return Particles(momenta, np.ones(n, int), np.full(n, pdg), np.tile(np.float64(at), (n, 1)))


def share(found: np.ndarray, expected: float) -> None:
    error = max(np.sqrt(expected * (1 - expected) / len(found)), 1e-9)
    assert abs(found.mean() - expected) < 4 * error, (found.mean(), expected)


@pytest.mark.parametrize(
    ("pdg", "pt", "eta", "expected"),
    [
        (211, 0.4, 0.3, 0.0), (-211, 0.7, 0.3, 0.85), (321, 5.0, 1.4, 0.95), (2212, 0.7, 1.6, 0.75),
        (-11, 5.0, 2.4, 0.85), (13, 0.8, 1.0, 0.6), (-13, 40.0, 2.0, 0.98), (211, 5.0, 2.6, 0.0),
        (22, 5.0, 0.3, 0.0), (130, 5.0, 0.3, 0.0), (2112, 5.0, 0.3, 0.0),
    ],
)  # fmt: skip
def test_tracks_are_found_with_the_efficiency_of_kind_region_and_momentum(
    pdg: int, pt: float, eta: float, expected: float
) -> None:
    share(Tracker().found(gun(pdg, pt, eta), np.random.default_rng(0)), expected)


@pytest.mark.parametrize(
    ("at", "expected"), [((400, 0, 900), 0.95), ((400, 400, 0), 0.0), ((0, 0, -1100), 0.0)]
)
def test_a_particle_from_outside_of_the_tracker_leaves_no_track(at: tuple, expected: float) -> None:
    share(Tracker().found(gun(211, 5.0, 0.3, at=at), np.random.default_rng(0)), expected)


@pytest.mark.parametrize(
    ("pt", "eta", "expected"),
    [(10, 0.3, 0.01005), (200, 1.0, 0.03354), (10, 2.0, 0.02524), (200, 2.0, 0.07433)],
)
def test_tracks_are_smeared_with_both_terms_of_their_resolution(
    pt: float, eta: float, expected: float
) -> None:
    true = gun(211, pt, eta)
    seen = Tracker().measured(true, np.random.default_rng(1))
    error = 4 / np.sqrt(2 * N)
    assert (transverse(seen) / pt).std() == pytest.approx(expected, rel=error)
    assert (transverse(seen) / pt).mean() == pytest.approx(1, abs=4 * expected / np.sqrt(N))
    for angle in (
        pseudorapidity(seen) - pseudorapidity(true.momenta),
        wrapped(azimuth(seen) - azimuth(true.momenta)),
    ):
        assert angle.std() == pytest.approx(1e-3, rel=error)
    np.testing.assert_allclose(mass(seen), 0.13957, atol=1e-3)


@pytest.mark.parametrize(
    ("calorimeter", "energy", "eta", "expected"),
    [
        (electromagnetic(), 50.0, 0.5, np.sqrt(0.4**2 + 0.11**2 * 50 + 0.2**2)),
        (electromagnetic(), 500.0, 4.0, np.sqrt(53.5**2 + 2.08**2 * 500)),
        (hadronic(), 100.0, 2.0, np.sqrt(5.0**2 + 100)),
        (hadronic(), 500.0, 4.0, np.sqrt(53.5**2 + 2.8**2 * 500)),
    ],
)
def test_cells_are_smeared_with_the_resolution_of_their_calorimeter_and_region(
    calorimeter: Calorimeter, energy: float, eta: float, expected: float
) -> None:
    photons = gun(22, energy / np.cosh(eta), eta, mass=0.0)
    seen, event = calorimeter.measured(photons, np.random.default_rng(2))
    assert np.array_equal(np.sort(event), np.arange(N))
    assert seen[:, 3].std() == pytest.approx(expected, rel=4 / np.sqrt(2 * N))
    assert seen[:, 3].mean() == pytest.approx(energy, abs=4 * expected / np.sqrt(N))


@pytest.mark.parametrize(
    ("calorimeter", "eta", "width"),
    [(electromagnetic(), 0.5, 0.0175), (hadronic(), 0.5, 0.0875), (hadronic(), 4.0, 0.175)],
)
def test_an_object_lies_uniformly_within_the_cell_of_its_deposit(
    calorimeter: Calorimeter, eta: float, width: float
) -> None:
    true = gun(22, 200.0, eta, mass=0.0)
    seen, event = calorimeter.measured(true, np.random.default_rng(2))
    away = pseudorapidity(seen) - pseudorapidity(true.momenta)[event]
    around = wrapped(azimuth(seen) - azimuth(true.momenta)[event])
    assert np.abs(around).max() == pytest.approx(width, rel=0.03)  # whole cells make the circle
    assert around.std() == pytest.approx(width / np.sqrt(6), rel=0.03)
    right = pseudorapidity(true.momenta)[event] > 0  # one cell in eta, of which all places occur
    assert np.ptp(away[right]) == pytest.approx(width, rel=0.02)
    assert np.abs(away).max() < width
    np.testing.assert_allclose(mass(seen), 0, atol=1e-3)


def test_cells_below_threshold_or_significance_are_not_seen() -> None:
    weak, _ = electromagnetic().measured(gun(22, 0.3, 0.0, mass=0.0), np.random.default_rng(2))
    # 0.3 +- 0.21 GeV; 0.5 GeV is above two sigmas of 0.21
    share(np.arange(N) < len(weak), 0.1706)
    assert weak[:, 3].min() > 0.5
    soft, _ = hadronic().measured(gun(130, 1.0, 0.0, mass=0.0), np.random.default_rng(2))
    share(np.arange(N) < len(soft), 0.5)  # 1 +- 1 GeV, and 1 GeV is one sigma
    nothing, _ = hadronic().measured(gun(130, 20.0, 4.95, mass=0.0), np.random.default_rng(2))
    assert len(nothing) == 0


def test_two_particles_in_one_cell_are_one_object_and_their_energies_add_up() -> None:
    near = momentum(
        np.array([10.0, 20, 5]), np.array([0.001, 0.016, 0.018]), np.full(3, 0.01), np.zeros(3)
    )
    event = Particles(near, np.array([3]), np.full(3, 22), np.zeros((3, 3)))
    exact = Calorimeter(0.0175, 0.0175, 0.0, 0.0, 0.0, forward=0.0, least=0.0, significance=0.0)
    seen, _ = exact.measured(event, np.random.default_rng(0))
    np.testing.assert_allclose(np.sort(seen[:, 3]), [near[2, 3], near[:2, 3].sum()])


def test_without_smearing_all_visible_energy_is_kept_event_by_event() -> None:
    random = np.random.default_rng(5)
    counts = np.array([400, 0, 1, 250])
    n = int(counts.sum())
    momenta = momentum(
        random.exponential(5, n),
        random.uniform(-4.8, 4.8, n),
        random.uniform(-np.pi, np.pi, n),
        np.zeros(n),
    )
    pdg = random.choice([11, 22, 211, 130, 2212, 13], n)
    particles = Particles(momenta, counts, pdg, np.zeros((n, 3)))
    exact = {"constant": 0.0, "stochastic": 0.0, "noise": 0.0, "forward": 0.0, "least": 0.0}
    cells = [
        Calorimeter(width, 2 * width, significance=0.0, forward_constant=0.0, **exact)
        for width in (0.0175, 0.0875)
    ]
    tracker = Tracker(relative=(0.0, 0.0, 0.0), rising=(0.0, 0.0, 0.0), angle=0.0)
    objects = Detector(tracker, *cells).objects(particles, np.random.default_rng(0))
    energy = np.bincount(objects.event, objects.momenta[:, 3], 4)
    np.testing.assert_allclose(energy, np.bincount(particles.event, momenta[:, 3], 4), rtol=2e-3)
    assert objects.counts[1] == 0
    assert (objects.counts <= counts).all()
    tracks = np.isin(objects.pdg, (11, 13, 211, 2212))
    assert {*objects.pdg[~tracks]} == {22, 130}
    charged = np.isin(pdg, (11, 13, 211, 2212)) & (np.abs(pseudorapidity(momenta)) < 2.5)
    assert 0.6 < tracks.sum() / charged.sum() < 0.95


def test_a_lost_electron_is_seen_as_a_photon_and_a_lost_pion_as_a_hadron() -> None:
    for pdg, kind in ((11, 22), (211, 130)):
        objects = Detector().objects(gun(pdg, 30.0, 2.7), np.random.default_rng(0))
        assert {*objects.pdg} == {kind}
