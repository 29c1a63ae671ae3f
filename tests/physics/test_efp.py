from __future__ import annotations

from collections import Counter
from itertools import combinations_with_replacement, permutations

import numpy as np
import pytest
import torch
from torch import Tensor

from simulacra.physics import efp
from simulacra.physics.efp import D4, N4_D4, PRIMES, Graph, efps


def jets(n: int, particles: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, particles, 3, generator=generator, dtype=torch.float64)
    kept = torch.rand(n, particles, 1, generator=generator) < 0.8
    return torch.cat([0.3 * x[..., :2], x[..., 2:].abs()], -1) * kept


def canonical(graph: Graph) -> Graph:
    n = max((max(edge) for edge in graph), default=0) + 1
    relabelled = (
        sorted(tuple(sorted((order[a], order[b]))) for a, b in graph)
        for order in permutations(range(n))
    )
    return tuple(min(relabelled))


def connected(edges: int) -> set[Graph]:
    """All connected multigraphs without loops, grown edge by edge."""
    found: set[Graph] = {()}
    for _ in range(edges):
        grown = set()
        for graph in found:
            n = max((max(edge) for edge in graph), default=0) + 1
            pairs = [(a, b) for b in range(n + 1) for a in range(min(b, n))]
            grown |= {canonical((*graph, pair)) for pair in pairs}
        found = grown
    return found


def test_the_graphs_are_all_connected_multigraphs_of_at_most_four_edges() -> None:
    listed = [canonical(graph) for graph in PRIMES.values()]
    assert len(set(listed)) == len(listed)
    assert set(listed) == set().union(*(connected(d) for d in range(5)))


def test_the_polynomials_are_all_products_of_at_most_four_edges() -> None:
    edges = {name: len(graph) for name, graph in PRIMES.items() if name != "dot"}
    products = {
        tuple(sorted(pieces))
        for number in range(1, 5)
        for pieces in combinations_with_replacement(edges, number)
        if sum(edges[piece] for piece in pieces) <= 4
    }
    assert {tuple(sorted(name)) for name in D4} == products | {("dot",)}
    assert len(D4) == 36
    vertices = {name: len({v for edge in graph for v in edge}) for name, graph in PRIMES.items()}
    assert {name for (name,) in N4_D4} == {
        name for name in edges if edges[name] == vertices[name] == 4
    }


@pytest.mark.parametrize("name", D4, ids="*".join)
def test_each_polynomial_is_its_sum_over_particles(name: tuple[str, ...]) -> None:
    x = jets(3, 6)
    expected = []
    for eta, phi, z in x.numpy().transpose(0, 2, 1):
        theta = np.sqrt((eta[:, None] - eta) ** 2 + (phi[:, None] - phi) ** 2)
        value = 1.0
        for graph in (PRIMES[piece] for piece in name):
            vertices = max((max(edge) for edge in graph), default=0) + 1
            letters = "abcde"[:vertices]
            terms = [*letters, *("abcde"[a] + "abcde"[b] for a, b in graph)]
            value *= np.einsum(f"{','.join(terms)}->", *[z] * vertices, *[theta] * len(graph))
        expected.append(value)
    np.testing.assert_allclose(efps(x, (name,))[:, 0].numpy(), expected, rtol=1e-12)


def test_two_particles_have_the_textbook_polynomials() -> None:
    x = torch.tensor([[[0.0, 0.0, 2.0], [0.3, 0.4, 3.0]]])
    names = (("dot",), ("line",), ("line2", "line"), ("triangle",), ("wedge",))
    line, wedge = 2 * 6 * 0.5, (2 * 9 + 3 * 4) * 0.25
    expected = [5.0, line, line * line / 2, 0.0, wedge]
    assert efps(x, names)[0].tolist() == pytest.approx(expected, rel=1e-6)


def test_padding_order_and_chunks_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    x = jets(40, 12)
    expected = efps(x)
    order = torch.randperm(12, generator=torch.Generator().manual_seed(1))
    padded = torch.cat([torch.zeros(40, 5, 3), x[:, order], torch.zeros(40, 3, 3)], 1)
    torch.testing.assert_close(efps(padded), expected, rtol=1e-11, atol=1e-14)
    monkeypatch.setattr(efp, "VALUES_PER_CHUNK", 500)
    torch.testing.assert_close(efps(x), expected, rtol=1e-13, atol=1e-16)
    assert efps(x[:0]).shape == (0, 36)


def test_polynomials_scale_with_momentum_and_angle() -> None:
    x = jets(5, 8)
    scaled = efps(x * torch.tensor([2.0, 2.0, 3.0]))
    edges = [sum(len(PRIMES[piece]) for piece in name) for name in D4]
    pieces = [Counter(name) for name in D4]
    size = {name: len({v for edge in g for v in edge}) or 1 for name, g in PRIMES.items()}
    vertices = [sum(size[piece] * n for piece, n in count.items()) for count in pieces]
    factor = torch.tensor([2.0**d * 3.0**n for d, n in zip(edges, vertices, strict=True)])
    torch.testing.assert_close(scaled, efps(x) * factor, rtol=1e-12, atol=0.0)


def test_jets_across_the_seam_of_the_azimuth_are_those_away_from_it() -> None:
    x = jets(5, 8)
    moved = x.clone()
    turned = x[..., 1] + 3.1
    moved[..., 1] = torch.where(turned > torch.pi, turned - 2 * torch.pi, turned)
    torch.testing.assert_close(efps(moved), efps(x), rtol=1e-9, atol=1e-14)
