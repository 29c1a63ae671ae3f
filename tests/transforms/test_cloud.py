from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from simulacra.core import Batch, Conditions, Field, Latent, Spec, UserError
from simulacra.physics.jets import four_momentum
from simulacra.transforms.cloud import CloudStandardise, CloudTransform, energy_column
from simulacra.transforms.cloud_moments import moments
from simulacra.transforms.maps.log_linear import inverse_log_linear, log_linear
from simulacra.transforms.maps.quantile import QuantileMap

FEATURES = (
    Field("x", "mm", low=-9.0, high=9.0),
    Field("layer", low=0.0, high=9.0),
    Field("e", "GeV", low=0.0),
)
SPEC = Spec(
    "toy",
    "cloud",
    (12, 3),
    "GeV",
    features=FEATURES,
    conditions=(Field("incident_energy", "GeV", low=1.0, high=10.0, role="energy"),),
    event=(Field("mass", "GeV", low=0.0), Field("eta"), Field("count", role="count")),
)


def batch(n: int = 200, seed: int = 0, shift: int = 0) -> Batch:
    g = torch.Generator().manual_seed(seed)
    mask = torch.rand(n, 12, generator=g) < 0.7
    mask[:, 0] = True
    parts = [
        3 * torch.randn(n, 12, generator=g) + 1,
        torch.randint(0, 10, (n, 12), generator=g).float(),
        torch.exp(2 * torch.randn(n, 12, generator=g) - 3),
    ]
    x = torch.stack(parts, -1) * mask[..., None]
    energy = 1 + 9 * torch.rand(n, 1, generator=g)
    event = {
        "mass": torch.exp(torch.randn(n, 1, generator=g) + shift),
        "eta": torch.randn(n, 1, generator=g),
        "count": mask.sum(1, keepdim=True).float(),
    }
    return Batch(x, {"incident_energy": energy}, event, mask)


def fitted(
    given: tuple[str, ...] = ("incident_energy",), calibrate: bool = False
) -> CloudTransform:
    transform = CloudTransform(SPEC, given, leading=1, calibrate=calibrate)
    transform.fit([batch(200, seed) for seed in range(3)])
    return transform.eval()


def test_energy_column_is_the_first_open_ended_amount() -> None:
    assert energy_column(FEATURES) == 2
    assert energy_column((Field("eta"), Field("pt", low=0.0), Field("error", low=0.0))) == 1
    assert energy_column((Field("x"), Field("y"))) == 1


def test_real_points_are_standardised_and_padded_ones_are_zero() -> None:
    events = batch()
    assert events.mask is not None
    points = CloudStandardise(FEATURES, scale=5.0)
    points.fit(events.x, events.mask)
    y = points(events.x, events.mask)
    real = y[events.mask]
    assert torch.allclose(real.mean(0), torch.zeros(3), atol=1e-4)
    assert torch.allclose(real.std(0)[[0, 2]], torch.full((2,), 5.0), rtol=1e-3)
    spread = points(points.spread(events.x, torch.Generator().manual_seed(1)), events.mask)
    assert torch.allclose(spread[events.mask].std(0), torch.full((3,), 5.0), rtol=1e-2)
    assert torch.allclose(
        real[:, 0], (events.x[events.mask][:, 0] - points.mean[0]) / (points.std[0] / 5), atol=1e-4
    )
    assert bool((y[~events.mask] == 0).all())
    assert points.curved.tolist() == [False, False, True]
    assert points.whole.tolist() == [False, True, False]


@settings(max_examples=60, deadline=None)
@given(st.floats(1e-30, 1e30))
def test_log_linear_is_inverted_for_any_positive_number(value: float) -> None:
    x = torch.tensor([value], dtype=torch.float64)
    assert float(log_linear(x)) == pytest.approx(value + math.log(value), rel=1e-12)
    assert float(inverse_log_linear(log_linear(x))) == pytest.approx(value, rel=1e-9)


