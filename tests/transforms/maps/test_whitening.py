"""Whitening: independent columns, the way back, what is too narrow, and weights as repetitions."""

from __future__ import annotations

import torch

from simulacra.transforms.maps.whitening import NARROWEST, whitening


def rows() -> torch.Tensor:
    source = torch.Generator().manual_seed(0)
    x = torch.randn(4000, 3, generator=source, dtype=torch.float64)
    noise = torch.randn(4000, 1, generator=source, dtype=torch.float64)
    return torch.cat([x @ torch.tril(torch.ones(3, 3)).double(), x[:, :1] + 0.05 * noise], 1) + 3


def test_columns_become_independent_and_come_back() -> None:
    y = rows()
    mean, root, back = whitening(y)
    z = (y - mean) @ root
    torch.testing.assert_close(z.T @ z / len(z), torch.eye(4).double(), atol=1e-9, rtol=0)
    torch.testing.assert_close(z @ back + mean, y)


def test_what_does_not_vary_is_not_stretched_to_infinity() -> None:
    y = torch.cat([rows(), rows()[:, :1]], 1)  # two columns are the same
    mean, root, back = whitening(y)
    torch.testing.assert_close((y - mean) @ root @ back + mean, y)
    assert float(torch.linalg.eigvalsh(root).max()) <= NARROWEST**-0.5 * (1 + 1e-9)


def test_a_weight_is_a_repetition() -> None:
    y, counts = rows()[:50], torch.arange(50) % 3
    wanted = whitening(y[torch.repeat_interleave(torch.arange(50), counts)])
    for found, value in zip(whitening(y, counts.double()), wanted, strict=True):
        torch.testing.assert_close(found, value)
