"""Unfolders: draws of particle level given detector level, on normal quantities whose posterior is known."""

from __future__ import annotations

import importlib
import math
from dataclasses import replace

import pytest
import torch

from simulacra.core import Batch, IncompatibleError, Latent, Spec, UserError
from simulacra.core.spec import Field
from simulacra.dynamics.sliced_transport import sliced_transport
from simulacra.metrics.engine.coverage import coverage, ranks, uniformity
from simulacra.models.tables.otus import apart
from simulacra.models.tables.unfolder import Unfolder
from support import config_names, made, models_of, tiny
from unfolding_toys import form, posterior, rows, spec

MODELS = pytest.mark.parametrize("name", models_of(Unfolder))
PAIRED = pytest.mark.parametrize("name", ["cinn_unfolding", "cfm_unfolding"])


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def fitted(name: str, columns: int = 2, size: str = "tiny", *changes: str) -> Unfolder:
    return made(name, spec(columns), *changes, size=size).fit_transform(
        [rows(500, 9, columns=columns)]
    )


@MODELS
def test_applying_draws_particle_level_and_leaves_the_rest(name: str, tmp_path) -> None:
    module = fitted(name)
    batch = replace(rows(20, 1), weight=torch.arange(20.0))
    first, again = (module.applied(batch, generator(3)) for _ in range(2))
    assert torch.equal(first.x, again.x)
    assert not torch.equal(first.x, batch.x)
    assert torch.equal(first.weight, batch.weight)
    assert all(torch.equal(first.cond[key], value) for key, value in batch.cond.items())
    form().write(tmp_path / "a.h5", first)
    assert torch.equal(form().read(tmp_path / "a.h5").x, first.x)


@MODELS
def test_particle_level_itself_is_not_looked_at(name: str) -> None:
    module, batch = fitted(name), rows(20, 1)
    hidden = replace(batch, x=batch.x.roll(7, 0))
    one, two = (module.applied(item, generator(3)).x for item in (batch, hidden))
    assert torch.equal(one, two)


@MODELS
def test_a_posterior_is_several_draws_for_each_event(name: str) -> None:
    module, cond = fitted(name), rows(5).conditions()
    found = module.posterior(cond, 3, generator())
    assert found.shape == (3, 5, 2)
    assert not torch.equal(found[0], found[1])
    with pytest.raises(UserError, match="needs draws from 1, got 0"):
        module.posterior(cond, 0)


@MODELS
def test_one_quantity_can_be_unfolded(name: str) -> None:
    module = fitted(name, columns=1)
    (objective,) = module.objectives().values()
    objective.loss(module.encode(rows(32, columns=1), generator()), generator())["loss"].backward()
    assert all(p.grad is not None for p in objective.parameters)
    assert module.applied(rows(5, columns=1)).x.shape == (5, 1)


@MODELS
def test_a_table_without_detector_level_is_refused(name: str) -> None:
    bare = Spec("bare", "table", (2,), "", features=(Field("a"), Field("b")))
    with pytest.raises(IncompatibleError, match="it unfolds detector level, which are conditions"):
        made(name, bare)


@MODELS
def test_a_weight_of_two_is_two_events_and_none_leaves_one_out(name: str) -> None:
    module = fitted(name, 2, "tiny", *(["noise=0"] if name == "otus" else []))
    batch = rows(6, 4)
    weight = torch.tensor([2.0, 0.0, 1.0, 1.0, 2.0, 1.0])
    index = torch.repeat_interleave(torch.arange(6), weight.long())

    def loss(latent: Latent) -> torch.Tensor:
        return module.loss(latent, generator())["loss"].detach()

    if (
        name == "cfm_unfolding"
    ):  # its loss draws noise for each event: over many events it comes to the same
        many = Batch.cat([batch] * 4000)
        weighted = module.encode(replace(many, weight=weight.repeat(4000)))
        repeated = module.encode(Batch.cat([batch[index]] * 4000))
        one, two, plain = map(loss, (weighted, repeated, module.encode(many)))
        torch.testing.assert_close(one, two, rtol=0.03, atol=0)
    else:
        module.eval()
        weighted, repeated = (
            module.encode(replace(batch, weight=weight)),
            module.encode(batch[index]),
        )
        one, two, plain = loss(weighted), loss(repeated), loss(module.encode(batch))
        torch.testing.assert_close(one, two)
    assert abs(float(one - plain)) > 0.05 * abs(float(plain))


def test_otus_does_not_know_which_levels_belong_together() -> None:
    module = fitted("otus", 2, "tiny", "noise=0").eval()
    latent = module.encode(rows(40, 2))
    shuffled = replace(latent, x={**latent.x, "given": latent.x["given"].roll(11, 0)})
    one, two = (module.loss(item, generator())["loss"] for item in (latent, shuffled))
    torch.testing.assert_close(one, two)


def test_otus_starts_from_the_anchored_columns_and_simulates_detector_level() -> None:
    module, batch = fitted("otus"), rows(400, 3)
    levels = {"a": "a_seen", "b": "b_seen"}
    unfolded, simulated = module.applied(batch).x, module.simulated(batch).cond
    for i, name in enumerate(levels.values()):
        for made_, known in (
            (unfolded[:, i], batch.cond[name][:, 0]),
            (simulated[name][:, 0], batch.x[:, i]),
        ):
            assert torch.corrcoef(torch.stack([made_, known]))[0, 1] > 0.9
    assert torch.equal(module.simulated(batch).x, batch.x)
    crossed = fitted("otus", 2, "tiny", "anchors={a: b_seen}")
    assert crossed.pairs == [(0, 1)]


