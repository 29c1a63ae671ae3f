"""BIB-AE of showers: published sizes, phases, pairs that are true, what is drawn and refused."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from simulacra.core import IncompatibleError
from simulacra.formats.ild import ild
from simulacra.models.showers.bib_ae import BIBAE
from simulacra.nn.bib_ae import ComponentCritic, PairCritic
from simulacra.training.checkpoint import build
from simulacra.training.stepping import Stepping
from support import assert_losses_reach_their_own_parameters, composed, made
from toy_showers import TOY, toy
from volume_toys import faint, learnt, mended, sums_pass


def model(*overrides: str, seed: int = 0) -> BIBAE:
    torch.manual_seed(seed)
    return build(composed("model", "model=bib_ae", "model/size=tiny", *overrides), TOY)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_published_networks_have_the_published_numbers_of_parameters() -> None:
    with torch.device("meta"):
        module = build(composed("model", "experiment=bib_ae_ild_published"), ild())
    counts = {name: sum(p.numel() for p in o.parameters) for name, o in module.objectives().items()}
    assert counts == {  # card, vae.md 2
        "critic": 4_762_753,
        "latent_critic": 10_301,
        "coder": 71_443_094,
        "post": 299_136,
    }
    assert (module.coder.encoded, module.coder.noise) == (24, 488)


def test_the_post_processor_and_the_density_learn_after_the_auto_encoder() -> None:
    found = {name: item.turns(100) for name, item in model().objectives().items()}
    assert found == {
        "critic": range(70),
        "latent_critic": range(70),
        "coder": range(0, 70, 2),
        "post": range(70, 100),
    }
    flow = model("latent@model.latent=inn").objectives()
    assert flow["latent"].turns(100) == range(70, 100)
    assert "latent" not in model("latent@model.latent=kde").objectives()


@pytest.mark.parametrize("latent", ["normal", "kde", "inn"])
def test_any_density_of_the_vector_makes_showers(latent: str) -> None:
    module = model(f"latent@model.latent={latent}").fit_transform([toy(32, 0)]).train()
    assert_losses_reach_their_own_parameters(module, toy(8, 1))
    cond = toy(8, 1).conditions()
    first, again = (module.sample(cond, generator=generator()) for _ in range(2))
    assert torch.equal(first.x, again.x)
    TOY.validate(first)
    assert not bool(((first.x > 0) & (first.x < TOY.cut)).any())


def test_a_shower_beside_itself_is_a_true_pair_whatever_the_shower(monkeypatch) -> None:
    """A critic that counts differences alone tells a copy from its shower, and no shower from another."""
    module = model().fit_transform([toy(32, 0)])
    latent = module.encode(toy(16, 1))
    true = latent.x["shower"]

    class Same(nn.Module):
        def forward(self, pair: torch.Tensor, *_: object) -> torch.Tensor:
            return -(pair[:, 1:] - pair[:, :1]).abs().flatten(1).sum(1, keepdim=True)

    nearly = (0.5 * true, *([torch.zeros(1)] * 3))
    monkeypatch.setattr(module, "reconstructed", lambda latent, generator: nearly)
    found = module.critic_loss(Same(), latent, generator())
    wanted = 0.5 * true.flatten(1).sum(1).mean()
    torch.testing.assert_close(found["distance"], wanted)
    exact = (true, *([torch.zeros(1)] * 3))
    monkeypatch.setattr(module, "reconstructed", lambda latent, generator: exact)
    assert float(module.critic_loss(Same(), latent, generator())["distance"]) == 0


def test_critics_judge_showers_and_components_one_by_one() -> None:
    torch.manual_seed(0)
    critic, cond = PairCritic((8, 5, 5), 1, 4, 6, (8,)), torch.rand(5, 1)
    pairs = torch.rand(5, 2, 8, 5, 5)
    whole = critic(pairs, cond)
    torch.testing.assert_close(critic(pairs[2:3], cond[2:3]), whole[2:3])
    for changed in (pairs.flip(1), pairs.flip(0)):
        assert not torch.allclose(critic(changed, cond), whole)
    assert not torch.allclose(critic(pairs, cond.flip(0)), whole)
    components = ComponentCritic((8,))
    z = torch.randn(4, 7)
    torch.testing.assert_close(components(z.flip(1)).flip(1), components(z))


def test_noise_fills_the_vector_and_norms_are_over_the_cells_of_a_channel() -> None:
    module = model()
    vector = module.coder.filled(torch.full((4000, 3), 7.0), generator())
    assert torch.equal(vector[:, :3], torch.full((4000, 3), 7.0))
    assert vector[:, 3:].std() == pytest.approx(1, abs=0.03)
    norms = [part for part in module.modules() if isinstance(part, nn.LayerNorm)]
    assert norms
    assert all(len(norm.normalized_shape) == 3 for norm in norms)


def test_the_critics_warm_up(monkeypatch) -> None:
    module = model("model.loss.warmup=0.4")
    assert module.warmth == 1.0
    monkeypatch.setattr(Stepping, "in_training", True)
    monkeypatch.setattr(Stepping, "progress", 0.1)
    assert module.warmth == pytest.approx(0.25)


def test_the_post_processor_begins_as_the_identity() -> None:
    module = model().fit_transform([toy(32, 0)])
    shower = 5 * torch.rand(3, 1, 8, 5, 5)
    assert torch.equal(module.post(shower, torch.rand(3, 1)), shower)


def test_the_post_processor_is_kept_at_what_it_is_given_and_not_at_the_true_shower(
    monkeypatch,
) -> None:
    """Cell by cell the mean of all showers would be nearest to the true one, and it has no single hits."""
    module = model().fit_transform([toy(32, 0)])
    latent = module.encode(toy(8, 1))
    made = latent.x["shower"].flip(0)
    monkeypatch.setattr(
        module, "reconstructed", lambda latent, generator: (made, *[torch.zeros(1)] * 3)
    )
    module.post = Unchanged()
    assert float(module.post_loss(latent, generator())["kept"]) == 0


def test_cells_below_the_cut_are_emptied_also_negative_ones(monkeypatch) -> None:
    """The last layer of the post-processor is linear."""
    module = model().fit_transform([toy(32, 0)])
    given = torch.linspace(-3, 3, 200).view(1, 1, 8, 5, 5).expand(2, -1, -1, -1, -1)
    monkeypatch.setattr(module.coder, "decode", lambda vector, cond: given)
    module.post = Unchanged()
    made = module.sample(toy(2, 1).conditions()).x[:, None]
    assert torch.equal(made, torch.where(given < TOY.cut, 0.0, given))
    assert float(made.max()) == 3


class Unchanged(nn.Module):
    """A post-processor without a say."""

    def forward(self, shower: torch.Tensor, told: torch.Tensor) -> torch.Tensor:
        return shower


def test_what_is_no_regular_grid_is_refused() -> None:
    with pytest.raises(IncompatibleError, match="regular grid"):
        build(composed("model", "model=bib_ae", "model/size=tiny"), TOY.with_(kind="layers"))


FAINT = TOY.with_(cut=0.05, threshold=0.05)
LEARNER = (
    "coder.encoded=8", "coder.noise=8", "coder.channels=2",
    "coder.hidden=[64]", "critics.pairs.channels=4", "critics.pairs.features=16",
    "critics.pairs.hidden=[64]", "post.net.channels=16", "post.net.known=16",
    "post.begin=0.85", "optim.optimizer.lr=2e-3", "loss.n_critic=1",
)  # fmt: skip


@pytest.mark.smoke
def test_showers_pass_the_auto_encoder_after_a_short_training() -> None:
    """Seeds 0 to 2: correlations of sums 0.92, 0.86, 0.62, of an untrained one about 0."""
    module = made("bib_ae", FAINT, *LEARNER, seed=0)
    learnt(module, faint(4000, 0), 250, seed=0, size=16)
    assert sums_pass(module, faint(1000, 100)) > 0.4


@pytest.mark.smoke
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_post_processor_mends_the_spectrum(seed: int) -> None:
    """Seeds 0 to 2: distances 0.09, 0.10, 0.10 before and 0.03, 0.04, 0.03 after."""
    before, after = mended(made("bib_ae", FAINT, *LEARNER, seed=seed), faint(2000, seed), seed)
    assert after < 0.6 * before
