"""Models of a generator and a critic: turns, separate batches, event weights, and what a penalty forbids."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from omegaconf import OmegaConf
from torch import Tensor

from grid_showers import toy_showers, toy_spec
from simulacra.callbacks.checkpoint import BestCheckpoint
from simulacra.core import Batch, Field, Prior, Spec, UserError, draws
from simulacra.dynamics.games import Wasserstein
from simulacra.formats.calogan import calogan
from simulacra.models.two_player import TwoPlayer
from simulacra.nn.minibatch import batch_statistics
from simulacra.training.checkpoint import build
from support import CONF, composed, config_names, family_of, fits, made, sized, spec_of

ALONE = ("critic.features.batch_norm=false", "critic.kernels=0")
"""A critic that looks at events one by one."""


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(n: int, seed: int = 0) -> Batch:
    x = torch.rand(n, 1, 12, 12, generator=generator(seed))
    classes = torch.arange(n)[:, None] % 2
    return Batch(torch.where(x > 0.8, x, 0.0), {"jet_class": classes})


def image_spec(classes: bool = True) -> Spec:
    kinds = Field("jet_class", classes=("q", "t"), role="class")
    return Spec(
        "toy", "image", (1, 12, 12), "", conditions=(kinds,) if classes else (),
        prior=(Prior("jet_class", "discrete", (0.0, 1.0)),) if classes else (),
    )  # fmt: skip


def showers(n: int, seed: int = 0) -> Batch:
    source = generator(seed)
    energy = 1 + 99 * torch.rand(n, 1, generator=source)
    x = 50 * energy * torch.rand(n, 504, generator=source).pow(12)
    overflow = energy * torch.rand(n, 3, generator=source)
    return Batch(x, {"incident_energy": energy}, {"overflow": overflow})


def lagan(*changes: str, classes: bool = True, game: str = "binary") -> TwoPlayer:
    chosen = [*sized("lagan", "tiny", changes), f"game@model.rules.game={game}"]
    torch.manual_seed(0)
    module: TwoPlayer = build(composed("model", *chosen), image_spec(classes))
    return module.fit_transform([images(16)])


def test_a_slope_is_never_asked_of_a_critic_that_looks_at_several_events() -> None:
    """Each layer of that kind is refused by itself, too."""
    for kept, named in (
        ((), "BatchNorm2d and MinibatchDiscrimination"),
        (ALONE[:1], "MinibatchDiscrimination"),
        (ALONE[1:], "BatchNorm2d"),
    ):
        with pytest.raises(
            UserError, match=f"Wasserstein bounds the slope .*, but {named} of the critic"
        ):
            lagan(*kept, game="wasserstein")
    lagan(*ALONE, game="wasserstein")


@pytest.mark.parametrize("model", ["wgan3d", "pxd_wgan"])
@pytest.mark.parametrize("size", ["published", "small", "tiny"])
def test_no_critic_with_a_gradient_penalty_has_statistics_of_the_batch(
    model: str, size: str
) -> None:
    data = {"wgan3d": "ild", "pxd_wgan": "pxd_small"}[model]
    with torch.device("meta"):
        module = made(model, spec_of(data, None), size=size)
    assert batch_statistics(module.critic) == []


@pytest.mark.parametrize(("model", "change"), [("wgan3d", "share=0.3"), ("gan3d", "share=1.0")])
def test_a_last_batch_of_any_size_is_stepped(model: str, change: str) -> None:
    """The penalty is taken between as many true and generated events, of one event at least."""
    events = toy_showers(40, 0)
    module = made(model, toy_spec(), f"rules.{change}").fit_transform([events])
    for n in (48, 5, 1):
        latent = module.encode(toy_showers(n, 1))
        for name, objective in module.objectives().items():
            values = objective.loss(latent, generator())
            assert bool(torch.isfinite(values["loss"])), (n, name)


def test_a_penalty_is_taken_on_a_share_of_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, int]] = []
    usual = Wasserstein.penalty

    def watched(self: Wasserstein, score: Any, real: Tensor, fake: Tensor, *rest: Any) -> Tensor:
        seen.append((len(real), len(fake)))
        assert len(score(real)) == len(real)
        return usual(self, score, real, fake, *rest)

    monkeypatch.setattr(Wasserstein, "penalty", watched)
    for share, wanted in ((0.3, 3), (1.0, 10), (0.0, 1)):
        module = made("wgan3d", toy_spec(), f"rules.share={share}")
        module.fit_transform([toy_showers(40, 0)])
        module.critic_loss(module.encode(toy_showers(10, 1)), generator())
        assert seen.pop() == (wanted, wanted)


def setting(experiment: str) -> tuple[str, str]:
    """Model and monitored figure that an experiment ends up with, its own or those of what it builds on."""
    config = OmegaConf.load(CONF / "experiment" / f"{experiment}.yaml")
    model, monitor = "", "val/boosted_auc"  # the default of all
    for entry in config.get("defaults", []):
        if isinstance(entry, str) and entry != "_self_":
            model, monitor = setting(entry)
        elif not isinstance(entry, str):
            model = entry.get("override /model", model)
    return model, OmegaConf.select(config, "callbacks.best.monitor") or monitor


def test_checkpoints_of_players_are_chosen_by_physics_and_never_by_a_loss(tmp_path: Path) -> None:
    players = [name for name in config_names("model") if family_of(name).adversarial]
    assert {"wgan3d", "gan3d", "calogan", "lagan", "pxd_wgan", "mpgan", "mdma"} <= set(players)
    chosen = {name: setting(name) for name in config_names("experiment")}
    own = {name: monitor for name, (model, monitor) in chosen.items() if model in players}
    assert {"wgan3d_ild", "gan3d_ild_published", "calogan_calogan", "mdma_jetnet30"} <= set(own)
    losses = (
        "train/",
        "val/loss",
        *(f"val/{name}/" for name in ("critic", "generator", "numbers")),
    )
    assert not [name for name, monitor in own.items() if monitor.startswith(losses)]
    module = made("wgan3d", toy_spec())
    trainer = pl.Trainer(logger=False, accelerator="cpu", enable_checkpointing=False)
    for wrong in ("val/critic/loss", "val/generator/game", "train/critic/penalty"):
        with pytest.raises(UserError, match="does not say what weights are better"):
            BestCheckpoint(str(tmp_path), wrong, "min").on_fit_start(trainer, module)
    for right in ("val/w1_mean", "val/boosted_auc", "val/w1/e_tot"):
        BestCheckpoint(str(tmp_path), right, "min").on_fit_start(trainer, module)


def test_true_and_generated_events_are_judged_in_batches_of_their_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    module = lagan()
    latent = module.encode(images(8))
    seen: list[Tensor] = []
    judge = module.critic.forward

    def watched(events: Tensor, cond: Tensor | None) -> Any:
        seen.append(events.detach())
        return judge(events, cond)

    monkeypatch.setattr(module.critic, "forward", watched)
    module.critic_loss(latent, generator())
    module.generator_loss(latent, generator())
    real = latent.x["image"]
    assert [torch.equal(events, real) for events in seen] == [True, False, False]
    for events in seen[1:]:
        assert not any(torch.equal(one, other) for one in events for other in real)


def test_the_generator_takes_the_steps_that_the_rules_say() -> None:
    rates = {name: o.rate for name, o in lagan().objectives().items()}
    assert rates == {"critic": 1.0, "generator": 2.0}
    slow = lagan("rules.every=5", "rules.steps=1").objectives()
    assert slow["generator"].rate == 0.2
    assert list(slow["generator"].turns(11)) == [0, 5, 10]


def test_a_critic_is_asked_for_classes_where_there_are_any() -> None:
    asked, alone = lagan(), lagan(classes=False)
    for name in ("critic_loss", "generator_loss"):
        assert "label" in getattr(asked, name)(asked.encode(images(8)), generator())
        assert "label" not in getattr(alone, name)(alone.encode(images(8)), generator())
    verdict = asked.verdict(images(5).x, torch.eye(2)[[0, 1, 0, 1, 1]])
    assert verdict.score.shape == (5, 1)
    assert verdict.label is not None
    assert verdict.label.shape == (5, 2)
    loss = asked.rules.labels.critic(verdict.label, verdict.label, torch.tensor([0, 1, 0, 1, 1]))
    assert float(loss.detach()) > 0


@pytest.mark.parametrize("game", config_names("game"))
def test_every_game_trains_both_players(game: str) -> None:
    module = lagan(*ALONE, game=game)
    latent = module.encode(images(8))
    for name, objective in module.objectives().items():
        values = objective.loss(latent, generator())
        assert bool(torch.isfinite(values["loss"]))
        terms = torch.stack([value for key, value in values.items() if key != "loss"])
        torch.testing.assert_close(values["loss"], terms.sum())
        assert ("penalty" in values) == (module.rules.game.one_by_one and name == "critic")
        values["loss"].backward()
        steepest = [float(p.grad.abs().max()) for p in objective.parameters]
        assert min(steepest) > 0, name
        module.zero_grad(set_to_none=True)


def test_event_weights_are_refused_by_layers_that_look_at_several_events_and_count_without(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each kind of layer is refused by itself; a weight of two is a second event."""
    events, counts = showers(4), torch.tensor([2, 1, 0, 1])
    weighted = replace(events, weight=counts.float())
    several = events[torch.repeat_interleave(torch.arange(4), counts)]
    plain = ("net.batch_norm=false", *ALONE)
    for kept in range(3):
        module = made("calogan", calogan(), *(plain[:kept] + plain[kept + 1 :]))
        module.fit_transform([events])
        for objective in module.objectives().values():
            with pytest.raises(UserError, match="takes no weights"):
                objective.loss(module.encode(weighted), None)
    module = made("calogan", calogan(), *plain, "balance=0.05").fit_transform([events]).eval()
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.3)

    def same(shape: tuple[int, ...], like: Tensor, source: torch.Generator | None = None) -> Tensor:
        return torch.sin(1 + torch.arange(float(shape[-1]))).expand(*shape).to(like.dtype)

    monkeypatch.setattr(draws, "normal", same)
    for name, objective in module.objectives().items():
        found, wanted, others = (
            objective.loss(module.encode(batch), None) for batch in (weighted, several, events)
        )
        for key in found:
            torch.testing.assert_close(found[key], wanted[key], msg=key)
        assert not torch.allclose(found["loss"], others["loss"], rtol=1e-4), name


def test_only_single_images_and_layers_with_an_energy_fit() -> None:
    assert fits("lagan", "jetnet30", "image")
    assert not fits("lagan", "pxd_small", None)
    assert all(fits("calogan", data, None) for data in ("calogan", "ds1_photons", "ds2"))
    assert not fits("calogan", "jetnet30", None)


def test_a_critic_of_bounded_layers_keeps_its_slope_and_its_turns() -> None:
    """Its layers are a hundred times as large, which the other critic shows and this one does not."""
    slopes = []
    for spectral in ("false", "true"):
        module = lagan(f"rules.spectral={spectral}", *ALONE)
        with torch.no_grad():
            for parameter in module.critic.parameters():
                parameter.mul_(100.0 if parameter.ndim > 1 else 1.0)
        latent = module.encode(images(8))
        for _ in range(20):
            module.critic_loss(latent, generator())["loss"].backward()
        module.eval()
        x = latent.x[module.stage].clone().requires_grad_(True)
        module.verdict(x, latent.cond).score.sum().backward()
        assert x.grad is not None
        slopes.append(float(x.grad.flatten(1).norm(dim=1).mean()))
        assert all(p.grad is not None for p in module.critic.parameters())
    assert slopes[1] < 0.01 * slopes[0]
