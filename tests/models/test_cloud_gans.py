"""GANs of point clouds on real jets of the package's sample: their losses, and a short training."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import torch

from jet_toys import generator, jet_spec, jets, mass_distances, train
from simulacra.core import Batch, Conditions, Latent
from simulacra.dynamics.games import Game, LeastSquares, Wasserstein
from simulacra.dynamics.jet_level import JetLevelFlow
from simulacra.models.clouds.cloud_gan import CloudGAN
from simulacra.models.clouds.epic_gan import EPiCGAN
from simulacra.models.clouds.gapt import GAPT
from simulacra.models.clouds.igapt import IGAPT
from simulacra.models.clouds.mdma import MDMA, MatchedFields
from simulacra.models.clouds.mpgan import MPGAN
from simulacra.nn.epic_gan import EPiCCritic, EPiCGenerator
from simulacra.nn.mean_field import MeanFieldCritic, MeanFieldGenerator
from simulacra.nn.message_passing import MPCritic, MPGenerator
from simulacra.nn.set_transformers import (
    AttentionCritic,
    AttentionGenerator,
    InducedCritic,
    InducedGenerator,
)
from simulacra.training.optim import Optim, warmup_cosine
from simulacra.transforms.cloud import CloudTransform

PARTICLES = 16
FAMILIES: dict[str, tuple[Callable[..., CloudGAN], partial, partial]] = {
    "epic_gan": (
        EPiCGAN,
        partial(EPiCGenerator, noise=3, hidden=32, latent=8, layers=2, sum_scale=0.1),
        partial(EPiCCritic, hidden=32, latent=8, layers=2, sum_scale=0.1),
    ),
    "mpgan": (
        MPGAN,
        partial(
            MPGenerator, width=16, layers=2, edges=[32], nodes=[64], noise_std=1.0, bound=10.0,
            sum_scale=0.1,
        ),
        partial(
            MPCritic, width=16, layers=2, edges=[32], nodes=[64], dropout=0.0, sum_scale=0.1,
            squash=False,
        ),
    ),
    "gapt": (
        GAPT,
        partial(AttentionGenerator, noise=8, width=32, heads=4, blocks=2, norm=False, bound=10.0),
        partial(
            AttentionCritic, width=32, heads=4, blocks=2, norm=False, dropout=0.0, squash=False
        ),
    ),
    "igapt": (
        IGAPT,
        partial(
            InducedGenerator, width=32, event=32, heads=4, blocks=2, norm=False, bound=10.0
        ),
        partial(
            InducedCritic, width=32, event=32, heads=4, blocks=2, norm=False, dropout=0.0,
            sum_scale=0.1, squash=False,
        ),
    ),
    "mdma": (
        MDMA,
        partial(
            MeanFieldGenerator, noise=8, width=32, hidden=32, heads=4, blocks=2, sum_scale=0.1
        ),
        partial(MeanFieldCritic, width=32, hidden=32, heads=4, blocks=2, sum_scale=0.1),
    ),
}  # fmt: skip
families = pytest.mark.parametrize("family", sorted(FAMILIES))


def model(family: str, seed: int = 0, game: Game | None = None) -> CloudGAN:
    torch.manual_seed(seed)
    usual = MatchedFields(0.1, 0.5) if family == "mdma" else LeastSquares()
    make, net, critic = FAMILIES[family]
    adam = partial(torch.optim.Adam, lr=4e-3, betas=(0.0, 0.9))
    cosine = partial(warmup_cosine, warmup=0.05, final=0.05)
    slow = partial(adam, lr=2e-3) if family == "gapt" else adam
    return make(
        jet_spec(PARTICLES), None,
        transform=partial(CloudTransform, leading=2, calibrate=False),
        numbers=partial(JetLevelFlow, hidden=32, transforms=2, bins=8),
        net=net, critic=critic, game=game or usual,
        optim=Optim(slow, cosine), critic_optim=Optim(adam, cosine), numbers_optim=Optim(adam, cosine),
    )  # fmt: skip


def fitted(family: str) -> CloudGAN:
    return model(family).fit_transform([jets(0, 100, PARTICLES)])


def with_padding(latent: Latent, value: float) -> Latent:
    """The same events with something in the padded points."""
    assert latent.mask is not None
    points = torch.where(latent.mask[..., None], latent.x["points"], value)
    return Latent({**latent.x, "points": points}, latent.cond, latent.mask)


def uneven(events: Batch) -> Batch:
    """Jets of one to sixteen particles."""
    assert events.mask is not None
    number = torch.arange(len(events)) % PARTICLES + 1
    mask = events.mask & (torch.arange(PARTICLES) < number[:, None])
    event = {**events.event, "num_particles": mask.sum(1, keepdim=True).float()}
    return Batch(events.x * mask[..., None], events.cond, event, mask)


@families
def test_no_loss_sees_what_padded_points_hold(family: str) -> None:
    module = fitted(family).eval()
    latent = module.encode(uneven(jets(0, 16, PARTICLES)))
    for objective in module.objectives().values():
        clean, dirty = (
            objective.loss(with_padding(latent, value), generator())["loss"] for value in (0.0, 9.0)
        )
        assert torch.allclose(clean, dirty, atol=1e-6)


@families
def test_the_critic_is_drawn_to_one_on_truth_and_the_generator_to_where_it_says_one(
    family: str,
) -> None:
    module = fitted(family).eval()
    latent = module.encode(jets(0, 16, PARTICLES))
    assert latent.mask is not None
    context = module.context(latent.x["event"], latent.cond)
    fake = module.net(module.net.noise(latent.mask, generator()), latent.mask, context)
    true, made = (
        module.critic(points, latent.mask, context) for points in (latent.x["points"], fake)
    )
    wanted = 0.5 * ((true - 1).square().mean() + made.square().mean())
    assert torch.allclose(module.critic_loss(latent, generator())["loss"], wanted, atol=1e-6)
    values = module.generator_loss(latent, generator())
    score = values.get("score", values["loss"])
    assert torch.allclose(score, 0.5 * (made - 1).square().mean(), atol=1e-6)


def test_clouds_play_for_a_slope_with_masks_that_stay() -> None:
    """The penalty is taken between clouds of equal masks, and padded points have no say in it."""
    module = model("epic_gan", game=Wasserstein(5.0)).fit_transform([jets(0, 100, PARTICLES)])
    latent = module.encode(uneven(jets(0, 16, PARTICLES)))
    clean, dirty = (
        module.critic_loss(with_padding(latent, value), generator()) for value in (0.0, 9.0)
    )
    assert float(clean["penalty"].detach()) > 0
    torch.testing.assert_close(clean["loss"], clean["game"] + clean["penalty"])
    torch.testing.assert_close(clean["penalty"], dirty["penalty"])
    assert set(module.generator_loss(latent, generator())) == {"loss"}


def test_mean_fields_are_matched_in_the_first_part_of_the_run_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    module = fitted("mdma")
    assert isinstance(module, MDMA)
    latent = module.encode(jets(0, 16, PARTICLES), generator())
    values = module.generator_loss(latent, generator())
    assert float(values["mean_field"].detach()) > 0
    assert torch.allclose(values["loss"], values["score"] + 0.1 * values["mean_field"])
    for progress, matched in ((0.49, True), (0.5, False), (1.0, False)):
        monkeypatch.setattr(MDMA, "progress", progress)
        found = module.generator_loss(latent, generator())
        assert ("mean_field" in found) == matched
        assert torch.allclose(found["loss"], values["loss"] if matched else values["score"])


@families
def test_jets_without_particles_are_generated_as_such(family: str) -> None:
    module = fitted(family)
    mask = torch.zeros(3, PARTICLES, dtype=torch.bool)
    context = torch.zeros(3, module.context_width)
    points = module.draw_points(mask, context, generator())
    assert torch.equal(points, torch.zeros(3, PARTICLES, 3))


LIMITS = {"epic_gan": 40.0, "mpgan": 45.0, "gapt": 40.0, "igapt": 32.0, "mdma": 40.0}
"""Largest W1 of the relative mass of either class [1e-3] of points as the networks make them, without
calibration, some four deviations above what seeds 0 to 4 gave: epic_gan 12.0, 18.5, 17.9, 17.9, 28.0; mpgan
24.5, 16.5, 9.5, 20.4, 18.9; gapt 12.1, 19.0, 21.0, 16.8, 27.5; igapt 16.9, 10.2, 13.8, 16.8, 15.6; mdma 12.4,
7.5, 20.0, 7.4, 16.0. Truth against truth gives 2."""
CONTROL = 0.8
"""The same over the smallest of an untrained model's, the other class's and that of shuffled classes, at
most: the same seeds gave 0.22 to 0.63."""


@pytest.mark.smoke
@families
def test_a_short_training_makes_jets_of_the_right_class(family: str) -> None:
    module = model(family)
    events, truth = jets(0, 3500, PARTICLES), jets(3500, 5000, PARTICLES)
    module.fit_transform([events])
    classes = truth.cond["jet_class"][:, 0]
    order = torch.randperm(len(classes), generator=generator(6))

    def score(made: Batch, wanted: torch.Tensor) -> float:
        return max(mass_distances(made, truth, wanted))

    def sample() -> Batch:
        wanted: Conditions = truth.conditions()
        return module.sample(wanted, generator=generator(5))

    untrained = score(sample(), classes)
    train(module, events, steps=300, batch_size=64, decay=0.97)
    made = sample()
    right = score(made, classes)
    assert right < LIMITS[family]
    assert right < CONTROL * min(untrained, score(made, 1 - classes), score(made, classes[order]))
