from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from simulacra.core import Batch, Conditions, Field, Spec, UserError
from simulacra.transforms.maps.circle import Circle
from simulacra.transforms.maps.mixed_quantiles import MixedQuantiles
from simulacra.transforms.table import TableTransform
from table_toys import form, rows

SPEC = form().spec
LEVELS = torch.tensor([0.02, 0.1, 0.3, 0.5, 0.7, 0.9, 0.98], dtype=torch.float64)
WANTED = torch.special.ndtri(LEVELS)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def fitted(n: int = 4000, **options: object) -> TableTransform:
    transform = TableTransform(SPEC, SPEC.conditions, **options)  # type: ignore[arg-type]
    transform.fit([rows(n // 2, 1), rows(n // 2, 2)])
    return transform.eval()


def back(transform: TableTransform, batch: Batch, noise: torch.Generator | None = None) -> Batch:
    return transform.inverse(transform(batch, noise), batch.conditions())


@pytest.mark.parametrize("whiten", [True, False])
@pytest.mark.parametrize("noise", [None, generator(3)])
def test_rows_come_back(whiten: bool, noise: torch.Generator | None) -> None:
    events = rows(500, seed=7)
    made = back(fitted(whiten=whiten), events, noise)
    torch.testing.assert_close(made.x[:, [0, 1]], events.x[:, [0, 1]], rtol=1e-4, atol=1e-4)
    turn = torch.remainder(made.x[:, 2] - events.x[:, 2] + math.pi, 2 * math.pi) - math.pi
    assert float(turn.abs().max()) < 1e-4
    torch.testing.assert_close(made.x[:, 3], events.x[:, 3], rtol=0, atol=1e-4)
    spikes = (events.x[:, 3] == 0) | (events.x[:, 3] == 0.5)
    assert torch.equal(made.x[spikes, 3], events.x[spikes, 3])
    assert not bool(((made.x[~spikes, 3] == 0) | (made.x[~spikes, 3] == 0.5)).any())
    assert torch.equal(made.x[:, 4:], events.x[:, 4:])
    assert torch.equal(made.event["hits"], events.event["hits"])
    assert torch.equal(made.event["kind"], events.event["kind"])
    assert made.event["kind"].dtype == torch.int64


def test_noise_makes_every_column_a_standard_normal() -> None:
    transform = fitted(whiten=False).train()
    z = transform(rows(4000, 1), generator(5)).x["table"].double()
    for column in z.T:
        assert torch.allclose(column.quantile(LEVELS), WANTED, atol=0.15)


def test_columns_of_the_latent_event_are_independent() -> None:
    z = fitted().train()(rows(4000, 1), generator(5)).x["table"].double()
    assert torch.allclose(z.T.cov(), torch.eye(z.shape[1], dtype=torch.float64), atol=0.15)


def test_whatever_is_generated_is_valid_and_the_point_masses_keep_their_share() -> None:
    transform, events = fitted(whiten=False), rows(4000, 1)
    noise = torch.randn(20_000, transform.width, generator=generator(6))
    cond = Conditions(20_000)
    for scale in (1.0, 4.0):
        made = transform.inverse(type(transform(events))({"table": scale * noise}), cond)
        assert float(made.x[:, 0].min()) >= 10
        assert float(made.x[:, 2].abs().max()) <= math.pi + 1e-6
        assert float(made.x[:, 3].min()) >= 0
        assert float(made.x[:, 3].max()) <= 0.5
        assert torch.equal(made.x[:, 4], made.x[:, 4].round())
        assert set(made.x[:, 5].unique().tolist()) <= {0.0, 1.0, 2.0}
        if scale == 1.0:
            for value in (0.0, 0.5):
                share = float((events.x[:, 3] == value).float().mean())
                assert float((made.x[:, 3] == value).float().mean()) == pytest.approx(
                    share, abs=0.01
                )
            between = (made.x[:, 3] > 1e-3) & (made.x[:, 3] < 0.099)
            assert float(between.float().mean()) < 0.005


def test_without_noise_the_latent_event_repeats_and_with_it_not() -> None:
    transform, events = fitted(), rows(50, 3)
    first, again = (transform(events).x["table"] for _ in range(2))
    assert torch.equal(first, again)
    one, two = (transform(events, generator(seed)).x["table"] for seed in (0, 1))
    assert not torch.equal(one, two)
    transform.train()
    assert not torch.equal(transform(events).x["table"], transform(events).x["table"])


def test_statistics_are_in_the_state_and_nowhere_else() -> None:
    transform, events = fitted(), rows(50, 3)
    other = TableTransform(SPEC, SPEC.conditions).eval()
    other.load_state_dict(transform.state_dict())
    assert torch.equal(other(events).x["table"], transform(events).x["table"])
    again = back(other, events)
    assert torch.equal(again.x, back(transform, events).x)


@pytest.mark.parametrize("kind", ["plain", "whole", "circle"])
def test_an_event_of_weight_zero_or_two_counts_so(kind: str) -> None:
    events = rows(3000, 4)
    column = {"plain": 3, "whole": 4, "circle": 2}[kind]
    field, x = SPEC.features[column], events.x[:, [column]]
    weight = torch.randint(0, 3, (3000,), generator=generator(2)).float()
    repeated = x.repeat_interleave(weight.long(), 0)
    make = Circle if kind == "circle" else MixedQuantiles
    one, two = make([field]), make([field])
    one.fit(x, weight)
    two.fit(repeated)
    noise = torch.rand(len(x), 1, generator=generator(1))
    torch.testing.assert_close(one(x, noise), two(x, noise), rtol=0, atol=0.02)
    plain = make([field])
    plain.fit(x[: len(x) // 2])
    moved = make([field])
    moved.fit(x, (torch.arange(3000) < 1500).float())
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(value, moved.state_dict()[name], rtol=1e-6, atol=1e-6)


def test_weights_move_the_quantiles() -> None:
    events = rows(4000, 1)
    heavy = (events.x[:, 3] == 0).float() * 9 + 1
    transform = TableTransform(SPEC, SPEC.conditions)
    transform.fit([replace(events, weight=heavy)])
    i = [SPEC.features[k].name for k in transform.plain if k < 6].index("share")
    share = float((heavy * (events.x[:, 3] == 0)).sum() / heavy.sum())
    assert float(transform.quantiles.mass[i, 0]) == pytest.approx(share, rel=1e-6)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    kind=st.sampled_from(["free", "low", "both", "log", "high"]),
    spikes=st.lists(st.floats(0.0, 0.3), max_size=3),
)
def test_any_mixture_of_points_and_continuum_comes_back(
    seed: int, kind: str, spikes: list[float]
) -> None:
    low = {"low": 0.0, "both": -1.0, "log": 0.1}.get(kind)
    high = {"both": 2.0, "high": 1.0}.get(kind)
    field = Field("x", low=low, high=high, log=kind == "log")
    g = generator(seed)
    x = torch.randn(400, generator=g)
    x = x.exp() if kind in ("low", "log") else x
    values = [low if low is not None else -0.7, high if high is not None else 0.4, 0.5]
    draw = torch.rand(400, generator=g)
    for value, share in zip(values, spikes, strict=False):
        x = torch.where(draw < share, value, x)
        draw = draw - share
        draw = torch.where(draw < 0, 2.0, draw)
    bounds = (-torch.inf if low is None else low, torch.inf if high is None else high)
    x = x.clamp(*bounds)[:, None]
    maps = MixedQuantiles([field], knots=65)
    maps.fit(x)
    new = torch.cat([x, (3 * torch.randn(200, 1, generator=g)).clamp(*bounds)])
    noise = torch.rand(new.shape, generator=g)
    y = maps(new, noise)
    assert bool(y.isfinite().all())
    found = maps.inverse(y.float()).float()
    scale = float(x.std()) + 1e-3
    torch.testing.assert_close(found, new, rtol=2e-3, atol=2e-4 * scale)
    point = (new[:, :, None].double() == maps.value) & (maps.mass > 0)
    assert torch.equal(found[point.any(-1)], new[point.any(-1)])


def test_a_column_of_one_value_and_one_of_points_alone_come_back() -> None:
    fields = [Field("one"), Field("points", low=0.0)]
    x = torch.stack([torch.full((300,), 7.0), torch.tensor([0.0, 1.5, 4.0]).repeat(100)], 1)
    maps = MixedQuantiles(fields)
    maps.fit(x)
    noise = torch.rand(300, 2, generator=generator())
    y = maps(x, noise)
    assert torch.equal(maps.inverse(y.float()).float(), x)
    for column in y.T:
        assert torch.allclose(column.quantile(LEVELS), WANTED, atol=0.25)
    made = maps.inverse(torch.randn(5000, 2, generator=generator(1)))
    assert set(made[:, 0].unique().tolist()) == {7.0}
    assert set(made[:, 1].unique().tolist()) == {0.0, 1.5, 4.0}


def angles(n: int, sign: float) -> Tensor:
    g = generator(4)
    first = 2 * math.pi * torch.rand(n, generator=g)
    second = sign * first + math.pi + 0.2 * torch.randn(n, generator=g)
    third = 2 * math.pi * torch.rand(n, generator=g)
    return torch.stack([first, second, third], 1) + 40 * math.pi


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_an_angle_that_follows_another_one_is_relative_to_it(sign: float) -> None:
    fields = [Field(name, low=-math.pi, high=math.pi, periodic=True) for name in "abc"]
    circle, x = Circle(fields), angles(4000, sign)
    circle.fit(x)
    assert circle.sign.tolist() == [[0, 0, 0], [sign, 0, 0], [0, 0, 0]]
    y = circle(x, torch.rand(x.shape, generator=generator(1)))
    assert float((y.T.corrcoef() - torch.eye(6)).abs().max()) < 0.06
    turn = torch.remainder(circle.inverse(y) - x + math.pi, 2 * math.pi) - math.pi
    assert float(turn.abs().max()) < 1e-5
    made = circle.inverse(torch.randn(4000, 6, generator=generator(2)))
    assert float(made.abs().max()) <= math.pi + 1e-9
    apart = (
        torch.remainder(made[:, 1] - sign * made[:, 0] - math.pi + math.pi, 2 * math.pi) - math.pi
    )
    assert float(apart.std()) == pytest.approx(0.2, abs=0.03)


def test_event_fields_that_are_given_are_not_generated() -> None:
    given = (*SPEC.conditions, SPEC.field("hits"))
    transform = TableTransform(SPEC, given)
    transform.fit([rows(400)])
    latent = transform(rows(5))
    assert latent.x["table"].shape == (5, transform.width) == (5, 6 + 1 + 1)
    assert latent.cond is not None
    assert latent.cond.shape == (5, 1 + 2 + 1)
    made = transform.inverse(latent, rows(5).conditions(["energy", "mode", "hits"]))
    assert set(made.event) == {"kind"}


def test_a_table_of_one_column() -> None:
    spec = Spec("one", "table", (1,), "", features=(Field("x"),))
    transform = TableTransform(spec)
    x = torch.randn(500, 1, generator=generator())
    transform.fit([Batch(x)])
    torch.testing.assert_close(back(transform.eval(), Batch(x)).x, x, rtol=1e-4, atol=1e-4)


def test_the_log_determinant_is_that_of_small_steps() -> None:
    columns = {
        "share": None,
        "tracks": None,
        "flavour": None,
        "phi": None,
        "hits": None,
        "kind": None,
    }
    table = form(**columns)
    batch = replace(rows(4000, 1), x=rows(4000, 1).x[:, :2], event={})
    transform = TableTransform(table.spec, table.spec.conditions)
    transform.fit([batch])
    transform.eval()
    few = batch[:200]
    step, steps = 1e-3, []
    for i in range(2):
        moved = few.x.clone()
        moved[:, i] += step
        ends = [transform(replace(few, x=x)).x["table"].double() for x in (few.x, moved)]
        steps.append((ends[1] - ends[0]) / (moved[:, i] - few.x[:, i]).double()[:, None])
    expected = torch.linalg.slogdet(torch.stack(steps, 1)).logabsdet
    error = (transform.log_det(few).double() - expected).abs()
    assert float(error.median()) < 2e-3
    assert float((error < 0.05).double().mean()) > 0.9  # all but those whose step crosses a knot


def test_a_point_mass_has_its_probability_in_place_of_a_density() -> None:
    table = form(phi=None)
    events = rows(20000, 2)
    batch = replace(events, x=events.x[:, [0, 1, 3, 4, 5]])
    transform = TableTransform(table.spec, table.spec.conditions, whiten=False)
    transform.fit([batch])
    transform.eval()
    slopes = transform.quantiles.log_slope(transform._columns(batch))
    y = transform(batch).x["table"]
    normal = (-0.5 * y.double().square() - 0.5 * math.log(2 * math.pi) + slopes).exp()
    share, flavour = normal[:, 2], normal[:, 4]
    assert float(share[batch.x[:, 2] == 0.5].mean()) == pytest.approx(0.05, rel=0.1)
    assert float(flavour[batch.x[:, 4] == 1].mean()) == pytest.approx(0.3, rel=0.05)
    with pytest.raises(UserError, match="rows with periodic columns have no density"):
        fitted(200).log_det(rows(3))
