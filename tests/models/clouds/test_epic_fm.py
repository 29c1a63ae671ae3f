"""EPiC-FM on real jets of the package's sample: its contract, and a short training."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import Tensor

from jet_toys import generator, jet_spec, jets, mass_distances, train
from simulacra.core import Batch, Conditions, Field, Spec
from simulacra.dynamics.diffusion import flow_matching
from simulacra.dynamics.jet_level import JetLevelFlow
from simulacra.dynamics.solvers import Midpoint
from simulacra.models.clouds.epic_fm import EPiCFM
from simulacra.nn.epic import EPiC
from simulacra.training.optim import Optim, warmup_cosine
from simulacra.transforms.cloud import CloudTransform


def model(
    spec: Spec, given: list[str] | None = None, seed: int = 0, hidden: int = 16, layers: int = 1
) -> EPiCFM:
    torch.manual_seed(seed)
    return EPiCFM(
        spec, given,
        transform=partial(CloudTransform, leading=2, calibrate=True),
        numbers=partial(JetLevelFlow, hidden=32, transforms=2, bins=8),
        net=partial(EPiC, hidden=hidden, latent=8, layers=layers, frequencies=4),
        process=flow_matching(),
        ranked=True,
        solver=Midpoint(10),
        optim=Optim(
            partial(torch.optim.AdamW, lr=4e-3, weight_decay=0.01), partial(warmup_cosine, warmup=0.05)
        ),
    )  # fmt: skip


@pytest.fixture(scope="module")
def fresh() -> EPiCFM:
    module = model(jet_spec())
    module.fit_transform([jets(0, 300), jets(300, 600)])
    return module


def test_complete_jets_come_from_the_class_alone(fresh: EPiCFM) -> None:
    events = fresh.sample(40, generator=generator(1))
    assert set(events.event) == {"pt", "eta", "mass", "num_particles"}
    assert set(events.cond) == {"jet_class"}
    assert events.mask is not None
    assert torch.equal(events.event["num_particles"][:, 0], events.mask.sum(1).float())
    assert bool((events.x[events.mask][:, 2] > 0).all())
    assert bool((events.event["mass"] > 0).all())
    again = fresh.sample(40, generator=generator(1))
    other = fresh.sample(40, generator=generator(2))
    assert torch.equal(events.x, again.x)
    assert not torch.equal(events.x, other.x)


def test_transverse_momentum_and_mass_can_be_given(fresh: EPiCFM) -> None:
    truth = jets(0, 300)
    module = model(jet_spec(), ["jet_class", "pt", "mass"])
    module.fit_transform([truth])
    wanted = truth[:16].conditions(module.given)
    events = module.sample(wanted, generator=generator(1))
    assert torch.equal(events.event["mass"], wanted.values["mass"])
    assert set(events.event) == {"pt", "eta", "mass", "num_particles"}
    heavier = Conditions(16, {**wanted.values, "mass": 2 * wanted.values["mass"]})
    assert not torch.allclose(module.sample(heavier, generator=generator(1)).x, events.x)


def test_number_of_particles_can_be_given(fresh: EPiCFM) -> None:
    module = model(jet_spec(), ["jet_class", "num_particles"])
    module.fit_transform([jets(0, 300)])
    number = torch.arange(1.0, 31.0)[:, None]
    wanted = Conditions(
        30, {"jet_class": torch.zeros(30, 1, dtype=torch.int64), "num_particles": number}
    )
    events = module.sample(wanted, generator=generator(1))
    assert events.mask is not None
    assert torch.equal(events.mask.sum(1).float(), number[:, 0])


def test_loss_reaches_every_parameter_and_a_jet_does_not_depend_on_its_batch(fresh: EPiCFM) -> None:
    latent = fresh.encode(jets(0, 16), generator())
    (objective,) = fresh.objectives().values()
    objective.loss(latent, generator())["loss"].backward()
    assert all(p.grad is not None and bool(p.grad.abs().sum() > 0) for p in objective.parameters)
    assert {id(p) for p in objective.parameters} == {id(p) for p in fresh.parameters()}
    fresh.zero_grad()


def test_showers_of_cells_are_generated_as_clouds() -> None:
    features = (
        Field("x", "mm"),
        Field("layer", low=0.0, high=9.0),
        Field("z", "mm"),
        Field("e", "GeV", low=0.0),
    )
    energy = Field("incident_energy", "GeV", low=10.0, high=30.0, role="energy")
    spec = Spec("cells", "cloud", (40, 4), "GeV", features=features, conditions=(energy,))
    g = generator()
    mask = torch.arange(40) < torch.randint(5, 40, (64, 1), generator=g)
    x = torch.randn(64, 40, 4, generator=g)
    x = (
        torch.stack([x[..., 0], (4 + x[..., 1]).round(), x[..., 2], x[..., 3].exp()], -1)
        * mask[..., None]
    )
    events = Batch(x, {"incident_energy": 10 + 20 * torch.rand(64, 1, generator=g)}, {}, mask)
    module = model(spec)
    module.fit_transform([events])
    made = module.sample(events[:10].conditions(), generator=generator())
    assert made.mask is not None
    assert made.event == {}
    assert torch.equal(made.x[..., 1], made.x[..., 1].round())
    assert bool((made.x[made.mask][:, 3] > 0).all())


def test_other_kinds_are_refused() -> None:
    reason = EPiCFM.accepts(Spec("grid", "grid", (2, 3, 3), "MeV"))
    assert reason is not None
    assert "clouds" in reason


RAW_LIMIT = 16.0
"""Largest W1 of the relative mass of either class [1e-3], of points as the network makes them. Seeds
0 to 4 gave 10.6, 11.5, 10.3, 11.7 and 11.8 (truth against truth 2); the limit lies six deviations up."""
CALIBRATED_LIMIT = 8.0
"""The same with the points scaled and moved to the generated moments: 3.3, 3.2, 3.5, 4.4 and 3.9."""


@pytest.mark.smoke
def test_a_short_training_makes_jets_of_the_right_class() -> None:
    particles = 16
    module = model(jet_spec(particles), hidden=32, layers=2)
    events, truth = jets(0, 3500, particles), jets(3500, 5000, particles)
    module.fit_transform([events])
    classes = truth.cond["jet_class"][:, 0]

    def sample(calibrate: bool) -> Batch:
        module.transform.calibrate = calibrate
        return module.sample(truth.conditions(), generator=generator(5))

    def score(made: Batch, wanted: Tensor) -> float:
        return max(mass_distances(made, truth, wanted))

    untrained = score(sample(False), classes)
    train(module, events, steps=220, batch_size=128)
    raw = sample(False)
    shuffled = classes[torch.randperm(len(classes), generator=generator(6))]
    assert score(raw, classes) < RAW_LIMIT
    assert score(sample(True), classes) < CALIBRATED_LIMIT
    assert min(untrained, score(raw, 1 - classes), score(raw, shuffled)) > 1.5 * RAW_LIMIT
