"""The step from showers to a flow's numbers and back."""

from __future__ import annotations

import pytest
import torch

from simulacra.core import Batch, Conditions, Field, Geometry, Latent, Layer, Spec
from simulacra.transforms.showers import ShowerTransform


def layer(number: int, rows: int, cols: int) -> Layer:
    edges = (
        tuple(-3.0 + 6 * k / rows for k in range(rows + 1)),
        tuple(float(k) for k in range(cols + 1)),
    )
    return Layer(number, ("alpha", "r"), edges, float(number))


LAYERS = tuple(
    layer(i, a, r)
    for i, (a, r) in enumerate([(1, 3), (4, 5), (1, 2)])
)  # fmt: skip
GEOMETRY = Geometry(LAYERS)


def spec(**changes: object) -> Spec:
    base = Spec(
        "toy", "layers", (25,), "MeV",
        conditions=(Field("incident_energy", "GeV", low=0.1, high=10.0, log=True, role="energy"),),
        geometry=GEOMETRY, threshold=0.5, cut=1.0,
    )  # fmt: skip
    return base.with_(**changes)


def showers(n: int = 200, smallest: float = 0.5) -> Batch:
    generator = torch.Generator().manual_seed(0)
    energy = 10 ** (-1 + 2 * torch.rand(n, 1, generator=generator))
    x = 60 * energy * torch.rand(n, 25, generator=generator).pow(4)
    x = torch.where(x < smallest, 0.0, x)
    x[:20, :3] = 0  # empty first layers
    overflow = (
        torch.rand(n, 2, generator=generator) * (torch.rand(n, 2, generator=generator) > 0.5) + 0.0
    )
    return Batch(
        x,
        {"incident_energy": energy},
        {"overflow": torch.where(overflow < smallest, 0.0, overflow)},
    )


def fitted(**options: object) -> tuple[ShowerTransform, Batch]:
    s = spec(event=(Field("overflow", "MeV", dim=2),))
    transform, batch = ShowerTransform(s, s.conditions, **options), showers()
    transform.fit([batch[:120], batch[120:]])
    return transform, batch


def test_showers_round_trip_without_and_with_noise():
    transform, batch = fitted()
    for train in (False, True):
        transform.train(train)
        latent = transform(batch, torch.Generator().manual_seed(1) if train else None)
        back = transform.inverse(latent, batch.conditions(["incident_energy"]))
        assert ((back.x == 0) == (batch.x == 0)).float().mean() > (0.995 if train else 0.999999)
        torch.testing.assert_close(
            GEOMETRY.layer_sums(back.x), GEOMETRY.layer_sums(batch.x), rtol=1e-4, atol=1e-4
        )
        torch.testing.assert_close(
            back.event["overflow"], batch.event["overflow"], rtol=1e-4, atol=1e-5
        )
        if not train:
            torch.testing.assert_close(back.x, batch.x, rtol=2e-4, atol=1e-4)


def test_latent_numbers_are_standardised_and_the_statistics_repeat():
    transform, batch = fitted()
    latent = transform(batch, torch.Generator().manual_seed(1))
    for name in ("energies", "cells", "layers"):
        assert latent.x[name].mean(0).abs().max() < 0.3, name
        assert (latent.x[name].std(0) - 1).abs().max() < 0.35, name
    assert transform.digest() == fitted()[0].digest()
    assert latent.cond.abs().max() <= 1.0001


def test_the_context_of_generated_energies_is_that_of_the_encoded():
    transform, batch = fitted()
    latent = transform.eval()(batch)
    context = transform.context(latent.x["energies"], batch.conditions(["incident_energy"]))
    torch.testing.assert_close(context, latent.x["layers"], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("scale", [1.0, 30.0, 1e4])
def test_any_latent_gives_a_valid_shower(scale: float):
    transform, _ = fitted()
    generator = torch.Generator().manual_seed(0)
    x = {
        "energies": 5 * torch.randn(64, 5, generator=generator),
        "cells": scale * torch.randn(64, 25, generator=generator),
    }
    cond = Conditions(64, {"incident_energy": torch.full((64, 1), 2.0)})
    back = transform.inverse(Latent(x), cond)
    s = transform.spec
    s.validate(back)
    assert not ((back.x > 0) & (back.x < 0.5)).any()
    sums, wanted = GEOMETRY.layer_sums(back.x), transform.context(x["energies"], cond)
    wanted = transform.fill.inverse(transform.layers.inverse(wanted), transform.floor)
    torch.testing.assert_close(sums, wanted, rtol=1e-3, atol=1e-3)


def test_the_floor_comes_from_threshold_then_cut_then_data():
    given = spec().conditions
    assert float(ShowerTransform(spec(), given).floor) == 0.5
    assert float(ShowerTransform(spec(threshold=0.0), given).floor) == pytest.approx(0.1)
    assert float(ShowerTransform(spec(), given, floor=0.7).floor) == pytest.approx(0.7)
    transform = ShowerTransform(spec(threshold=0.0, cut=0.0), given)
    batch = showers(smallest=0.25)
    transform.fit([batch])
    assert float(transform.floor) == pytest.approx(float(batch.x[batch.x > 0].min()))


def test_log_det_is_that_of_the_map_from_energies_to_latent_numbers():
    transform, _ = fitted()
    transform.eval()
    batch = Batch(
        torch.rand(1, 25).double() + 1.0,
        {"incident_energy": torch.ones(1, 1)},
        {"overflow": torch.rand(1, 2) + 1},
    )
    transform.double()

    def cells(x: torch.Tensor) -> torch.Tensor:
        return transform(Batch(x[None], batch.cond, batch.event)).x["cells"][0]

    jacobian = torch.autograd.functional.jacobian(cells, batch.x[0])
    rest = (
        -GEOMETRY.layer_sums(batch.x).log().sum()
        - batch.event["overflow"].log().sum()
        - transform.energies.std.log().sum()
    )
    expected = torch.linalg.slogdet(jacobian).logabsdet + rest
    torch.testing.assert_close(
        transform.log_det(batch)[0], expected, check_dtype=False, atol=1e-4, rtol=1e-5
    )
