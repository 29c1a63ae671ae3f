"""CaloClouds, CaloPointFlow, AllShowers on the package's sample: contracts, and short trainings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from importlib.resources import files

import h5py
import pytest
import torch
from torch import Tensor

from simulacra.core import Batch, Conditions, Field, Latent, Spec
from simulacra.dynamics.denoiser import Noise, ResidualVelocity
from simulacra.dynamics.diffusion import (
    Diffusion,
    MeanSquare,
    Uniform,
    flow_matching,
    preconditioned,
)
from simulacra.dynamics.flows import coupling_flow
from simulacra.dynamics.paths import BetaPath
from simulacra.dynamics.regressed_diffusion import RegressedDiffusion
from simulacra.dynamics.samplers import DDIM, KarrasHeun
from simulacra.dynamics.set_flows import SetFlow
from simulacra.dynamics.solvers import Heun, Midpoint
from simulacra.dynamics.splines import RationalQuadratic
from simulacra.formats.calo_cloud import CaloCloud, ild_cloud
from simulacra.formats.jetnet import jetnet
from simulacra.models.clouds.allshowers import AllShowers
from simulacra.models.clouds.caloclouds import CaloClouds
from simulacra.models.clouds.caloclouds2 import CaloClouds2
from simulacra.models.clouds.caloclouds3 import CaloClouds3
from simulacra.models.clouds.calopointflow import CaloPointFlow
from simulacra.models.clouds.latent_vector import LatentVector, NormalLatentVector
from simulacra.models.clouds.layered_cloud import LayeredCloud
from simulacra.nn.deep_sets import DeepSetEncoder
from simulacra.nn.epic_encoder import EPiCEncoder
from simulacra.nn.layer_transformer import LayerTransformer
from simulacra.nn.pointwise import GaussianFourier, PointWise
from simulacra.nn.timed_mlp import PlainTimedMLP
from simulacra.training.generative import GenerativeModule
from simulacra.training.optim import Optim, warmup_cosine
from simulacra.transforms.cloud_layers import LayeredCloudTransform
from simulacra.transforms.cloud_layerwise import LayerwiseCloudTransform
from simulacra.transforms.cloud_quantiles import CloudQuantiles
from simulacra.transforms.known_layers import KnownLayersTransform

POINTS = 400
"""Every eighth point of the sample's showers is kept, 120 to 381 of each."""
TRAINING = 150


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def spec() -> Spec:
    return ild_cloud().with_(shape=(POINTS, 4))


@cache
def showers() -> Batch:
    """All 200 photons of the sample, thinned."""
    path = files("simulacra.data") / "embedded" / "ild_cloud"
    path = path / "10-90GeV_x36_grid_regular_sample.hdf5"
    with path.open("rb") as stream, h5py.File(stream) as file:
        arrays = {name: file[name][:] for name in ("energy", "events")}
    whole = CaloCloud(ild_cloud()).decode(arrays, path)  # type: ignore[arg-type]
    assert whole.mask is not None
    return Batch(whole.x[:, : 8 * POINTS : 8], whole.cond, {}, whole.mask[:, : 8 * POINTS : 8])


numbers = partial(
    coupling_flow,
    blocks=4,
    spline=RationalQuadratic(4, 6.0),
    hidden=[32],
    affine=[16],
    dropout=0.3,
)
latents = partial(coupling_flow, blocks=2, spline=RationalQuadratic(4, 6.0), hidden=[16])
transform = partial(LayeredCloudTransform, layers=30, seen=1, subset=128)
optim = Optim(
    partial(torch.optim.AdamW, lr=4e-3, weight_decay=0.2), partial(warmup_cosine, warmup=0.05)
)


def caloclouds2(seed: int = 0, calibration: int = 0) -> CaloClouds2:
    torch.manual_seed(seed)
    return CaloClouds2(
        spec(), None, transform=partial(transform, calibration=calibration), numbers=numbers,
        net=partial(PointWise, hidden=[32, 64, 32], time=GaussianFourier(8, 1.0, 16)),
        process=preconditioned(sigma_max=20.0),
        ranked=False, solver=KarrasHeun(8), optim=optim,
    )  # fmt: skip


