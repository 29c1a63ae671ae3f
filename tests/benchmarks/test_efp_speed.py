"""Energy-flow polynomials and W1 of 50,000 jets of 30 particles, against a plain loop over graphs.

Times are those of the processor, which other work on the machine hardly changes.
"""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from time import process_time
from typing import TypeVar

import numpy as np
import pytest
import torch
from scipy.stats import wasserstein_distance
from torch import Tensor

from simulacra.formats.jetnet import jetnet, toy_jets
from simulacra.metrics.distances.wasserstein import wasserstein
from simulacra.physics.efp import D4, N4_D4, PRIMES, efps

JETS, REPEATS = 50_000, 3
W1EFP = [D4.index(name) for name in N4_D4]
T = TypeVar("T")


def loop(jets: np.ndarray) -> np.ndarray:
    """One optimised contraction per connected piece of each graph, over all jets."""
    eta, phi, z = jets.transpose(2, 0, 1)
    theta = np.hypot(eta[:, :, None] - eta[:, None], phi[:, :, None] - phi[:, None])
    found = []
    for name in D4:
        value = np.ones(len(jets))
        for graph in (PRIMES[piece] for piece in name):
            vertices = max((max(edge) for edge in graph), default=0) + 1
            letters = [f"z{v}" for v in "abcde"[:vertices]]
            letters += ["z" + "abcde"[a] + "abcde"[b] for a, b in graph]
            operands = [z] * vertices + [theta] * len(graph)
            value *= np.einsum(f"{','.join(letters)}->z", *operands, optimize="greedy")
        found.append(value)
    return np.stack(found, 1)


def timed(function: Callable[..., T], *arguments: object) -> tuple[float, T]:
    start = process_time()
    found = function(*arguments)
    return process_time() - start, found


def ours(first: Tensor, second: Tensor) -> Tensor:
    pair = efps(first), efps(second)
    return torch.stack([wasserstein(pair[0][:, i], pair[1][:, i]) for i in W1EFP])


def plain(first: np.ndarray, second: np.ndarray) -> list[float]:
    pair = loop(first), loop(second)
    return [wasserstein_distance(pair[0][:, i], pair[1][:, i]) for i in W1EFP]


@pytest.mark.bench
def test_polynomials_take_a_tenth_of_a_loop_over_graphs(capsys: pytest.CaptureFixture) -> None:
    first, second = (toy_jets(jetnet(30, ["t"]), JETS // 2, seed, 1).x.double() for seed in (0, 1))
    efps(first[:1000])
    fast, slow = [], []
    for repeat in range(REPEATS):
        time, found = timed(ours, first, second)
        fast.append(time)
        if repeat == 0:
            time, expected = timed(plain, first.numpy(), second.numpy())
            slow.append(time)
            np.testing.assert_allclose(found.numpy(), expected, rtol=1e-9)
    ratio = median(slow) / median(fast)
    with capsys.disabled():
        print(  # noqa: T201
            f"\n36 EFPs and W1EFP of {JETS:,} jets of 30 particles, {torch.get_num_threads()} thread: "
            f"{median(fast):.2f} s, loop over graphs {median(slow):.2f} s, ratio {ratio:.1f}"
        )
    assert ratio > 10
