"""Encoder and decoder of one vector: shapes, the way of numbers in a line and back, the published size."""

from __future__ import annotations

import pytest
import torch

from simulacra.core import Layout
from simulacra.nn.activations import leaky_relu
from simulacra.nn.vector_coder import VectorCoder


@pytest.mark.parametrize("context", [0, 2])
def test_a_vector_of_cells_has_a_line_and_comes_back(context: int) -> None:
    torch.manual_seed(0)
    coder = VectorCoder(Layout(30, context), 2, 35, 4, (16, 8), leaky_relu)
    x, known = torch.randn(5, 30), torch.randn(5, context) if context else None
    made = coder.encode(x, known)
    assert made.shape == (5, 8, 1)
    mean = made.chunk(2, dim=1)[0]
    assert coder.layout == Layout(4, context)
    assert coder.line(mean).shape == (5, 4)
    assert torch.equal(coder.volume(coder.line(mean)), mean)
    assert coder.decode(mean, known).shape == (5, 35)


def test_far_cells_do_not_drown_the_others_and_the_context_is_seen() -> None:
    torch.manual_seed(0)
    coder = VectorCoder(Layout(30, 2), 1, 30, 4, (16,), leaky_relu)
    x, known = torch.randn(5, 30), torch.randn(5, 2)
    torch.testing.assert_close(coder.encode(10 * x - 100, known), coder.encode(x, known))
    for way, start in ((coder.encode, x), (coder.decode, torch.randn(5, 4, 1))):
        assert not torch.allclose(way(start, known), way(start, known.flip(0)))