def caloclouds(seed: int = 0) -> CaloClouds:
    torch.manual_seed(seed)
    return CaloClouds(
        spec(), None, transform=transform, numbers=numbers,
        latent=NormalLatentVector(4, partial(EPiCEncoder, hidden=16, layers=1), latents, kl=1e-2),
        net=partial(PointWise, hidden=[32, 64, 32], time=GaussianFourier(8, 1.0, 16)),
        process=Diffusion(BetaPath(20, 1e-4, 0.6), Noise(), Uniform(), MeanSquare()),
        ranked=False, solver=DDIM(20, eta=1.0), optim=optim,
    )  # fmt: skip


def calopointflow(seed: int = 0) -> CaloPointFlow:
    torch.manual_seed(seed)
    normal = partial(
        LayeredCloudTransform,
        layers=30,
        points=partial(CloudQuantiles, values=512),
        seen=1,
        subset=64,
    )
    return CaloPointFlow(
        spec(), None, transform=normal, numbers=numbers,
        latent=LatentVector(4, partial(DeepSetEncoder, point=[16], whole=[16]), latents),
        points=partial(
            SetFlow, blocks=4, spline=RationalQuadratic(8, 5.0), hidden=[24], summary=([16], [8])
        ),
        optim=optim,
    )  # fmt: skip


def caloclouds3(seed: int = 0) -> CaloClouds3:
    torch.manual_seed(seed)
    return CaloClouds3(
        spec(), None, transform=partial(LayerwiseCloudTransform, layers=30, seen=0, subset=128),
        numbers=numbers,
        net=partial(PointWise, hidden=[32, 64, 32], time=GaussianFourier(8, 1.0, 16)),
        process=preconditioned(sigma_max=20.0),
        ranked=False, solver=KarrasHeun(8), optim=optim,
    )  # fmt: skip


def allshowers(seed: int = 0, shape: Spec | None = None, correction: int = 0) -> AllShowers:
    torch.manual_seed(seed)
    counts = partial(
        RegressedDiffusion,
        net=partial(PlainTimedMLP, hidden=[64, 64], frequencies=3),
        process=flow_matching(predicts=ResidualVelocity()),
        solver=Heun(10),
        copies=8,
    )
    known = partial(
        KnownLayersTransform, layers=30, points=partial(CloudQuantiles, values=512), imposed=True,
        subset=64, correction=correction,
    )  # fmt: skip
    return AllShowers(
        spec() if shape is None else shape, None, transform=known, numbers=counts,
        net=partial(
            LayerTransformer, width=16, heads=2, blocks=1, hidden=32, counts=16, window=2,
            frequencies=3,
        ),
        process=flow_matching(), chunk=256, solver=Midpoint(6), optim=optim,
    )  # fmt: skip


Make = Callable[..., LayeredCloud]
MODELS = [caloclouds2, caloclouds, calopointflow, caloclouds3, allshowers]
each = pytest.mark.parametrize("make", MODELS, ids=lambda make: make.__name__)


