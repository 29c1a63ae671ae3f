"""JetFlow on real jets of the package's sample: what it owes, and a short training."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from jet_toys import generator, jet_spec, jets, mass_distances, relative_mass, train
from simulacra.core import Batch
from simulacra.formats.calo_cloud import ild_cloud
from simulacra.formats.jetnet import jetnet
from simulacra.models.clouds.jetflow import JetFlow
from support import made


def fitted(*changes: str, size: str = "tiny", particles: int = 30) -> JetFlow:
    module = made("jetflow", jet_spec(particles), *changes, size=size)
    assert isinstance(module, JetFlow)
    return module.fit_transform([jets(0, 300, particles), jets(300, 600, particles)])


def shuffled(batch: Batch) -> Batch:
    """The same jets, the particles of each in another order."""
    assert batch.mask is not None
    order = torch.argsort(torch.rand(batch.mask.shape, generator=generator(1)), dim=1)
    x = batch.x.gather(1, order[..., None].expand_as(batch.x))
    return replace(batch, x=x, mask=batch.mask.gather(1, order))


def test_the_order_of_the_particles_in_a_file_changes_no_loss() -> None:
    module, batch = fitted().eval(), jets(0, 60)
    pair = [
        module.loss(module.encode(events, generator()), generator())["loss"]
        for events in (batch, shuffled(batch))
    ]
    torch.testing.assert_close(*pair, rtol=1e-5, atol=1e-6)


def test_generated_jets_have_the_mass_that_was_drawn() -> None:
    module = fitted()
    drawn = module.eval().generate(jets(0, 50).conditions(), generator(2))
    cond = jets(0, 50).conditions()
    jet = module.decode(drawn, cond)
    wanted = module.transform.numbers(drawn.x["event"], cond)[:, 1]
    assert jet.mask is not None
    several = jet.mask.sum(1) > 1
    torch.testing.assert_close(
        relative_mass(jet)[several].float(), wanted[several], rtol=2e-5, atol=1e-6
    )


def test_the_constraint_is_the_distance_of_masses_in_units_of_their_spread() -> None:
    module = fitted("constraint=0.5").eval()
    latent = module.encode(jets(0, 200), generator())
    parts = module.loss(latent, generator(3))
    assert set(parts) == {"loss", "points", "event_nll", "mass"}
    total = parts["points"] + parts["event_nll"] + 0.5 * parts["mass"]
    torch.testing.assert_close(parts["loss"], total)
    assert latent.mask is not None
    true = module.transform.raw_mass(latent.x["points"], latent.mask)
    torch.testing.assert_close(true, relative_mass(jets(0, 200)), rtol=1e-4, atol=1e-6)
    assert "mass" not in fitted("constraint=0").loss(latent, generator(3))


def test_it_generates_jets_alone() -> None:
    assert JetFlow.accepts(jetnet(30, ("t",))) is None
    assert "none" in str(JetFlow.accepts(ild_cloud().with_(shape=(100, 4))))
    assert "150 at most" in str(JetFlow.accepts(ild_cloud()))


LIMIT = 14.0
"""Largest W1 of the relative mass of either class [1e-3]: seeds 0 to 2 gave 7.1, 6.3, 7.1, the wrong class 49
to 52, truth against truth 2."""
RAW = 0.6
"""Distance of the mass of particles as the flow makes them to that which it was given, in units of the
spread, over the same of an untrained flow: 0.25, 0.26, 0.26."""


@pytest.mark.smoke
def test_a_short_training_makes_jets_of_the_right_class_and_mass() -> None:
    particles = 12
    module = fitted(
        "points.blocks=4", "points.hidden=[48]", "points.spline.bins=6", "optim.optimizer.lr=4.0e-3",
        size="small", particles=particles,
    )  # fmt: skip
    events, truth = jets(0, 2500, particles), jets(3500, 4500, particles)
    module.fit_transform([events])

    def off() -> float:
        with module.evaluating(), torch.no_grad():
            latent = module.encode(truth, generator())
            return float(module.loss(latent, generator(3))["mass"]) ** 0.5

    before = off()
    train(module, events, steps=160, batch_size=128)
    classes = truth.cond["jet_class"][:, 0]
    made = module.sample(truth.conditions(), generator=generator(5))
    assert max(mass_distances(made, truth, classes)) < LIMIT
    assert min(mass_distances(made, truth, 1 - classes)) > 2.5 * LIMIT
    assert off() < RAW * before
