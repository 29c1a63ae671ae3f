"""Numbers in the place of noise, and what is computed without looking at values."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from simulacra.core import Layout, UserError, draws
from simulacra.core.draws import Kind, Source
from simulacra.core.noise import Draw, Recording, Slices, drawn, widths
from simulacra.deploy.export.lowering import TABLE
from simulacra.dynamics.autoregressive import autoregressive_flow
from simulacra.dynamics.clouds import by_length
from simulacra.dynamics.flows import coupling_flow
from simulacra.dynamics.solvers import DormandPrince
from simulacra.dynamics.splines import RationalQuadratic

aten = torch.ops.aten


class Generated(Source):
    """The numbers that a generator would give."""

    def __init__(self, generator: torch.Generator) -> None:
        self.generator = generator

    def take(self, kind: Kind, shape: Sequence[int]) -> Tensor:
        make = {"normal": torch.randn, "uniform": torch.rand}[kind]
        return make(tuple(shape), generator=self.generator)


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def moved(flow: torch.nn.Module) -> torch.nn.Module:
    """A flow that is no longer the identity."""
    torch.manual_seed(3)
    for parameter in flow.parameters():
        parameter.data.add_(0.3 * torch.randn_like(parameter))
    return flow.eval().requires_grad_(False)


def test_given_numbers_stand_in_the_place_of_noise_for_a_block() -> None:
    like = torch.zeros(1, dtype=torch.float64)
    with draws.given(Slices([Draw("normal", 4)], {"normal": torch.arange(8.0).view(2, 4)})):
        assert draws.unrolled()
        found = draws.normal((2, 2, 2), like)
    assert not draws.unrolled()
    assert found.dtype == torch.float64
    assert found.flatten().tolist() == list(range(8))
    assert not torch.equal(draws.normal((2, 2, 2), like), found)


def test_what_is_recorded_is_handed_out_in_order() -> None:
    def sampler(n: int) -> list[Tensor]:
        like = torch.zeros(1)
        return [
            draws.uniform((n, 2), like),
            draws.normal((3 * n, 2), like),
            draws.uniform((n, 1), like),
        ]

    recording = Recording(11, generator(0))
    with draws.given(recording):
        sampler(11)
    assert widths(recording.draws) == {"normal": 6, "uniform": 3}
    numbers = {kind: drawn(kind, 5, n, generator(1)) for kind, n in widths(recording.draws).items()}
    with draws.given(Slices(recording.draws, numbers)):
        first, second, third = sampler(5)
    assert torch.equal(torch.cat([first, third], 1), numbers["uniform"])
    assert torch.equal(second.view(5, 6), numbers["normal"])


@pytest.mark.parametrize(
    "draw",
    [
        lambda like: draws.integers(0, 3, (11,), like),
        lambda like: draws.permutation(11, like),
        lambda like: draws.normal((7, 2), like),
        lambda like: draws.uniform((), like),
    ],
)
def test_draws_that_belong_to_no_single_event_are_refused(draw) -> None:
    with draws.given(Recording(11, generator(0))), pytest.raises(UserError, match="graph"):
        draw(torch.zeros(1))


def test_another_order_of_draws_is_refused() -> None:
    numbers = {"normal": torch.zeros(2, 1), "uniform": torch.zeros(2, 1)}
    with (
        draws.given(Slices([Draw("normal", 1)], numbers)),
        pytest.raises(UserError, match="same numbers"),
    ):
        draws.uniform((2, 1), torch.zeros(1))


def test_columns_are_chosen_as_often_as_their_weights_say() -> None:
    weights = torch.tensor([[0.0, 1.0, 3.0, 0.0], [2.0, 0.0, 0.0, 2.0]])
    found = draws.categorical(20_000, weights[:1], generator(0))
    share = found.bincount(minlength=4) / 20_000
    assert share[[0, 3]].tolist() == [0, 0]
    assert float(share[2]) == pytest.approx(0.75, abs=0.01)
    rows = draws.categorical(8000, weights.repeat(4000, 1), generator(0)).view(-1, 2)
    assert set(rows[:, 0].tolist()) == {1, 2}
    assert set(rows[:, 1].tolist()) == {0, 3}
    assert float((rows[:, 1] == 3).float().mean()) == pytest.approx(0.5, abs=0.04)


def test_a_number_at_the_edge_of_a_column_chooses_the_next_one_with_weight(monkeypatch) -> None:
    weights = torch.tensor([[0.0, 1.0, 3.0, 0.0]])
    edges = torch.tensor([[0.0], [0.25], [0.2499]], dtype=torch.float64)
    monkeypatch.setattr(draws, "uniform", lambda shape, like, generator: edges)
    assert draws.categorical(3, weights).tolist() == [1, 2, 1]
    assert draws.categorical(3, weights.expand(3, -1)).tolist() == [1, 2, 1]


def test_a_coupling_flow_makes_the_same_of_the_same_numbers() -> None:
    torch.manual_seed(0)
    flow = moved(coupling_flow(Layout(6, 2), 4, RationalQuadratic(8, 4.0), [16]))
    context = torch.randn(50, 2, generator=generator(5))
    expected = flow.sample(50, context, generator(1))
    with draws.given(Generated(generator(1))):
        found = flow.sample(50, context)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert not torch.equal(expected, torch.randn(50, 6, generator=generator(1)))


def test_an_autoregressive_flow_is_unrolled_to_the_same() -> None:
    flow = moved(autoregressive_flow(Layout(7, 2), 3, RationalQuadratic(8, 4.0), [16, 16]))
    context = torch.randn(50, 2, generator=generator(5))
    expected = flow.sample(50, context, generator(1))
    with draws.given(Generated(generator(1))):
        found = flow.sample(50, context)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_a_long_autoregressive_flow_says_to_export_the_student() -> None:
    flow = autoregressive_flow(Layout(65, 0), 1, RationalQuadratic(8, 4.0), [8])
    with (
        draws.given(Recording(11, generator(0))),
        pytest.raises(UserError, match=r"65 numbers .* export the student"),
    ):
        flow.sample(11)


def test_a_solver_that_chooses_its_steps_is_refused() -> None:
    x = torch.zeros(2, 1)
    with (
        draws.given(Recording(11, generator(0))),
        pytest.raises(UserError, match="fixed steps, such as solver=heun"),
    ):
        DormandPrince()(x, lambda y, t: y)


def test_all_events_are_one_group_where_nothing_may_depend_on_values() -> None:
    mask = torch.arange(20) < torch.tensor([[2], [20]] * 64)
    assert len(list(by_length(mask, least=4))) > 1
    with draws.given(Recording(11, generator(0))):
        assert list(by_length(mask, least=4)) == [(slice(None), 20)]


def test_operations_that_stand_for_others_do_the_same() -> None:
    values = torch.randn(5, 40, generator=generator(0), dtype=torch.float64)
    knots = values.sort(1).values[:, ::4].contiguous()
    values[:, :10] = knots  # ties
    for right in (False, True):
        found = TABLE[aten.searchsorted.Tensor](knots, values, right=right)
        assert torch.equal(found, torch.searchsorted(knots, values, right=right))
        found = TABLE[aten.bucketize.Tensor](values, knots[0], right=right)
        assert torch.equal(found, torch.bucketize(values, knots[0], right=right))
    share = torch.cat(
        [torch.rand(1000, generator=generator(1)).double(), 10.0 ** -torch.arange(1.0, 300)]
    )
    for op, true, x in (
        (aten.special_ndtri.default, torch.special.ndtri, torch.cat([share, 1 - share])),
        (aten.special_ndtr.default, torch.special.ndtr, 4 * values),
    ):
        torch.testing.assert_close(TABLE[op](x), true(x), rtol=1e-12, atol=1e-16)
    wide = torch.linspace(-30, 8, 500, dtype=torch.float64)
    found, true = TABLE[aten.special_log_ndtr.default](wide), torch.special.log_ndtr(wide)
    torch.testing.assert_close(found, true, rtol=1e-12, atol=1e-16)
    others = values.view(20, 10)
    near = TABLE[aten._cdist_forward.default](knots, others, 2.0, None)
    torch.testing.assert_close(near, torch.cdist(knots, others))