def test_validation_calibrates_the_number_of_points_by_the_hits() -> None:
    module, whole = caloclouds2(calibration=60), showers()[:60]
    assert whole.mask is not None
    x, mask = torch.zeros_like(whole.x), torch.zeros_like(whole.mask)  # half of the points
    x[:, : POINTS // 2], mask[:, : POINTS // 2] = whole.x[:, ::2], whole.mask[:, ::2]
    events = Batch(x, whole.cond, {}, mask)
    module.fit_transform([events])
    module.transform.points.std *= torch.tensor([0.2, 1.0, 0.2, 1.0])  # too narrow: too few hits
    before = module.sample(events.conditions(), generator=generator(1))
    module.on_validation_epoch_start()
    after = module.sample(events.conditions(), generator=generator(1))
    true, early, late = (
        module.transform.occupancy.counts(found)[1].double().mean()
        for found in (events, before, after)
    )
    assert abs(late / true - 1) < 0.4 * abs(early / true - 1)
    again = {name: value.clone() for name, value in module.state_dict().items()}
    module.calibrate()  # from uncalibrated showers, hence the same
    assert all(torch.equal(value, again[name]) for name, value in module.state_dict().items())


@each
def test_samples_are_showers_in_the_layers_of_the_data(make: Make) -> None:
    module, events = make(), showers()[:60]
    module.fit_transform([events])
    made = module.sample(events[:20].conditions(), generator=generator(1))
    spec().validate(made)
    assert made.mask is not None
    assert set(made.x[made.mask][:, 1].tolist()) <= set(range(30))
    assert bool((made.x[..., 3] >= 0).all())
    again, other = (module.sample(made.conditions(), generator=generator(g)) for g in (1, 2))
    assert torch.equal(made.x, again.x)
    assert not torch.equal(made.x, other.x)


@each
def test_padded_points_change_no_loss(make: Make) -> None:
    module, events = make(), showers()[:30]
    module.fit_transform([events])
    latent = module.eval().encode(events, generator())
    (objective,) = module.objectives().values()
    assert latent.mask is not None
    filled = torch.where(latent.mask[..., None], latent.x["points"], 0.5)
    moved = Latent({**latent.x, "points": filled}, latent.cond, latent.mask)
    pair = [objective.loss(item, generator(1))["loss"] for item in (latent, moved)]
    assert torch.allclose(*pair, atol=1e-6)


@each
def test_jets_are_refused_in_one_sentence(make: Make) -> None:
    reason = type(make()).accepts(jetnet(30, ("t",)))
    assert reason is not None
    assert "layers" in reason


PARTICLE = Field("particle", classes=("photon", "electron", "pion"), role="class")


def of_three_particles(n: int) -> Batch:
    """The first showers, told to be of one of three particles in turn."""
    events = showers()[:n]
    return replace(events, cond={**events.cond, "particle": torch.arange(n)[:, None] % 3})


def test_one_model_makes_showers_of_several_particles() -> None:
    module, events = allshowers(shape=several()), of_three_particles(60)
    module.fit_transform([events])
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator(3)))
    cond = events[:6].conditions()
    other = Conditions(6, {**cond.values, "particle": (cond.values["particle"] + 1) % 3})
    one, two = (module.sample(c, generator=generator(1)) for c in (cond, other))
    several().validate(one)
    assert torch.equal(one.cond["particle"], cond.values["particle"])
    assert not torch.equal(one.x, two.x)
    made = module.objectives()["showers"].loss(module.encode(events, generator()), generator())
    made["loss"].backward()
    assert all(p.grad is not None for p in module.parameters())


def several() -> Spec:
    return spec().with_(conditions=(*spec().conditions, PARTICLE))


def test_the_order_of_points_changes_nothing_that_a_transformer_makes_of_them() -> None:
    module, events = allshowers(), showers()[:20]
    module.fit_transform([events])
    assert events.mask is not None
    order = torch.argsort(torch.rand(events.mask.shape, generator=generator(1)), dim=1)
    mixed = Batch(
        events.x.gather(1, order[..., None].expand_as(events.x)), events.cond, {},
        events.mask.gather(1, order),
    )  # fmt: skip
    plain, moved = (module.eval().encode(batch, generator()) for batch in (events, mixed))
    torch.testing.assert_close(plain.x["event"], moved.x["event"])
    time, found = torch.full((20,), 0.3), []
    for latent in (plain, moved):
        points, context = latent.x["points"], module.context(latent.x["event"], latent.cond)
        layer = points[..., -1].long()
        found.append(module.net(points[..., :-1], time, latent.mask, layer, context))
    torch.testing.assert_close(
        found[1], found[0].gather(1, order[..., None].expand_as(found[0])), atol=1e-5, rtol=1e-4
    )


