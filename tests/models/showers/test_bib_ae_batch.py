"""BIB-AE of hadrons: published sizes, a critic that starts anew, a kernel density, a short training."""

from __future__ import annotations

import pytest
import torch

from simulacra.core import Batch
from simulacra.dynamics.kernel_density import KernelDensity
from simulacra.models.showers.bib_ae import BIBAE
from simulacra.training.checkpoint import build
from support import assert_losses_reach_their_own_parameters, composed, made
from toy_showers import TOY, grid_spec, toy
from volume_toys import faint, learnt, mended, sums_pass

AHCAL = grid_spec(48, 25, 25)
"""The core of the calorimeter of the publication, whose showers are not public."""
FAINT = TOY.with_(cut=0.05, threshold=0.05)


def model(*changes: str, seed: int = 0) -> BIBAE:
    return made("bib_ae_hadrons", TOY, *changes, seed=seed)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_published_networks_have_the_published_numbers_of_parameters() -> None:
    with torch.device("meta"):
        module = build(
            composed("model", "model=bib_ae_hadrons", "model/size=published"), AHCAL
        )  # card, vae.md 3
    counts = {name: sum(p.numel() for p in o.parameters) for name, o in module.objectives().items()}
    assert (counts["coder"], counts["post"]) == (8_707_082, 629_184)
    assert counts["critic"] == counts["renewed_critic"]
    assert counts["critic"] == pytest.approx(6_472_961, rel=0.02)
    assert (module.coder.encoded, module.coder.noise) == (24, 488)
    assert isinstance(module.latent, KernelDensity)


def test_the_second_critic_alone_starts_anew_with_weights_of_its_own() -> None:
    found = model("critics.renewed=30").objectives()
    assert [name for name, item in found.items() if item.renewal] == ["renewed_critic"]
    renewed = found["renewed_critic"]
    turns = [turn for turn in renewed.turns(100) if renewed.starts_anew(turn, 100)]
    assert turns == [30, 60]
    before, fresh = renewed.renewal.network, renewed.renewal.make()
    assert [p.shape for p in fresh.parameters()] == [p.shape for p in before.parameters()]
    assert not torch.equal(fresh.head.layers[0].weight, before.head.layers[0].weight)
    assert "renewed_critic" not in model("critics.renewed=0").objectives()


def test_auto_encoder_learns_from_both_critics() -> None:
    module = model().fit_transform([toy(32, 0)]).eval()
    latent = module.encode(toy(8, 1))
    both = module.coder_loss(latent, generator())["critic"]
    alone = []
    for name in ("critic", "renewed_critic"):
        other = model("critics.renewed=0").fit_transform([toy(32, 0)]).eval()
        other.coder, other.pair_critics["critic"] = module.coder, module.pair_critics[name]
        alone.append(other.coder_loss(latent, generator())["critic"])
    torch.testing.assert_close(both, torch.stack(alone).sum())


def test_true_and_generated_pairs_come_to_a_critic_in_batches_of_their_own(monkeypatch) -> None:
    """And in the penalty each is compared with held ones, so that it bounds the slopes of single showers."""
    module = model().fit_transform([toy(32, 0)])
    latent, seen = module.encode(toy(8, 1)), []
    score = module.score

    def noted(critic, pair, latent, others=None):
        seen.append((pair.detach(), others))
        return score(critic, pair, latent, others)

    monkeypatch.setattr(module, "score", noted)
    module.critic_loss(module.pair_critics["critic"], latent, generator())
    (real, first), (fake, second), (between, third) = seen
    true = latent.x["shower"]
    assert torch.equal(real, torch.cat([true, true], 1))
    assert torch.equal(fake[:, :1], true)
    assert not torch.equal(fake[:, 1:], true)
    assert first is second is None
    assert torch.equal(third, between)
    assert not third.requires_grad


def test_weights_are_counted_by_statistics_of_a_batch() -> None:
    module = model().fit_transform([toy(32, 0)])
    events, counts = toy(6, 1), torch.tensor([0, 1, 2, 1, 0, 3])
    critic = module.pair_critics["critic"]

    def scores(batch: Batch) -> torch.Tensor:
        latent = module.encode(batch)
        true = latent.x["shower"]
        return module.score(critic, torch.cat([true, 0.7 * true], 1), latent)

    rows = torch.repeat_interleave(torch.arange(6), counts)
    weighted = scores(Batch(events.x, events.cond, weight=counts.float()))
    torch.testing.assert_close(weighted[rows], scores(events[rows]))
    assert not torch.allclose(weighted, scores(events))


@pytest.mark.parametrize("latent", ["normal", "kde", "inn"])
def test_any_density_of_the_vector_makes_showers(latent: str) -> None:
    config = composed(
        "model", "model=bib_ae_hadrons", "model/size=tiny", f"latent@model.latent={latent}"
    )
    module = build(config, TOY).fit_transform([toy(32, 0)]).train()
    assert_losses_reach_their_own_parameters(module, toy(8, 1))
    cond = toy(8, 1).conditions()
    first, again = (module.sample(cond, generator=generator()) for _ in range(2))
    assert torch.equal(first.x, again.x)
    TOY.validate(first)


def test_a_kernel_density_draws_what_the_encoder_made_and_learns_nothing() -> None:
    module = model("latent.bandwidth=1e-4").fit_transform([toy(64, 0)]).train()
    latent = module.encode(toy(64, 1), generator())
    module.coder_loss(latent, generator())
    assert int(module.latent.count) == 128, "64 of the start, then those of this turn"
    drawn = module.latent.sample(64, latent.cond, generator())
    apart = torch.cdist(drawn, module.latent.points[:128]).min(1).values
    assert float(apart.max()) < 1e-2
    assert "latent" not in module.objectives()


LEARNER = (
    "coder.encoded=8", "coder.noise=8", "coder.channels=2", "coder.hidden=[64]",
    "critics.pairs.channels=2", "critics.pairs.features=16", "critics.pairs.hidden=[64]",
    "critics.pairs.compared=[8]", "post.net.channels=16", "post.net.known=16",
    "optim.optimizer.lr=2e-3", "loss.n_critic=1", "loss.kl=0.02",
)  # fmt: skip


@pytest.mark.smoke
def test_showers_pass_the_auto_encoder_after_a_short_training() -> None:
    """Seeds 0 to 2: correlations of sums 0.70, 0.91, 0.94, of an untrained one about 0."""
    changes = (*LEARNER, "critics.renewed=100", "post.begin=0.85")
    module = made("bib_ae_hadrons", FAINT, *changes, seed=0)
    learnt(module, faint(4000, 0), 250, seed=0, size=16)
    assert sums_pass(module, faint(1000, 100)) > 0.4


@pytest.mark.smoke
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_post_processor_mends_the_spectrum(seed: int) -> None:
    """Seeds 0 to 2: distances 0.09, 0.10, 0.10 before and 0.02, 0.01, 0.03 after."""
    module = made("bib_ae_hadrons", FAINT, *LEARNER, seed=seed)
    before, after = mended(module, faint(2000, seed), seed)
    assert after < 0.5 * before
