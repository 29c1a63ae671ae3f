from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from simulacra.physics import substructure
from simulacra.physics.substructure import correlators, ratios, subjettiness


def jets(n: int, particles: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(3, n, particles, generator=generator, dtype=torch.float64)
    kept = torch.rand(n, particles, generator=generator) < 0.8
    return 0.3 * x[0] * kept, 0.3 * x[1] * kept, x[2].square() * kept


def wrapped(angle: np.ndarray | float) -> np.ndarray | float:
    return (angle + math.pi) % (2 * math.pi) - math.pi


def kt_taus(eta: np.ndarray, phi: np.ndarray, pt: np.ndarray) -> list[float]:
    """Exclusive kT clustering of four-momenta, pair by pair, and the definition of N-subjettiness."""
    kept = pt > 0
    eta, phi, pt = eta[kept], phi[kept], pt[kept]
    clusters = [
        np.array([p * math.cosh(e), p * math.cos(f), p * math.sin(f), p * math.sinh(e)])
        for e, f, p in zip(eta, phi, pt, strict=True)
    ]
    taus = {}
    while clusters:
        y = [0.5 * math.log((c[0] + c[3]) / (c[0] - c[3])) for c in clusters]
        azimuth = [math.atan2(c[2], c[1]) for c in clusters]
        distances = [np.hypot(eta - a, wrapped(phi - b)) for a, b in zip(y, azimuth, strict=True)]
        taus[len(clusters)] = float((pt * np.min(distances, axis=0)).sum() / pt.sum())
        if len(clusters) == 1:
            break
        pairs = [(i, j) for j in range(len(clusters)) for i in range(j)]
        kt = [c[1] ** 2 + c[2] ** 2 for c in clusters]
        i, j = min(
            pairs,
            key=lambda p: (
                min(kt[p[0]], kt[p[1]])
                * ((y[p[0]] - y[p[1]]) ** 2 + wrapped(azimuth[p[0]] - azimuth[p[1]]) ** 2)
            ),
        )
        merged = clusters[i] + clusters[j]
        clusters = [c for n, c in enumerate(clusters) if n not in (i, j)] + [merged]
    return [taus.get(k, 0.0) for k in (1, 2, 3)]


def test_subjettiness_is_that_of_clustering_pair_by_pair() -> None:
    x = jets(40, 14)
    expected = [kt_taus(*jet) for jet in zip(*(value.numpy() for value in x), strict=True)]
    np.testing.assert_allclose(subjettiness(*x).numpy(), expected, rtol=1e-10, atol=1e-14)


def test_correlators_are_sums_over_pairs_and_triples() -> None:
    x = jets(20, 9)
    expected = []
    for eta, phi, pt in zip(*(value.numpy() for value in x), strict=True):
        z, theta = pt / pt.sum(), np.hypot(eta[:, None] - eta, phi[:, None] - phi)
        second = sum(z[i] * z[j] * theta[i, j] for j in range(9) for i in range(j))
        third = sum(
            z[i] * z[j] * z[k] * theta[i, j] * theta[i, k] * theta[j, k]
            for k in range(9)
            for j in range(k)
            for i in range(j)
        )
        expected.append((second, third))
    np.testing.assert_allclose(correlators(*x).numpy(), expected, rtol=1e-11)
    d2 = [third / second**3 for second, third in expected]
    np.testing.assert_allclose(ratios(*x)["d2"].numpy(), d2, rtol=1e-11)


def test_two_equal_particles_have_the_closed_form() -> None:
    eta, phi, pt = torch.tensor([[0.2, -0.2]]), torch.zeros(1, 2), torch.ones(1, 2)
    assert subjettiness(eta, phi, pt)[0].tolist() == pytest.approx([0.2, 0.0, 0.0])
    found = ratios(eta, phi, pt)
    assert float(found["tau21"]) == 0
    assert found["tau32"].isnan()
    assert float(found["d2"]) == 0


def test_an_equilateral_triangle_has_the_closed_form() -> None:
    angles = torch.tensor([[0.0, 2 * math.pi / 3, 4 * math.pi / 3]], dtype=torch.float64)
    side = 0.01 * math.sqrt(3)
    x = 0.01 * angles.cos(), 0.01 * angles.sin(), torch.ones(1, 3, dtype=torch.float64)
    second, third = side / 3, side**3 / 27
    assert correlators(*x)[0].tolist() == pytest.approx([second, third])
    assert subjettiness(*x)[0].tolist() == pytest.approx([0.01, side / 3, 0.0], rel=1e-3)
    assert float(ratios(*x)["d2"]) == pytest.approx(1.0)


def test_jets_of_no_or_one_particle_are_undefined() -> None:
    pt = torch.tensor([[0.0, 0.0], [0.0, 1.0]])
    found = ratios(torch.full((2, 2), 0.1), torch.zeros(2, 2), pt)
    assert all(value.isnan().all() for value in found.values())
    taus = subjettiness(torch.full((2, 2), 0.1), torch.zeros(2, 2), pt)
    assert taus[0].isnan().all()
    assert taus[1].tolist() == [0, 0, 0]


def test_padding_order_and_chunks_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    x = jets(24, 12, 3)
    expected = ratios(*x)
    order = torch.randperm(12, generator=torch.Generator().manual_seed(1))
    padded = ratios(*(torch.cat([value.new_zeros(24, 4), value[:, order]], 1) for value in x))
    alone = ratios(*(value[7:8] for value in x))
    monkeypatch.setattr(substructure, "PARTICLES_PER_CHUNK", 60)
    parts = ratios(*x)
    how = {"rtol": 1e-9, "atol": 1e-13, "equal_nan": True}
    for name, value in expected.items():
        torch.testing.assert_close(padded[name], value, **how)
        torch.testing.assert_close(parts[name], value, **how)
        torch.testing.assert_close(alone[name], value[7:8], **how)


def test_ratios_do_not_change_under_a_boost_a_rotation_and_a_scale() -> None:
    eta, phi, pt = jets(50, 12, 4)
    turned = phi + 3.0
    moved = ratios(eta + 1.7, torch.where(turned > math.pi, turned - 2 * math.pi, turned), 7 * pt)
    for name, value in ratios(eta, phi, pt).items():
        torch.testing.assert_close(moved[name], value, rtol=1e-8, atol=1e-12, equal_nan=True)


def test_broken_particles_leave_other_jets_alone() -> None:
    x = jets(6, 10, 5)
    expected = ratios(*x)
    eta, phi, pt = (value.clone() for value in x)
    eta[1, pt[1].argmax()] = torch.nan
    eta[2, pt[2].argmax()] = 1e4
    phi[3, pt[3].argmax()] = torch.inf
    pt[4, 0] = -1.0
    found = ratios(eta, phi, pt)
    for name in ("tau21", "tau32"):
        assert found[name][1:4].isnan().all()
        torch.testing.assert_close(found[name][[0, 5]], expected[name][[0, 5]])
        assert found[name][4].isfinite()


def test_three_prongs_have_a_smaller_tau32_than_two() -> None:
    generator = torch.Generator().manual_seed(6)
    centres = torch.tensor([[0.0, 0.3], [0.26, -0.15], [-0.26, -0.15]], dtype=torch.float64)
    spread = 0.02 * torch.randn(200, 30, 2, generator=generator, dtype=torch.float64)
    pt = torch.rand(200, 30, generator=generator, dtype=torch.float64) + 0.1
    prongs = {n: (centres[:n].repeat(30 // n, 1) + spread).unbind(-1) for n in (2, 3)}
    found = {n: ratios(*axes, pt) for n, axes in prongs.items()}
    assert found[3]["tau32"].max() < 0.5 < found[2]["tau32"].median()
    assert found[2]["tau21"].max() < 0.3 < found[3]["tau21"].median()
