"""Blocks that are recomputed on the way back: the same numbers, less kept."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from simulacra.core import UserError
from simulacra.nn.recompute import Block, recompute_blocks
from support import made, spec_of


class Residual(Block):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(8, 64), nn.GELU(), nn.Dropout(0.5), nn.Linear(64, 8))

    def forward(self, h: Tensor, shift: Tensor | None) -> Tensor:
        return h + self.inner(h) if shift is None else h + self.inner(h + shift)


class Chain(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Residual() for _ in range(4))

    def forward(self, h: Tensor, shift: Tensor | None = None) -> Tensor:
        for block in self.blocks:
            h = block(h, shift)
        return h


def kept_and_gradients(net: nn.Module, *inputs: Tensor) -> tuple[int, list[Tensor]]:
    """Numbers that are kept for the way back, and gradients of all parameters."""
    kept: list[int] = []

    def pack(value: Tensor) -> Tensor:
        kept.append(value.numel())
        return value

    torch.manual_seed(3)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda value: value):
        loss = net(*inputs).square().sum()
    loss.backward()
    found = [p.grad.clone() for p in net.parameters()]
    net.zero_grad()
    return sum(kept), found


@pytest.mark.parametrize("shifted", [False, True])
def test_recomputed_blocks_have_the_same_gradients_dropout_included_and_keep_less(
    shifted: bool,
) -> None:
    torch.manual_seed(0)
    net, inputs = Chain(), [torch.randn(16, 8) for _ in range(1 + shifted)]
    before, expected = kept_and_gradients(net, *inputs)
    assert recompute_blocks(net) == 4
    after, found = kept_and_gradients(net, *inputs)
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
    assert after < before / 10
    with torch.no_grad():
        assert net.eval()(*inputs).shape == (16, 8)


def test_a_model_without_blocks_says_so() -> None:
    module = made("caloinn", spec_of("ds1_photons", None))
    with pytest.raises(UserError, match=r"no network of CaloINN .* trainer.recompute=false"):
        module.recompute()