def test_streamed_statistics_equal_those_of_all_points() -> None:
    parts = [batch(50, seed) for seed in range(4)]
    streamed, whole = CloudStandardise(FEATURES), CloudStandardise(FEATURES)
    streamed.fit_stream(lambda: ((part.x, part.mask) for part in parts))
    joined = Batch.cat(parts)
    whole.fit(joined.x, joined.mask)
    assert torch.allclose(streamed.mean, whole.mean)
    assert torch.allclose(streamed.std, whole.std)
    energy = joined.x[joined.mask][:, 2].double()
    bent = energy / (3 * energy.mean()) + (energy / (3 * energy.mean())).log()
    assert float(streamed.mean[2]) == pytest.approx(float(bent.mean()), rel=1e-5)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.floats(-50, 50, width=32),
            st.integers(-3, 30),
            st.floats(2.0**-20, 1024.0, width=32),
            st.booleans(),
        ),
        min_size=1,
        max_size=8,
    )
)
def test_points_come_back_exactly(values: list[tuple[float, int, float, bool]]) -> None:
    events = batch()
    points = CloudStandardise(FEATURES, scale=5.0)
    points.fit(events.x, events.mask)
    mask = torch.tensor([[v[3] for v in values]])
    x = torch.tensor([[v[:3] for v in values]]) * mask[..., None]
    back = points.inverse(points(x, mask), mask)
    assert torch.allclose(back, x, rtol=1e-4, atol=2e-5)
    assert torch.equal(back[..., 1], x[..., 1])


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 400), st.floats(0.01, 100), st.integers(0, 1000), st.floats(-3, 3))
def test_quantile_map_is_a_bijection_also_beyond_the_fitted_range(
    n: int, width: float, seed: int, out: float
) -> None:
    g = torch.Generator().manual_seed(seed)
    x = torch.stack(
        [width * torch.randn(n, generator=g), torch.exp(torch.randn(n, generator=g))], 1
    )
    x[:, 0] -= x[:, 0].mean()  # both signs: the domain of this column is the whole line
    x = torch.cat([x, x[:1].expand(n, -1)])  # ties
    quantiles = QuantileMap(2, knots=65)
    quantiles.fit(x)
    probe = torch.cat([x, torch.stack([x[:, 0] + out * width, x[:, 1] * math.exp(out)], 1)])
    back = quantiles.inverse(quantiles(probe))
    assert torch.allclose(back, probe, rtol=2e-3, atol=2e-3 * width)
    assert bool((quantiles.inverse(quantiles(probe))[:, 1] > 0).all())
    line = torch.linspace(float(x[:, 0].min()) - 1, float(x[:, 0].max()) + 1, 50)
    mapped = quantiles(torch.stack([line, line.abs() + 0.1], 1))[:, 0]
    assert bool((mapped.diff() >= 0).all())


def test_quantile_map_makes_any_column_standard_normal() -> None:
    g = torch.Generator().manual_seed(0)
    x = torch.stack(
        [torch.rand(20_000, generator=g), torch.exp(3 * torch.randn(20_000, generator=g))], 1
    )
    quantiles = QuantileMap(2)
    quantiles.fit(x)
    y = quantiles(x).sort(0).values
    level = torch.special.ndtri((torch.arange(20_000) + 0.5) / 20_000)[:, None]
    assert float((y - level).abs().mean()) < 0.01


@pytest.mark.parametrize(
    "given_", [("incident_energy",), ("incident_energy", "mass"), ("incident_energy", "count")]
)
def test_events_come_back_from_the_latent(given_: tuple[str, ...]) -> None:
    transform = fitted(given_)
    events = batch(60, seed=7)
    latent = transform(events)
    assert latent.x["event"].shape == (60, transform.width)
    back = transform.inverse(latent, events.conditions(given_))
    assert torch.allclose(back.x, events.x, rtol=1e-4, atol=1e-5)
    for name in {"mass", "eta", "count"} - set(given_):
        assert torch.allclose(back.event[name], events.event[name], rtol=1e-4, atol=1e-4), name
    assert not set(back.event) & set(given_)
    assert torch.equal(
        transform.mask(latent.x["event"], events.conditions(given_)).sum(1),
        events.x[..., 2].gt(0).sum(1),
    )


