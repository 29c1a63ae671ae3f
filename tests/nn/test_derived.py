"""What follows from weights is computed once, and anew whenever the weights may have changed."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from simulacra.core import Layout
from simulacra.dynamics.autoregressive import autoregressive_flow
from simulacra.dynamics.flows import Coupling
from simulacra.dynamics.splines import RationalQuadratic
from simulacra.nn import derived
from simulacra.nn.derived import Derived
from simulacra.nn.masked import MaskedNet
from simulacra.nn.sets import WeightNormLinear


class Doubled(nn.Module):
    """Its output is twice its parameter; counts how often that is computed."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3))
        self.twice = Derived(_twice)

    def forward(self) -> Tensor:
        return self.twice(self.weight)


calls: list[int] = []


def _twice(weight: Tensor) -> Tensor:
    calls.append(1)
    return 2 * weight


@pytest.fixture(autouse=True)
def counted() -> None:
    calls.clear()


def fused_step(layer: Doubled) -> None:
    layer.weight.grad = torch.ones(3)
    torch.optim.AdamW(layer.parameters(), lr=0.5, fused=True).step()


def plain_step(layer: Doubled) -> None:
    layer.weight.grad = torch.ones(3)
    torch.optim.SGD(layer.parameters(), lr=0.5).step()


def in_place(layer: Doubled) -> None:
    with torch.no_grad():
        layer.weight.mul_(3)


def loaded(layer: Doubled) -> None:
    layer.load_state_dict({"weight": torch.full((3,), 4.0)})


def assigned(layer: Doubled) -> None:
    layer.load_state_dict({"weight": torch.full((3,), 4.0)}, assign=True)


def other_memory(layer: Doubled) -> None:
    layer.weight.data = torch.full((3,), 5.0)


def said(layer: Doubled) -> None:
    layer.weight.data.mul_(3)
    derived.changed()


def other_type(layer: Doubled) -> None:
    layer.double()


CHANGES = (fused_step, plain_step, in_place, loaded, assigned, other_memory, said, other_type)


@pytest.mark.parametrize("change", CHANGES)
@torch.no_grad()
def test_a_value_is_kept_until_the_parameter_changes(change: Callable[[Doubled], None]) -> None:
    layer = Doubled()
    for _ in range(3):
        assert torch.equal(layer(), 2 * layer.weight)
    assert len(calls) == 1
    change(layer)
    assert layer().dtype is layer.weight.dtype
    assert torch.equal(layer(), 2 * layer.weight)
    assert len(calls) == 2


def test_with_gradients_nothing_is_kept() -> None:
    layer = Doubled()
    with torch.no_grad():
        layer()
    layer().sum().backward()
    assert torch.equal(layer.weight.grad, torch.full((3,), 2.0))
    with torch.no_grad():
        layer()
    assert len(calls) == 3


def test_a_value_of_inference_mode_serves_without_it_and_in_gradients_of_the_input() -> None:
    layer = WeightNormLinear(4, 2, 3)
    x, context = torch.randn(5, 4), torch.randn(5, 2)
    with torch.inference_mode():
        inside = layer(x, context)
    with torch.no_grad():
        outside = layer(x, context)
    assert torch.equal(inside, outside)
    x.requires_grad_()
    layer(x, context).sum().backward()
    assert x.grad is not None


@torch.no_grad()
def test_copies_and_files_keep_nothing() -> None:
    layer = Doubled()
    layer()
    twin = copy.deepcopy(layer)
    twin.weight.mul_(5)
    assert torch.equal(twin(), 2 * twin.weight)
    assert torch.equal(layer(), 2 * layer.weight)
    assert list(layer.state_dict()) == ["weight"]
    file = io.BytesIO()
    torch.save(layer, file)
    small = len(file.getvalue())
    torch.save(Doubled(), fresh := io.BytesIO())
    assert small == len(fresh.getvalue())
    file.seek(0)
    assert torch.equal(torch.load(file, weights_only=False)(), 2 * layer.weight)


@torch.no_grad()
def test_stand_ins_are_taken_as_they_come() -> None:
    layer = Doubled()
    layer()
    many = {"weight": torch.randn(4, 3)}
    found = torch.func.vmap(lambda values: torch.func.functional_call(layer, values, ()))(many)
    assert torch.equal(found, 2 * many["weight"])
    assert torch.equal(layer(), 2 * layer.weight)


@torch.no_grad()
def test_a_graph_holds_the_parameter_and_not_the_value() -> None:
    layer = Doubled()
    layer()
    program = torch.export.export(layer, ()).module()
    program.load_state_dict({"weight": torch.full((3,), 7.0)})
    assert torch.equal(program(), torch.full((3,), 14.0))


def layers() -> dict[str, tuple[nn.Module, Callable[[int], tuple[Tensor, ...]]]]:
    """Every layer that keeps something, and inputs of ``n`` events."""
    torch.manual_seed(0)
    spline = RationalQuadratic(4, 3.0)
    return {
        "weight norm": (
            WeightNormLinear(4, 2, 3),
            lambda n: (torch.randn(n, 4), torch.randn(n, 2)),
        ),
        "masked": (MaskedNet(5, 2, 7, [16, 16]), lambda n: (torch.randn(n, 5), torch.randn(n, 2))),
        "coupling": (Coupling(6, 2, spline, [8]), lambda n: (torch.randn(n, 6), torch.randn(n, 2))),
        "autoregressive": (
            autoregressive_flow(Layout(4, 2), 2, spline, [16]),
            lambda n: (torch.randn(n, 4), torch.randn(n, 2)),
        ),
    }


@pytest.mark.parametrize("name", list(layers()))
def test_layers_are_the_same_functions_with_and_without_kept_values(name: str) -> None:
    layer, inputs = layers()[name]
    for parameter in layer.parameters():
        nn.init.normal_(parameter, std=0.3)
    for n in (1, 3):
        given = inputs(n)
        plain = first(layer(*given)).detach()
        with torch.no_grad():
            torch.testing.assert_close(first(layer(*given)), plain, rtol=1e-4, atol=1e-5)
            kept = first(layer(*given))
            assert torch.equal(kept, first(layer(*given)))
            for parameter in layer.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
            after = first(layer(*given))
        assert not torch.allclose(after, kept)
        torch.testing.assert_close(after, first(layer(*given)).detach(), rtol=1e-4, atol=1e-5)


def first(found: Tensor | tuple[Tensor, ...]) -> Tensor:
    return found if isinstance(found, Tensor) else found[0]


@torch.no_grad()
def test_whoever_reads_on_holds_what_was_asked_for_also_if_it_was_kept() -> None:
    first, second, third = Doubled(), Doubled(), Doubled()
    kept = first()
    with derived.held() as values:
        first()
        made = second()
    third()
    assert len(values) == 2
    assert values[0] is kept
    assert values[1] is made


def test_a_value_that_is_held_outlives_a_change_of_the_weights() -> None:
    layer = Doubled()
    with torch.no_grad(), derived.held() as values:
        layer()
    place = values[0].data_ptr()
    fused_step(layer)
    with torch.no_grad():
        changed = layer()
    assert changed.data_ptr() != place
    torch.testing.assert_close(values[0], torch.full((3,), 2.0))
