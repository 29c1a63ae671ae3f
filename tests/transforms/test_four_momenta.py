"""Tables of four-momenta: mass shells, coordinates there and back, what a critic sees, resonances."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from simulacra import data
from simulacra.core import Batch, Conditions, Field, IncompatibleError, Latent, Spec, UserError
from simulacra.core.momenta import mass
from simulacra.transforms.four_momenta import FourMomenta
from simulacra.transforms.momentum_charts import (
    Augmented,
    BelowBeam,
    Cartesian,
    Chart,
    Energies,
    Pseudorapid,
)
from support import composed, spec_of

SPEC = spec_of("events", None)
CHARTS = pytest.mark.parametrize("chart", [Cartesian(), Pseudorapid(), BelowBeam(6500.0)])


@pytest.fixture(scope="module")
def events() -> Batch:
    return data.build(composed("data", "data=events")).part("test")[range(3000)]


def fitted(
    events: Batch, chart: Chart | None = None, shown=None, whiten: bool = False
) -> FourMomenta:
    transform = FourMomenta(SPEC, (), chart or Cartesian(), shown or Energies(), whiten)
    transform.fit([events[:1500], events[1500:]])
    return transform.eval()


@CHARTS
@pytest.mark.parametrize("whiten", [False, True])
def test_momenta_come_back_and_energies_are_those_of_the_mass_shell(
    chart: Chart, whiten: bool, events: Batch
) -> None:
    transform = fitted(events, chart, whiten=whiten)
    back = transform.inverse(transform(events), events.conditions([]))
    true, made = (batch.x.double().unflatten(1, (6, 4)) for batch in (events, back))
    torch.testing.assert_close(made[..., 1:], true[..., 1:], rtol=2e-4, atol=2e-2)
    wanted = (made[..., 1:].square().sum(-1) + transform.masses.double().square()).sqrt()
    torch.testing.assert_close(made[..., 0], wanted, rtol=1e-6, atol=1e-4)
    bottoms = mass(made)[:, [0, 3]]
    assert float((bottoms - 4.8).abs().median()) < 1e-2
    gap = (
        made[..., 0] - true[..., 0]
    ).abs()  # from masses of light quarks, which are their medians
    assert float(gap.quantile(0.99)) < 0.2


def test_a_mass_that_the_data_fix_is_not_learnt_and_another_is_the_median(events: Batch) -> None:
    transform = fitted(events)
    found = mass(events.x.double().unflatten(1, (6, 4))).median(0).values
    assert transform.masses[[0, 3]].tolist() == pytest.approx([4.8, 4.8])
    torch.testing.assert_close(transform.masses[[1, 2, 4, 5]].double(), found[[1, 2, 4, 5]])


def test_masses_of_resonances_are_in_units_of_their_widths(events: Batch) -> None:
    transform = fitted(events)
    assert transform.centre.tolist() == pytest.approx([80.4, 80.4, 173.0, 173.0], abs=0.3)
    assert [round(width, 1) for width in transform.width.tolist()] == pytest.approx(
        [2.1, 2.1, 1.5, 1.5], abs=0.21
    )
    z = transform(events).x["momenta"]
    levels = torch.tensor([0.25, 0.5, 0.75])
    quartiles = transform.resonance_masses(z).quantile(levels, dim=0)
    torch.testing.assert_close(quartiles[1], torch.zeros(4), atol=0.02, rtol=0)
    torch.testing.assert_close(quartiles[2] - quartiles[0], torch.ones(4), atol=0.02, rtol=0)
    observed = data.build(composed("data", "data=events")).observables(events)["mass_top"]
    own = transform.resonance_masses(z)[:, 2] * transform.width[2] + transform.centre[2]
    assert float((own - observed).abs().median()) < 0.05


def test_rows_keep_the_order_of_their_columns() -> None:
    """Columns in any order; momenta do not depend on it."""
    order = torch.randperm(24, generator=torch.Generator().manual_seed(3))
    where = order.argsort().tolist()
    particles = tuple(
        type(p)(p.name, tuple(where[column] for column in p.columns), p.mass)
        for p in SPEC.particles
    )
    mixed = SPEC.with_(
        particles=particles, features=tuple(SPEC.features[i] for i in order.tolist())
    )
    x = data.build(composed("data", "data=events")).part("test")[range(100)].x
    made = []
    for spec, rows in ((SPEC, x), (mixed, x[:, order])):
        transform = FourMomenta(spec, (), Cartesian(), Energies(), False)
        transform.fit([Batch(rows, {})])
        z = transform(Batch(rows, {}))
        made.append((z.x["momenta"], transform.inverse(z, Conditions(100, {})).x))
    torch.testing.assert_close(made[0][0], made[1][0])
    torch.testing.assert_close(made[0][1][:, order], made[1][1])


@pytest.mark.parametrize("shown", [Energies(), Augmented()])
def test_what_the_critic_sees_is_standardised_and_follows_from_the_momenta(
    shown, events: Batch
) -> None:
    transform = fitted(events, Pseudorapid(), shown)
    z = transform(events).x["momenta"]
    seen = transform.seen_by_critic(z)
    assert seen.shape == (3000, transform.seen)
    assert torch.equal(seen[:, : transform.made], z)
    torch.testing.assert_close(seen.mean(0), torch.zeros(transform.seen), atol=1e-2, rtol=0)
    torch.testing.assert_close(seen.std(0), torch.ones(transform.seen), atol=2e-2, rtol=0)


def test_augmented_quantities_are_energy_momentum_and_pseudorapidity() -> None:
    p = torch.tensor([[13.0, 3.0, 4.0, 12.0]])
    wanted = torch.tensor([[13.0, 12.0, 5.0, torch.asinh(torch.tensor(2.4)).item()]])
    torch.testing.assert_close(Augmented()(p), wanted)


@CHARTS
def test_gradients_are_finite_wherever_a_generator_may_go(chart: Chart, events: Batch) -> None:
    transform = fitted(events, chart, Augmented())
    z = torch.cat(
        [torch.zeros(1, 18), 50 * torch.randn(40, 18, generator=torch.Generator().manual_seed(0))]
    )
    z[0] = -transform.coordinates.mean / transform.coordinates.std  # particles at rest
    z.requires_grad_()
    values = transform.seen_by_critic(z).sum() + transform.resonance_masses(z).sum()
    values.backward()
    assert bool(torch.isfinite(values))
    assert z.grad is not None
    assert bool(torch.isfinite(z.grad).all())


def test_no_particle_is_faster_than_the_beam(events: Batch) -> None:
    with pytest.raises(UserError, match="below the beam's energy 100"):
        fitted(events, BelowBeam(100.0))
    chart = BelowBeam(6500.0)
    assert (
        float(
            chart.inverse(100 * torch.randn(50, 3, generator=torch.Generator().manual_seed(0)))
            .abs()[:, 2]
            .max()
        )
        <= 6500.01
    )


def test_tables_of_anything_else_are_refused() -> None:
    for spec, sentence in (
        (spec_of("table", None), "in table no particle's is pt"),
        (SPEC.with_(event=(Field("x"),)), "in events no particle's is x"),
        (Spec("x", "cloud", (3, 1), "", features=(Field("a"),)), "events of kind cloud"),
    ):
        with pytest.raises(IncompatibleError, match=sentence):
            partial(FourMomenta, chart=Cartesian(), shown=Energies(), whiten=True)(spec, ())


def test_a_latent_event_far_away_is_still_one_of_particles(events: Batch) -> None:
    transform = fitted(events, Pseudorapid())
    z = 1e3 * torch.ones(2, 18)
    assert bool(
        torch.isfinite(transform.inverse(Latent({"momenta": z}), Conditions(2, {})).x).all()
    )


def test_momenta_that_balance_each_other_do_so_whatever_is_generated(events: Batch) -> None:
    """Transverse momenta of an event add up to zero; so do those of whitened noise, nearly."""
    balance = []
    for whiten in (False, True):
        transform = fitted(events, whiten=whiten)
        z = transform(events).x["momenta"]
        noise = torch.randn(2000, 18, generator=torch.Generator().manual_seed(0)) * z.std(0)
        balance.append(float(transform.four_momenta(noise).sum(1)[:, 1:3].std()))
    assert balance[0] > 100
    assert balance[1] < 2
