"""Normal probabilities and scores agree with those of torch on both sides."""

from __future__ import annotations

import torch

from simulacra.transforms.maps.normal import score, tail


def test_probabilities_are_relatively_right_far_out() -> None:
    z = torch.linspace(-8, 8, 4001, dtype=torch.float64)
    torch.testing.assert_close(tail(z), 0.5 * torch.erfc(z / 2**0.5), rtol=2e-7, atol=0)


def test_scores_undo_them() -> None:
    p = torch.logspace(-30, -0.01, 4001, dtype=torch.float64)
    torch.testing.assert_close(score(p), -torch.special.ndtri(p), rtol=2e-9, atol=1e-8)
    high = 1 - torch.logspace(-12, -1, 200, dtype=torch.float64)
    torch.testing.assert_close(score(high), -torch.special.ndtri(high), rtol=1e-5, atol=1e-8)
    assert score(torch.tensor([torch.nan])).isnan().all()
