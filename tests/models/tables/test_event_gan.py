"""The event GAN: published size, what its critic sees, the term of masses, a resonance with and without."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from decay_toys import MASS, WIDTH, decays, spec
from simulacra.core import Batch, Field, IncompatibleError, Prior, Spec
from simulacra.core.momenta import mass
from simulacra.models.tables.event_gan import EventGAN
from simulacra.training.checkpoint import build
from support import composed, fits, made, sized, spec_of

EVENTS = spec_of("events", None)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def gan(*changes: str, of: Spec | None = None, batch: Batch | None = None) -> EventGAN:
    """A module at its smallest size over decays, or over other rows."""
    module: EventGAN = made("event_gan", of or spec(), *changes)
    return module.fit_transform([decays(200, 0) if batch is None else batch])


def test_the_toy_is_a_breit_wigner_curve_of_massless_particles() -> None:
    momenta = decays(20_000, 1).x.double().unflatten(1, (2, 4))
    assert float((mass(momenta) / momenta[..., 0]).max()) < 1e-3
    levels = torch.tensor([0.25, 0.5, 0.75], dtype=torch.float64)
    low, middle, high = mass(momenta.sum(1)).quantile(levels).tolist()
    assert middle == pytest.approx(MASS, abs=0.05)
    assert high - low == pytest.approx(WIDTH, rel=0.1)  # a little narrower, since the tails are cut


def test_the_published_networks_have_the_published_widths() -> None:
    """Ten layers of 512 units, from 18 normal numbers to 18 momenta and from 24 components to a score."""
    with torch.device("meta"):
        module = made("event_gan", EVENTS, size="published")
    deep = 9 * (512 * 512 + 512)
    players = [sum(p.numel() for p in net.parameters()) for net in (module.net, module.critic)]
    assert players == [18 * 512 + 512 + deep + 512 * 18 + 18, 24 * 512 + 512 + deep + 512 + 1]
    assert players == [2_382_866, 2_377_217]
    assert module.rules.game.slope == 1e-3
    assert module.matching.weight == 1.0
    assert module.matching.kernel.widths == (1.0,)


def test_particles_of_fixed_mass_stay_on_their_shells() -> None:
    module = gan("transform.shown={_target_: simulacra.transforms.momentum_charts.Augmented}")
    made = module.sample(50, generator=generator()).x.double().unflatten(1, (2, 4))
    assert float((mass(made) / made[..., 0]).max()) < 2e-3  # what float32 leaves of zero
    heavy = spec().with_(particles=tuple(replace(p, mass=30.0) for p in spec().particles))
    made = gan(of=heavy).sample(50, generator=generator()).x.double().unflatten(1, (2, 4))
    torch.testing.assert_close(mass(made), torch.full((50, 2), 30.0).double(), rtol=1e-4, atol=0)


@pytest.mark.parametrize("chart", ["cartesian", "pseudorapid", "below_beam"])
def test_augmented_features_are_shown_to_the_critic_and_no_more_is_generated(chart: str) -> None:
    chosen = [*sized("event_gan", "tiny", ()), f"chart@model.transform.chart={chart}"]
    widths = []
    for shown in ("energies", "augmented"):
        config = composed("model", *chosen, f"shown@model.transform.shown={shown}")
        module = build(config, spec()).fit_transform([decays(200, 0)])
        latent = module.encode(decays(8, 1))
        assert latent.x["momenta"].shape == (8, 6)
        module.critic_loss(latent, generator())["loss"].backward()
        widths.append(module.critic.judge.net.layers[0].in_features)
        module.spec.validate(module.sample(8, generator=generator()))
    assert widths == [8, 14]


def test_the_term_is_the_discrepancy_of_physical_masses_in_units_of_the_resonance() -> None:
    module, events = gan("matching.weight=3"), decays(40, 2)
    latent = module.encode(events)
    values = module.generator_loss(latent, generator())
    fake = module.net(40, None, generator()).detach()
    rows = module.transform.inverse(replace(latent, x={"momenta": fake}), events.conditions()).x
    width = float(module.transform.width)
    apart = [mass(x.unflatten(1, (2, 4)).sum(1)) / width for x in (rows, events.x)]
    pairs = [(a[:, None] - b).square() for a in apart for b in apart]
    means = [float((1 / (1 + 4 * square)).mean()) for square in pairs]
    wanted = 3 * (means[0] - means[1] - means[2] + means[3])
    assert float(values["masses"].detach()) == pytest.approx(wanted, rel=2e-3)
    torch.testing.assert_close(values["loss"], values["game"] + values["masses"])


def test_without_a_weight_or_a_resonance_there_is_no_such_term() -> None:
    latent = gan().encode(decays(8, 1))
    assert "masses" in gan().generator_loss(latent, generator())
    assert "masses" not in gan("matching.weight=0").generator_loss(latent, generator())
    assert "masses" not in gan(of=spec().with_(resonances=())).generator_loss(latent, generator())


def test_masses_pull_the_generator_and_never_the_critic() -> None:
    module = gan("matching.weight=1e6")
    latent = module.encode(decays(64, 1))
    module.generator_loss(latent, generator())["loss"].backward()
    assert all(parameter.grad is None for parameter in module.critic.parameters())
    strong = [parameter.grad.clone() for parameter in module.net.parameters()]
    module.zero_grad()
    module.matching = replace(module.matching, weight=0.0)
    module.generator_loss(latent, generator())["loss"].backward()
    for found, plain in zip(strong, module.net.parameters(), strict=True):
        assert float(found.norm()) > 100 * float(plain.grad.norm())


def test_weighted_events_count_in_the_term_of_masses() -> None:
    module, events = gan(), decays(30, 1)
    made, real = decays(30, 5), decays(30, 6)
    z = [module.encode(batch).x["momenta"] for batch in (made, real)]
    weight = torch.linspace(0.1, 3, 30)
    values = [
        float(
            module.terms(z[0], replace(module.encode(events), x={"momenta": z[1]}, weight=w))[
                "masses"
            ]
        )
        for w in (weight, None)
    ]
    assert values[0] != pytest.approx(values[1], rel=1e-2)


def test_the_class_of_an_event_is_asked_for_and_other_conditions_are_seen() -> None:
    kind = Field("kind", classes=("a", "b"), role="class")
    energy = Field("energy", "GeV", low=1.0, high=9.0)
    asked = spec().with_(
        conditions=(kind, energy),
        prior=(Prior("kind", "discrete", (0.0, 1.0)), Prior("energy", "uniform", (1.0, 9.0))),
    )
    rows = decays(200, 0)
    cond = {
        "kind": torch.arange(200)[:, None] % 2,
        "energy": 1 + 8 * torch.rand(200, 1, generator=generator()),
    }
    module = gan(of=asked, batch=replace(rows, cond=cond))
    latent = module.encode(replace(rows, cond=cond)[:16])
    for objective in module.objectives().values():
        assert "label" in objective.loss(latent, generator())
    other = torch.cat([latent.cond[:, :2], latent.cond[:, 2:] + 1], 1)
    scores = [module.verdict(latent.x["momenta"], c).score for c in (latent.cond, other)]
    assert not torch.allclose(*scores)


def test_tables_that_hold_more_than_four_momenta_are_refused() -> None:
    assert fits("event_gan", "events", None)
    assert not fits("event_gan", "table", None)
    assert not fits("event_gan", "jetnet30", None)
    with pytest.raises(
        IncompatibleError, match="four-momenta alone, and in decays no particle's is x"
    ):
        made("event_gan", spec().with_(features=(*spec().features, Field("x")), shape=(9,)))


def trained(weight: float, seed: int, turns: int) -> dict[str, float]:
    """What a resonance of generated decays is like after a training, in GeV."""
    events = decays(20_000, 1)
    module: EventGAN = made(
        "event_gan", spec(), "net.hidden=[64,64]", "critic.hidden=[64,64]", "optim.optimizer.lr=2e-3",
        f"matching.weight={weight}", "matching.kernel.widths=[1,4,16,64]", "rules.game.slope=0.1",
        size="small", seed=seed,
    ).fit_transform([events])  # fmt: skip
    objectives = module.objectives()
    optimizers = {name: o.optim.start(o.parameters) for name, o in objectives.items()}
    schedules = {name: o.optim.schedule(optimizers[name], turns) for name, o in objectives.items()}
    source = generator(seed)
    for _ in range(turns):
        latent = module.encode(events[torch.randint(len(events), (128,), generator=source)])
        for name, objective in objectives.items():
            objective.loss(latent, source)["loss"].backward()
            optimizers[name].step()
            schedules[name].step()
            module.zero_grad()
    made_events = module.sample(8000, generator=generator(4)).x
    whole, truth = (
        x.double().unflatten(1, (2, 4)).sum(1) for x in (made_events, decays(8000, 2).x)
    )
    found = mass(whole)
    quartiles = found.quantile(torch.tensor([0.25, 0.5, 0.75], dtype=torch.float64))
    pt = whole[:, 1:3].norm(dim=1)
    thirds = [found[part].median() for part in pt.argsort().tensor_split(3)]
    return {
        "mass": float(quartiles[1]),
        "width": float(quartiles[2] - quartiles[0]),  # of a Breit-Wigner curve its full width
        "drift": float(max(thirds) - min(thirds)),  # over thirds of transverse momentum
        "spread": float((whole[:, 1:].std(0) / truth[:, 1:].std(0)).mean()),
    }


@pytest.mark.smoke
def test_a_resonance_is_narrow_with_the_term_of_masses_and_wide_without() -> None:
    """Three seeds with the term: masses 80.40, 80.65, 80.32 GeV, widths 3.3, 3.5, 3.5 GeV, drifts 0.19, 0.01,
    0.17 GeV, spreads 0.83, 0.80, 0.78 of truth's; two without: widths 51 and 50 GeV. Truth: 2.1 GeV.

    The term looks at masses alone, so that they are also compared over thirds of the transverse momentum, and
    momenta may not collapse.
    """
    with_term, without = trained(8.0, seed=0, turns=1100), trained(0.0, seed=0, turns=500)
    assert without["width"] > 1.5 * with_term["width"]
    assert abs(with_term["mass"] - MASS) < 0.5
    assert with_term["width"] < 2 * WIDTH
    assert with_term["drift"] < 1
    assert with_term["spread"] > 0.5
