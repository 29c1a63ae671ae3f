from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from simulacra.core import Latent
from simulacra.data.base import EventDataModule
from simulacra.models.clouds.epic_fm_jetclass import EPiCFMJetClass
from simulacra.transforms.cloud import CloudTransform
from simulacra.transforms.particles import (
    CHARGE,
    CHARGED,
    IMPACT,
    TRACK,
    TYPES,
    ParticleStandardise,
)
from support import spec_of


@pytest.fixture
def events(toy: Callable[..., EventDataModule]) -> EventDataModule:
    return toy("jetclass")


def fitted(events: EventDataModule) -> CloudTransform:
    transform = CloudTransform(events.spec, ["jet_class"], ParticleStandardise)
    transform.fit(events.fit_batches())
    return transform.eval()


def columns(events: EventDataModule, names: tuple[str, ...]) -> list[int]:
    known = [field.name for field in events.spec.features]
    return [known.index(name) for name in names]


def test_identified_particles_come_back(events: EventDataModule) -> None:
    transform, batch = fitted(events), events.batch(20)
    again = transform.inverse(transform(batch), batch.conditions(["jet_class"]))
    assert batch.mask is not None
    kinds = columns(events, TYPES)
    one_type = (
        batch.x[..., kinds].sum(-1) == 1
    )  # of another particle nothing is known but its momentum
    charged = batch.x[..., columns(events, CHARGED)].sum(-1) > 0
    known = batch.mask & one_type & (charged == (batch.x[..., columns(events, (CHARGE,))[0]] != 0))
    assert int(known.sum()) > 100
    whole = [*kinds, *columns(events, (CHARGE,))]
    assert torch.equal(again.x[known][:, whole], batch.x[known][:, whole])
    momenta = columns(events, ("etarel", "phirel", "ptrel"))
    torch.testing.assert_close(
        again.x[known][:, momenta], batch.x[known][:, momenta], rtol=1e-4, atol=1e-5
    )
    track = columns(events, IMPACT)
    tracked = known & charged
    torch.testing.assert_close(
        again.x[tracked][:, track], batch.x[tracked][:, track], rtol=1e-4, atol=1e-5
    )


def test_whatever_is_generated_each_particle_has_one_type_and_neutral_ones_no_track(
    events: EventDataModule,
) -> None:
    transform, batch = fitted(events), events.batch(20)
    latent = transform(batch)
    noise = 3 * torch.randn(latent.x["points"].shape, generator=torch.Generator().manual_seed(0))
    made = transform.inverse(
        Latent({**latent.x, "points": noise}, latent.cond, latent.mask),
        batch.conditions(["jet_class"]),
    )
    assert made.mask is not None
    flags = made.x[..., columns(events, TYPES)]
    assert torch.equal(flags.sum(-1), made.mask.to(flags.dtype))
    charge = made.x[..., columns(events, (CHARGE,))[0]]
    charged = made.x[..., columns(events, CHARGED)].sum(-1) > 0
    assert torch.equal(charge != 0, charged)
    assert set(charge.unique().tolist()) == {-1.0, 0.0, 1.0}
    assert bool((made.x[..., columns(events, TRACK)][~charged] == 0).all())
    assert bool((made.x[~made.mask] == 0).all())


def test_impact_parameters_of_any_size_are_resolved(events: EventDataModule) -> None:
    points = fitted(events).points
    x = torch.zeros(1, 5, len(events.spec.features), dtype=torch.float64)
    (d0,) = columns(events, ("d0",))
    x[0, :, columns(events, ("isChargedHadron", CHARGE))] = 1.0
    x[0, :, d0] = torch.tensor([-2000.0, -0.01, 0.0, 0.003, 500.0])
    torch.testing.assert_close(points.double().inverse(points(x))[..., d0], x[..., d0])


def test_jets_without_types_are_refused() -> None:
    assert EPiCFMJetClass.accepts(spec_of("jetclass", None)) is None
    assert "no types and charges" in str(EPiCFMJetClass.accepts(spec_of("jetnet30", None)))
    assert "kind grid" in str(EPiCFMJetClass.accepts(spec_of("ds2", None)))
