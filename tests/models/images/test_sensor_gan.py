"""IEA-GAN and PE-GAN: published sizes, events apart from each other, whose weights move, what is recomputed,
and averaged generators.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from sensor_toys import SENSORS, generator, toy_events, toy_spec
from simulacra.core import Batch, Field, IncompatibleError, UserError
from simulacra.formats.pxd import pxd
from simulacra.models.images.sensor_gan import SensorGAN
from simulacra.nn import sensor_gan as networks
from simulacra.nn.sensor_blocks import SelfAttention, StackNorm
from simulacra.nn.spectral import estimates
from support import made

WIDER = ("net.channels=[16,16,8]", "critic.channels=[8,16,16]")
"""Channels of which no ReLU shuts all."""


def model(name: str = "iea_gan", *changes: str, seed: int = 0, **size: str) -> SensorGAN:
    module: SensorGAN = made(name, toy_spec(), *changes, seed=seed, **size)
    return module.fit_transform([toy_events(64, 1), toy_events(64, 2)])


def perturbed(module: SensorGAN) -> SensorGAN:
    """Away from the start, where attention and running statistics say nothing."""
    source = generator(5)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=source))
        for part in module.modules():
            if isinstance(part, StackNorm):
                part.running_mean.normal_(generator=source)
                part.running_var.uniform_(0.5, 2, generator=source)
    return module


def counted(name: str, monkeypatch: pytest.MonkeyPatch) -> tuple[int, int]:
    monkeypatch.setattr(networks, "orthogonal", lambda network: None)
    with torch.device("meta"):
        module = made(name, pxd(), size="published")
    assert module.transform.size == (256, 768)
    net, critic = (sum(p.numel() for p in n.parameters()) for n in (module.net, module.critic))
    return net, critic


def linear(a: int, b: int) -> int:
    return a * b + b


def test_the_published_size_has_the_layers_of_the_card(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted by hand from the card's list of layers; 11.69 and about 4.4 million are its own counts."""

    def relations(width: int, hidden: int) -> int:
        norms, attention = 3 * 2 * width, 4 * linear(width, width)
        return norms + attention + linear(width, hidden) + linear(hidden, width)

    def convolutions(first: int, hidden: int, last: int) -> int:
        return linear(first, hidden) + 2 * linear(9 * hidden, hidden) + linear(hidden, last)

    up = [(512, 512), (512, 256), (256, 256), (256, 128), (128, 64), (64, 32)]
    net = sum(
        convolutions(a, a // 4, c) + 2 * 256 * (a + 3 * a // 4) for a, b in up for c in (a, b)
    )
    net += 40 * 128 + linear(132, 128) + relations(128, 128) + linear(256, 512 * 4 * 12)
    net += 2 * 32 + linear(9 * 32, 1)
    down = [(32, 64), (64, 128), (128, 256), (256, 256), (256, 512), (512, 512)]
    critic = linear(9, 32)
    for a, b in down:
        critic += convolutions(a, b // 4, b) + (linear(a, b - a) if b > a else 0)
        critic += convolutions(b, b // 4, b)
    attention = 2 * 256 * 32 + 2 * 256 * 128 + 1
    heads = linear(512, 1) + linear(512, 1024) + 2 * 1024
    critic += attention + heads + relations(512, 512) + 40 * 1024
    found = counted("iea_gan", monkeypatch)
    assert found == (net, critic)
    assert abs(found[0] / 11.69e6 - 1) < 0.001
    assert abs(found[1] / 4.4e6 - 1) < 0.02
    prior = 2 * 128 + linear(256, 128)
    own = counted("pe_gan", monkeypatch)
    assert own[0] == net + prior + attention - 4 * 128 - relations(128, 128)
    embeddings = 40 * 512 + 2 * 512 + linear(1024, 1024)
    assert own[1] == critic - relations(512, 512) - 40 * 1024 + embeddings


@pytest.mark.parametrize("name", ["iea_gan", "pe_gan"])
def test_an_event_is_the_same_whatever_it_is_made_and_judged_with(name: str) -> None:
    """In evaluation mode: alone, in another order, beside others, many images at once or one by one."""
    module = perturbed(model(name)).eval()
    prior, net, critic = module.transform.prior, module.net, module.critic
    noise = torch.randn(6, SENSORS, net.freedom + net.latent, generator=generator())
    with torch.no_grad():
        whole = net.paint(noise, prior)
        order = torch.randperm(6, generator=generator(1))
        close = torch.testing.assert_close
        close(net.paint(noise[order], prior), whole[order])
        close(net.paint(noise[2:3], prior), whole[2:3])
        net.at_once = 100
        close(net.paint(noise, prior), whole)
        verdict = critic(whole, prior)
        for index in (order, torch.tensor([3])):
            part = critic(whole[index], prior)
            close(part.score, verdict.score[index])
            close(part.embedding, verdict.embedding[index])
        module.train()
        assert not torch.allclose(net.paint(noise[2:3], prior), whole[2:3], atol=1e-3)


def test_an_event_repeats_whatever_number_is_asked_for_with_it() -> None:
    """Of 16 numbers or a multiple per event, as torch fills a tensor; 40 sensors of 132 are one."""
    module = model("iea_gan", "net.freedom=4", "net.latent=12").eval()
    together = module.sample(3, generator=generator(3)).x
    assert torch.equal(module.sample(3, batch_size=1, generator=generator(3)).x, together)


def test_what_lies_in_the_padding_is_never_seen() -> None:
    module = model()
    assert module.transform.size == (8, 16)
    latent = module.eval().encode(toy_events(2, 4))
    assert bool((latent.x["image"][:, :, -1] == -1).all())
    changed = latent.x["image"].clone()
    changed[:, :, -1] = 1.0
    first, second = (
        module.transform.inverse(type(latent)({"image": x}), Batch(x).conditions(()))
        for x in (latent.x["image"], changed)
    )
    assert torch.equal(first.x, second.x)
    assert torch.equal(first.x, toy_events(2, 4).x)


def test_sensors_are_related_within_an_event_and_not_without_the_module() -> None:
    noise = torch.randn(2, SENSORS, 6, generator=generator())
    moved = noise.clone()
    moved[0, 0] += 1
    for changes, alone in (((), False), (("net.relations=null", "critic.relations=null"), True)):
        module = perturbed(model("iea_gan", *changes)).eval()
        prior = module.transform.prior
        with torch.no_grad():
            one, two = (module.net.paint(x, prior) for x in (noise, moved))
            first, second = (module.critic(x, prior) for x in (one, two))
        assert torch.equal(one[1], two[1])
        assert torch.equal(first.embedding[1], second.embedding[1])
        assert not torch.equal(one[0, 0], two[0, 0])
        assert torch.equal(one[0, 1:], two[0, 1:]) == alone
        assert torch.equal(first.embedding[0, 1:], second.embedding[0, 1:]) == alone
        assert torch.equal(first.score[0, 1:], second.score[0, 1:]) == alone


def test_the_prior_is_the_occupancy_of_the_sample_in_the_checkpoint_and_tells_sensors_apart() -> (
    None
):
    module = perturbed(model("pe_gan")).eval()
    events = torch.cat([toy_events(64, 1).x, toy_events(64, 2).x])
    wanted = (events > 0).float().mean((0, 2, 3))
    torch.testing.assert_close(module.transform.occupancy, wanted)
    torch.testing.assert_close(module.transform.prior, wanted / wanted.norm())
    assert "transform.occupancy" in module.state_dict()
    noise = torch.randn(1, SENSORS, module.net.latent, generator=generator())
    with torch.no_grad():
        usual, other = (
            module.net.paint(noise, p) for p in (module.transform.prior, torch.eye(SENSORS)[0])
        )
    assert not torch.equal(usual, other)


def trained(module: SensorGAN, steps: int, precision: Any = "32-true") -> SensorGAN:
    """By the trainer, on one batch again and again."""
    pl.seed_everything(0)
    trainer = pl.Trainer(
        max_steps=2 * steps, accelerator="cpu", logger=False, enable_checkpointing=False, precision=precision,
        enable_progress_bar=False, enable_model_summary=False, use_distributed_sampler=False,
        limit_val_batches=0,
    )  # fmt: skip
    loader = torch.utils.data.DataLoader([toy_events(3, 1)] * steps, batch_size=None)
    trainer.fit(module, loader, loader)
    return module


def test_both_networks_are_stepped_with_several_events_and_no_clipping() -> None:
    """The published code steps its generator only where gradients are clipped."""
    module = model("iea_gan", *WIDER)
    before = {name: value.clone() for name, value in module.named_parameters()}
    trained(module, 2)
    still = [n for n, p in module.named_parameters() if torch.equal(p, before[n])]
    assert not still
    assert module.clip is None


def test_losses_and_gradients_are_the_same_where_blocks_are_recomputed_and_less_is_kept() -> None:
    found, kept = [], []
    for again in (False, True):
        module = model("iea_gan", *WIDER)
        if again:
            module.recompute()
        latent = module.encode(toy_events(3, 1), generator())
        values: list[Tensor] = []
        stored: dict[int, int] = {}

        def pack(x: Tensor, stored: dict[int, int] = stored) -> Tensor:
            stored[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes()
            return x

        for number, (name, objective) in enumerate(module.objectives().items()):
            other = (module.net, module.critic)[number]
            other.requires_grad_(False)  # as the trainer does
            with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
                loss = objective.loss(latent, generator(1))["loss"]
            loss.backward()
            other.requires_grad_(True)
            values += [p.grad for p in objective.parameters]
            assert all(value is not None for value in values), name
        found.append([*values, *(b.float() for b in module.buffers())])
        kept.append(sum(stored.values()))
    for first, second in zip(*found, strict=True):
        torch.testing.assert_close(first, second, rtol=1e-4, atol=1e-6)
    assert kept[1] < 0.6 * kept[0]


def test_mixed_precision_trains_both() -> None:
    module = model()
    before = module.net.start.parametrizations.weight.original.detach().clone()
    trained(module, 1, "bf16-mixed")
    after = module.net.start.parametrizations.weight.original
    assert bool(torch.isfinite(after).all())
    assert not torch.equal(before, after)


def test_gains_follow_once_per_loss_and_rest_otherwise() -> None:
    module = model()
    assert len(estimates(module)) > 40

    def buffers() -> list[Tensor]:
        return [b.clone() for _, part in estimates(module) for b in part.buffers()]

    latent, before = module.encode(toy_events(2, 1)), buffers()
    module.verdict(latent.x["image"])
    module.net(1, module.transform.prior)
    assert all(torch.equal(a, b) for a, b in zip(before, buffers(), strict=True))
    module.critic_loss(latent)
    assert any(not torch.equal(a, b) for a, b in zip(before, buffers(), strict=True))
    middle = buffers()
    module.eval().critic_loss(latent)
    assert all(torch.equal(a, b) for a, b in zip(middle, buffers(), strict=True))


def test_a_generator_that_settles_has_statistics_of_its_own_weights() -> None:
    module = model("iea_gan", "play.settled=32", "play.batches=4")
    norms = [part for part in module.net.modules() if isinstance(part, StackNorm)]
    with torch.no_grad():
        for parameter in module.net.parameters():
            parameter.mul_(1.5)
    state = torch.random.get_rng_state()
    module.eval().settle()
    first = deepcopy(module.state_dict())
    assert torch.equal(torch.random.get_rng_state(), state)
    assert not module.net.training
    assert {norm.momentum for norm in norms} == {0.1}
    seen: list[Tensor] = []
    last = module.net.norm
    last.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        module.net.train()
        module.net(128, module.transform.prior, generator(9))
    torch.testing.assert_close(last.running_mean, seen[0].mean((0, 2, 3)), atol=0.1, rtol=0.2)
    for part in norms:
        part.reset_running_stats()
    module.settle()
    second = module.state_dict()
    for name, value in first.items():
        if "running" in name:
            torch.testing.assert_close(second[name], value, rtol=1e-3, atol=1e-3)


def test_every_loss_can_be_switched_off() -> None:
    off = [
        *(f"play.terms.{name}=null" for name in ("contrastive", "uniformity", "intra_event")),
        "play.orthogonal=0", "play.changes.colour=null", "play.changes.translation=null",
        "play.changes.cutout=null",
    ]  # fmt: skip
    latent = model().encode(toy_events(2, 1))
    whole, bare = model(), model("iea_gan", *off)
    assert set(whole.critic_loss(latent)) == {"loss", "game", "contrastive", "uniformity"}
    assert set(whole.generator_loss(latent)) == {
        "loss", "game", "contrastive", "uniformity", "intra_event", "orthogonal",
    }  # fmt: skip
    assert set(bare.critic_loss(latent)) == set(bare.generator_loss(latent)) == {"loss", "game"}
    assert torch.equal(bare.changed(latent.x["image"]), latent.x["image"])
    assert set(model("pe_gan").critic_loss(latent)) == {
        "loss", "game", "contrastive", "consistency",
    }  # fmt: skip


def test_true_and_made_images_go_through_the_same_kind_of_change() -> None:
    module, latent = model(), None
    latent = module.encode(toy_events(2, 1))
    seen: list[Tensor] = []
    changed = module.changed
    module.changed = lambda x, g=None: (seen.append(x), changed(x, g))[1]
    module.critic_loss(latent, generator())
    module.generator_loss(latent, generator())
    real = [torch.equal(x, latent.x["image"]) for x in seen]
    assert real == [True, False, False, True]


def test_pixels_look_at_all_others_from_the_identity_on() -> None:
    torch.manual_seed(0)
    part = SelfAttention(16)
    x = torch.randn(2, 16, 4, 6)
    assert torch.equal(part(x), x)
    nn.init.ones_(part.share)
    moved = x.clone()
    moved[0, :, 0, 0] += 3
    with torch.no_grad():
        difference = (part(moved) - part(x)).abs().sum(1)
    assert float(difference[1].max()) == 0
    assert float(difference[0].min()) > 0


def test_other_data_and_weights_are_refused_in_one_sentence() -> None:
    spec = toy_spec()
    assert SensorGAN.accepts(spec) is None
    kind = Field("jet_class", classes=("q", "t"))
    for other, reason in (
        (toy_spec(sensors=1), "two sensors or more"),
        (spec.with_(kind="grid"), "two sensors or more"),
        (spec.with_(conditions=(kind,)), "unconditional"),
        (spec.with_(features=()), "largest value"),
    ):
        assert reason in str(SensorGAN.accepts(other))
        with pytest.raises(IncompatibleError, match=reason):
            made("iea_gan", other)
    with pytest.raises(UserError, match="halve images of 10 x 16 pixels unevenly"):
        made("pe_gan", toy_spec(rows=10), "transform.stride=2")
    events = toy_events(2, 1)
    module = model()
    with pytest.raises(UserError, match="StackNorm takes no weights"):
        module.critic_loss(module.encode(Batch(events.x, weight=torch.ones(2))))