def test_dequantised_counts_and_whole_features_are_recovered_in_training_mode() -> None:
    transform = fitted()
    events = batch(60, seed=7)
    transform.train()
    first, second = (transform(events, torch.Generator().manual_seed(seed)) for seed in (0, 1))
    assert not torch.equal(first.x["event"][:, 0], second.x["event"][:, 0])
    assert not torch.equal(first.x["points"], second.x["points"])
    back = transform.inverse(first, events.conditions())
    assert torch.allclose(back.x, events.x, rtol=1e-4, atol=1e-5)
    counts = transform.mask(first.x["event"], events.conditions()).sum(1)
    assert torch.equal(counts.float(), events.event["count"][:, 0])


def test_calibration_gives_the_generated_moments_and_moves_nothing_else() -> None:
    transform = fitted(calibrate=True)
    latent = transform(batch(60, seed=7))
    event = latent.x["event"].clone()
    event[:, -3:] = torch.tensor([0.3, -0.5, 0.4])
    back = transform.inverse(
        Latent({**latent.x, "event": event}, latent.cond, latent.mask), Conditions(60)
    )
    wanted = transform.event.inverse(event)[:, -3:]
    assert back.mask is not None
    many = back.mask.sum(1) > 1
    assert torch.allclose(moments(back.x, 2, 1)[many], wanted[many], rtol=1e-3, atol=1e-4)
    plain = transform.inverse(latent, Conditions(60))
    assert torch.equal(back.x[..., 1], plain.x[..., 1])
    assert bool((back.x[~back.mask] == 0).all())


def test_moments_fix_the_mass_of_a_narrow_jet() -> None:
    g = torch.Generator().manual_seed(0)
    angles, pt = (
        0.05 * torch.randn(50, 20, 2, generator=g).double(),
        torch.rand(50, 20, generator=g).double(),
    )
    total, _, _, *widths = moments(torch.cat([angles, pt[..., None]], -1), 2, 2).T
    mass, _ = four_momentum(angles[..., 0], angles[..., 1], pt)
    assert torch.allclose(mass, total * torch.stack(widths).square().sum(0).sqrt(), rtol=0.02)


def test_generated_fields_stay_in_their_bounds() -> None:
    transform = fitted()
    latent = Latent(
        {"event": torch.full((2, 6), -60.0), "points": torch.zeros(2, 12, 3)},
        None,
        torch.ones(2, 12).bool(),
    )
    assert float(transform.inverse(latent, Conditions(2)).event["mass"].min()) >= 0
    assert torch.equal(
        transform.mask(latent.x["event"], Conditions(2)).sum(1), torch.zeros(2, dtype=torch.int64)
    )
    assert torch.equal(
        transform.mask(-latent.x["event"], Conditions(2)).sum(1), torch.full((2,), 12)
    )


def test_clouds_without_points_are_refused() -> None:
    with pytest.raises(UserError, match="no points"):
        CloudStandardise(FEATURES).fit(torch.zeros(3, 4, 3), torch.zeros(3, 4, dtype=torch.bool))
    events = batch(4)
    with pytest.raises(UserError, match="no mask"):
        fitted()(Batch(events.x, events.cond, events.event))


def test_nothing_works_in_place() -> None:
    events = batch(20)
    before: Tensor = events.x.clone()
    transform = fitted().train()
    transform.inverse(transform(events, torch.Generator().manual_seed(0)), events.conditions())
    assert torch.equal(events.x, before)