def test_the_correction_takes_the_bias_out_of_the_numbers_of_points() -> None:
    module, events = allshowers(correction=100), showers()[:100]
    module.fit_transform([events])
    cond = events.conditions()
    true, _ = module.transform.layer_sums(events)
    with torch.no_grad():
        module.event_flow.net.net.layers[-1].bias += 0.5  # every layer has some tenths too many

    def bias() -> Tensor:
        with module.evaluating(), torch.no_grad():
            event = module.draw_numbers(cond, module.transform.condition(cond), generator(4))
        found = module.transform.counts(module.transform.numbers(event, cond)).float()
        return (found.mean(0) / true.mean(0) - 1)[8:24].abs().mean()

    before = bias()
    module.on_validation_epoch_start()
    assert bias() < 0.5 * before
    again = {name: value.clone() for name, value in module.state_dict().items()}
    module.calibrate()  # from uncorrected numbers, hence the same
    assert all(torch.equal(value, again[name]) for name, value in module.state_dict().items())


def test_published_size_of_the_narrower_network() -> None:
    with torch.device("meta"):
        net = PointWise(4, 4, hidden=[32, 64, 128, 64, 32], time=GaussianFourier(32, 42.387, 64))
    layers = [(4, 32), (32, 64), (64, 128), (128, 64), (64, 32), (32, 4)]
    wanted = sum(b * (a + 1) + b * (68 + 1) + b * 68 for a, b in layers)
    assert sum(p.numel() for p in net.parameters()) == wanted + 64 * 65


def test_published_size_of_the_encoder() -> None:
    with torch.device("meta"):
        encoder = EPiCEncoder(4, 2, latent=256, hidden=128, layers=3)
    assert sum(p.numel() for p in encoder.parameters()) == 733_184  # 730k in arXiv:2305.04847


def test_the_encoder_ignores_order_and_padding() -> None:
    torch.manual_seed(0)
    encoder, x = EPiCEncoder(4, 2, latent=5, hidden=8, layers=2).double(), torch.randn(3, 6, 4)
    mask = torch.arange(6) < torch.tensor([[6], [3], [0]])
    x, cond = x.double(), torch.randn(3, 2, dtype=torch.float64)
    plain = encoder(x, mask, cond)
    order = torch.randperm(6, generator=generator(1))
    for other in (
        encoder(x[:, order], mask[:, order], cond),
        encoder(x * mask[..., None], mask, cond),
    ):
        assert all(torch.allclose(a, b, atol=1e-12) for a, b in zip(plain, other, strict=True))


def train(module: GenerativeModule, events: Batch, steps: int, batch_size: int, seed: int) -> None:
    """Plain loop of the module's one objective."""
    (objective,) = module.objectives().values()
    step = objective.optim.optimizer(objective.parameters)
    assert objective.optim.scheduler is not None
    schedule = objective.optim.scheduler(step, total_steps=steps)
    g = generator(100 + seed)
    module.train()
    for _ in range(steps):
        chosen = torch.randint(0, len(events), (batch_size,), generator=g)
        step.zero_grad()
        objective.loss(module.encode(events[chosen], g), g)["loss"].backward()
        torch.nn.utils.clip_grad_norm_(objective.parameters, 1.0)
        step.step()
        schedule.step()


def wasserstein(first: Tensor, second: Tensor) -> float:
    """W1 of two samples in standard deviations of the second, without its 1% of largest values."""
    levels = (torch.arange(200, dtype=torch.float64) + 0.5) / 202
    distance = (first.double().quantile(levels) - second.double().quantile(levels)).abs().mean()
    return float(distance / second.double().std())


