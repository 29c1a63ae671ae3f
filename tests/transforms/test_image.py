"""Scalings of volumes and images: exact inverses, and the statistics that critics see."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from simulacra.core import Batch, Conditions, Field, Spec, UserError, regular_grid
from simulacra.transforms.image import ImageScaling, LogRange, moments
from simulacra.transforms.volume import GridScaling, LinearScale, LogScale

contents = st.lists(st.one_of(st.just(0.0), st.floats(1e-4, 1e4)), min_size=1, max_size=20)


@given(values=contents, unit=st.floats(1e-3, 1e3))
def test_volume_scalings_undo_themselves_and_keep_empty_cells_empty(
    values: list[float], unit: float
) -> None:
    x = torch.tensor(values)
    for scale in (LinearScale(unit), LogScale(unit)):
        scale.fit(x)
        y = scale(x)
        torch.testing.assert_close(scale.inverse(y), x, rtol=2e-5, atol=2e-6 * unit)
        assert torch.equal(y == 0, x == 0)
        assert torch.equal(scale.inverse(-y), torch.zeros_like(x))


@given(values=contents, unit=st.floats(1e-3, 1e3))
def test_range_scaling_undoes_itself_within_minus_one_and_one(
    values: list[float], unit: float
) -> None:
    x = torch.tensor(values)
    scale = LogRange(unit)
    scale.fit(x)
    y = scale(x)
    assert float(y.min()) >= -1
    assert float(y.max()) <= 1 + 1e-6
    torch.testing.assert_close(scale.inverse(y), x, rtol=1e-4, atol=1e-5 * unit)


def test_logarithmic_scale_bounds_what_a_network_can_ask_for() -> None:
    scale = LogScale(0.1, ceiling=1.5)
    scale.fit(torch.tensor([0.0, 20.0]))
    assert float(scale.inverse(torch.tensor(50.0))) == pytest.approx(30.0, rel=1e-4)


@pytest.mark.parametrize("make", [LinearScale, LogScale, LogRange])
def test_scales_must_be_positive(make: type) -> None:
    with pytest.raises(UserError, match="scale"):
        make(0.0)


def showers(n: int = 60) -> tuple[Spec, Batch]:
    edges = tuple(float(i) for i in range(5))
    energy = Field("incident_energy", "MeV", low=1e3, high=1e4, role="energy")
    spec = Spec(
        "toy",
        "grid",
        (3, 4, 4),
        "MeV",
        conditions=(energy,),
        geometry=regular_grid(3, (edges, edges)),
        cut=0.1,
    )
    generator = torch.Generator().manual_seed(0)
    incident = 1e3 + 9e3 * torch.rand(n, 1, generator=generator)
    cells = (
        torch.relu(torch.randn(n, 3, 4, 4, generator=generator)) * incident[:, :, None, None] * 1e-3
    )
    return spec, Batch(cells, {"incident_energy": incident})


def test_grid_comes_back_and_its_profiles_are_standardised_sums() -> None:
    spec, batch = showers()
    transform = GridScaling(spec, spec.conditions, logarithmic=True, profiles=True)
    transform.fit([batch[:20], batch[20:]])
    latent = transform(batch)
    assert latent.x["shower"].shape == (60, 1, 3, 4, 4)
    torch.testing.assert_close(latent.x["energy"], batch.cond["incident_energy"] / 1e3)
    torch.testing.assert_close(
        transform.inverse(latent, Conditions(60)).x, batch.x, rtol=1e-4, atol=1e-5
    )
    profiles = transform.profiles(latent.x["shower"], latent.x["energy"])
    assert profiles.shape == (60, transform.profile_width)
    torch.testing.assert_close(
        profiles.mean(0), torch.zeros(transform.profile_width), atol=1e-3, rtol=0
    )
    torch.testing.assert_close(
        profiles.std(0, correction=0), torch.ones(transform.profile_width), atol=1e-3, rtol=0
    )
    layer = (
        batch.x.sum((2, 3))[:, 1] / latent.x["energy"][:, 0]
    )  # the third column is the second layer
    wanted = (layer - layer.mean()) / layer.std(correction=0)
    torch.testing.assert_close(profiles[:, 2], wanted, atol=1e-3, rtol=1e-3)


def image_spec(features: tuple[Field, ...], threshold: float) -> Spec:
    return Spec(
        "toy", "image", (2, 6, 10), "", features=features, threshold=threshold, cut=threshold
    )


@pytest.mark.parametrize("whole", [True, False])
def test_images_come_back_and_their_summary_is_standardised(whole: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(40, 2, 6, 10, generator=generator)
    x = torch.where(x > 0.8, (200 * x).round() if whole else x, 0.0)
    spec = image_spec((Field("charge", "ADU", high=255.0),) if whole else (), 7.0 if whole else 0.1)
    transform = ImageScaling(spec, (), stride=4, noise=4e-3)
    transform.fit([Batch(x[:10]), Batch(x[10:])])
    latent = transform.eval()(Batch(x))
    assert latent.x["image"].shape == (40, 2, 8, 12)
    torch.testing.assert_close(transform.inverse(latent, Conditions(40)).x, x, rtol=1e-4, atol=1e-5)
    summary = transform.summary(latent.x["image"].flatten(0, 1))
    torch.testing.assert_close(
        summary.mean(0), torch.zeros(transform.summary_width), atol=1e-3, rtol=0
    )
    noisy = transform.train()(Batch(x), generator).x["image"] - latent.x["image"]
    assert float(noisy.min()) >= 0
    assert 7e-3 < float(noisy.max()) < 8e-3 + 1e-6


def test_moments_of_parts_are_those_of_the_whole() -> None:
    rows = torch.cat([torch.randn(50, 2) * 3 + 5, torch.full((50, 1), 2.0)], 1)
    mean, std = moments([rows[:7], rows[7:]])
    torch.testing.assert_close(mean, rows.double().mean(0))
    torch.testing.assert_close(std[:2], rows.double().std(0, correction=0)[:2])
    assert float(std[2]) == 1.0