def test_otus_asks_for_anchors_where_the_order_does_not_say_them() -> None:
    uneven = spec().with_(conditions=spec().conditions[:1])
    with pytest.raises(UserError, match="2 features and 1 given fields are no pairs"):
        made("otus", uneven)
    with pytest.raises(UserError, match="no column 'c' among"):
        made("otus", spec(), "anchors={c: a_seen}")


def test_columns_that_run_together_are_not_apart() -> None:
    x = torch.randn(50, 2, generator=generator())
    assert abs(float(apart(x, 3 * x + 1, None))) < 1e-6
    assert float(apart(x, -x, torch.rand(50, generator=generator()))) == pytest.approx(
        2.0, abs=1e-5
    )
    assert float(apart(x[:, :0], x[:, :0], None)) == 0.0


def test_every_unfolder_has_a_card() -> None:
    for name in models_of(Unfolder):
        assert name in config_names("model")
        text = importlib.import_module(tiny(name)["_target_"].rpartition(".")[0]).__doc__ or ""
        for word in ("Generates:", "Conditions:", "Representation:", "Reference:"):
            assert word in text


def train(module: Unfolder, events: Batch, steps: int, size: int) -> Unfolder:
    (objective,) = module.objectives().values()
    optimizer = objective.optim.optimizer(objective.parameters)
    schedule = objective.optim.scheduler(optimizer, total_steps=steps)
    g = generator(7)
    module.train()
    for _ in range(steps):
        chosen = torch.randint(len(events), (size,), generator=g)
        loss = objective.loss(module.encode(events[chosen], g), g)["loss"]
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(objective.parameters, 1.0)
        optimizer.step()
        schedule.step()
    return module.eval()


@pytest.mark.smoke
@PAIRED
def test_a_trained_posterior_has_the_known_mean_and_width_and_covers_the_truth(name: str) -> None:
    events = rows(20_000, 1)
    module = made(name, spec(), size="small").fit_transform([events])
    train(module, events, 400, 256)
    truth = rows(1000, 2)
    drawn = module.posterior(truth.conditions(), 100, generator(5))
    mean, covariance = posterior(torch.cat([truth.cond["a_seen"], truth.cond["b_seen"]], 1))
    sd = covariance.diagonal().sqrt()
    assert ((drawn.mean(0) - mean) / sd).square().mean(
        0
    ).sqrt().max() < 0.2  # 100 draws alone give 0.1
    torch.testing.assert_close(drawn.std(0).square().mean(0).sqrt(), sd, rtol=0.06, atol=0)
    rank = ranks(truth.x, drawn)
    for figure in coverage(rank):
        assert abs(figure.value - figure.floor) < 3 * figure.error + 0.02
    assert float(uniformity(rank).max()) < 0.07
    mixed = ranks(truth.x, drawn.roll(17, 1))  # of another event each: hardly anything is covered
    assert max(figure.value for figure in coverage(mixed)) < 0.6


@pytest.mark.smoke
def test_otus_maps_the_spectrum_of_either_level_to_the_other() -> None:
    """Within 1.5 times the distance of another true sample, and each event made of its own particle level."""
    events = decays(20_000, 1)
    module = made("otus", events_spec(), size="small").fit_transform([events])
    train(module, events, 600, 1024)
    truth, other = decays(10_000, 2), decays(10_000, 3)
    simulated = module.simulated(truth)
    names = [field.name for field in events_spec().conditions]
    seen, made_, again = (
        torch.cat([item.cond[n] for n in names], 1) for item in (truth, simulated, other)
    )
    scale = seen.std(0)

    def far(x: torch.Tensor) -> float:
        return float(sliced_transport(x / scale, seen / scale, 200, generator=generator())) ** 0.5

    assert far(made_) < 1.5 * far(again)
    assert far(truth.x) > 5 * far(again)
    for i in range(len(names)):
        assert torch.corrcoef(torch.stack([truth.x[:, i], made_[:, i]]))[0, 1] > 0.8
    collapsed = made_[torch.randperm(len(made_), generator=generator())]  # its spectrum is right
    assert far(collapsed) < 1.5 * far(again)
    assert torch.corrcoef(torch.stack([truth.x[:, 0], collapsed[:, 0]]))[0, 1] < 0.1


NAMES = ("energy", "px", "py", "pz")


def events_spec() -> Spec:
    return Spec(
        "decays",
        "table",
        (4,),
        "GeV",
        features=tuple(map(Field, NAMES)),
        conditions=tuple(Field(f"{name}_seen") for name in NAMES),
    )


def decays(n: int, seed: int) -> Batch:
    """Four-momentum of one of two massless daughters of a peak at 91.2 GeV of width 2.5, seen 2 % too large
    and smeared by 5 %.
    """
    g = generator(seed)
    mass = 91.2 + 2.5 * torch.randn(n, generator=g)
    cos, phi = 2 * torch.rand(n, generator=g) - 1, 2 * math.pi * torch.rand(n, generator=g)
    sin = (1 - cos.square()).sqrt()
    direction = torch.stack([torch.ones(n), sin * phi.cos(), sin * phi.sin(), cos], 1)
    p = mass[:, None] / 2 * direction
    x = 1.02 * p * (1 + 0.05 * torch.randn(n, 1, generator=g))
    return Batch(p, {f"{name}_seen": x[:, [i]] for i, name in enumerate(NAMES)})