def distances(made: Batch, truth: Batch, incident: Tensor) -> dict[str, float]:
    """Of the response, the mean depth, the energies and radii of points, and how these two correlate."""

    def observables(events: Batch, energy: Tensor) -> dict[str, Tensor]:
        x, mask = events.x, events.mask
        assert mask is not None
        total = x[..., 3].sum(1)
        real = x[mask]
        return {
            "response": total / energy,
            "depth": (x[..., 1] * x[..., 3]).sum(1) / total,
            "energy": real[:, 3].clamp_min(1e-9).log()[::5],
            "radius": torch.hypot(real[:, 0], real[:, 2] - 40)[::5],
        }

    def correlation(values: dict[str, Tensor]) -> float:
        pair = torch.stack([values["energy"], (values["radius"] + 1).log()])
        return float(torch.corrcoef(pair.double())[0, 1])

    true = observables(truth, truth.cond["incident_energy"][:, 0])
    found = observables(made, incident)
    result = {name: wasserstein(value, true[name]) for name, value in found.items()}
    return {**result, "correlation": abs(correlation(found) - correlation(true))}


def trained_distances(module: GenerativeModule, seed: int = 0) -> list[dict[str, float]]:
    """Distances before training, after it, and after it with the incident energies shuffled."""
    events, truth = showers()[:TRAINING], showers()
    module.fit_transform([events])
    incident = truth.cond["incident_energy"][:, 0]
    before = module.sample(truth.conditions(), generator=generator(seed))
    train(module, events, STEPS, 64, seed)
    after = module.sample(truth.conditions(), generator=generator(seed))
    shuffled = incident[torch.randperm(len(incident), generator=generator(seed))]
    pairs = [(before, incident), (after, incident), (after, shuffled)]
    return [distances(batch, truth, energy) for batch, energy in pairs]


STEPS = 160
LIMITS = {"response": 0.4, "depth": 0.38}
"""Largest distances after training. Seeds 0 to 4 gave for the response 0.23, 0.20, 0.18, 0.16, 0.20
(caloclouds2), 0.17, 0.24, 0.21, 0.23, 0.15 (caloclouds) and 0.21, 0.23, 0.16, 0.13, 0.16 (calopointflow); for
the depth 0.27, 0.26, 0.21, 0.19, 0.19 and 0.20, 0.23, 0.29, 0.24, 0.19 and 0.25, 0.21, 0.19, 0.17, 0.21.
Shuffled energies gave 2.5 to 2.9 for the response, untrained models 0.45 to 0.47 for the depth."""
NUMBERS_LIMITS = {caloclouds3: {"response": 0.5}, allshowers: {"depth": 0.26}}
"""Of showers without a total, and of numbers learnt about their regression, which start nearer.

Seeds 0 to 2 gave for the response 0.34, 0.28, 0.23 (caloclouds3) and 0.19, 0.15, 0.14 (allshowers), for the
depth 0.19, 0.20, 0.22 and 0.18, 0.19, 0.20; untrained allshowers gave 0.34, 0.31, 0.35."""
POINTS_LIMITS = {
    caloclouds2: ("radius", 0.45),
    caloclouds: ("radius", 0.45),
    calopointflow: ("correlation", 0.15),
    caloclouds3: ("radius", 0.45),
    allshowers: ("radius", 0.13),
}
"""What the points themselves must show, whose marginals a flow of normal features has from the start. The
same seeds gave 0.25, 0.24, 0.25, 0.20, 0.26; 0.28, 0.28, 0.29, 0.29, 0.28; 0.06, 0.04, 0.06, 0.04, 0.05;
untrained models 0.65, 17 and 0.27. Seeds 0 to 2 gave 0.21, 0.27, 0.24 (caloclouds3) and 0.07, 0.08, 0.08
(allshowers), untrained 0.67 to 0.75 and 0.20 to 0.72."""


@pytest.mark.smoke
@each
def test_a_short_training_makes_showers_of_the_right_energy(make: Make) -> None:
    before, after, shuffled = trained_distances(make())
    name, limit = POINTS_LIMITS[make]
    limits = {**LIMITS, **NUMBERS_LIMITS.get(make, {}), name: limit}
    for key, largest in limits.items():
        assert after[key] < largest, key
    assert before[name] > 1.3 * limit
    assert before["depth"] > 1.1 * limits["depth"]
    assert shuffled["response"] > 3 * LIMITS["response"]
