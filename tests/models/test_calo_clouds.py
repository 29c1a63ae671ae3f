"""CaloClouds, CaloPointFlow, AllShowers on the package's sample: contracts."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from calo_cloud_toys import (
    POINTS,
    Make,
    allshowers,
    caloclouds2,
    each,
    generator,
    showers,
    spec,
)
from simulacra.core import Batch, Conditions, Field, Latent, Spec
from simulacra.formats.jetnet import jetnet
from simulacra.nn.epic_encoder import EPiCEncoder
from simulacra.nn.pointwise import GaussianFourier, PointWise


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
