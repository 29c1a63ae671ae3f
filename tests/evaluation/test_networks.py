"""Time in networks is that of the outermost calls, forward and backward, on a clock that is set by hand."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from simulacra.evaluation.networks import Stay
from support import made, spec_of


class Ticks:
    """A clock."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Part(nn.Module):
    """Takes a second each way, and that of its inner part."""

    def __init__(self, ticks: Ticks, inner: nn.Module | None = None) -> None:
        super().__init__()
        self.ticks, self.inner = ticks, inner

    def forward(self, x: Tensor) -> Tensor:
        self.ticks.now += 1
        return x if self.inner is None else self.inner(x)

    def inverse(self, x: Tensor) -> Tensor:
        return self.forward(x)


def test_inner_calls_and_the_transform_are_counted_with_what_calls_them() -> None:
    ticks, waited = Ticks(), []
    module = made("caloinn", spec_of("ds1_photons", None))
    module.cells, module.energies = Part(ticks, Part(ticks)), Part(ticks)
    module.transform.extra = Part(ticks)
    stay = Stay(lambda: waited.append(1), ticks)
    x = torch.zeros(1)
    with stay.measured(module):
        module.cells(x)
        module.cells.inverse(x)
        module.energies(x)
        assert stay.seconds == 5
        module.transform.extra(x)
        ticks.now += 10
    assert stay.seconds == 5
    assert len(waited) == 6
    module.cells(x)
    assert stay.seconds == 5
    assert "forward" not in vars(module.cells)
