"""ANODE and R-ANODE where both densities are known."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from pair_training import train
from simulacra.core import Batch, Latent, UserError
from simulacra.core.pair import FIRST, SECOND, labelled, with_label
from simulacra.formats.table_columns import columns_of
from simulacra.formats.table_files import TableFiles
from simulacra.tasks.density_ratio import FARTHEST, DensityRatio, log_prob, log_prob_of
from simulacra.training.checkpoint import build
from support import composed

SPEC = TableFiles("searched", columns_of({"x": {}, "y": {}, "m": {"use": "condition"}})).spec
SHARE, WIDTH, PLACE = 0.2, 0.3, 1.5


def background(n: int, seed: int, m: Tensor) -> Batch:
    """Normal columns whose mean rises with the mass."""
    noise = torch.randn(n, 2, generator=torch.Generator().manual_seed(seed))
    return Batch(noise + 0.3 * m, {"m": m})


def pair(n: int, seed: int = 0) -> Batch:
    """Data within ``|m| < 1``, a fifth of them signal, and background beside it."""
    g = torch.Generator().manual_seed(seed)
    inside = 2 * torch.rand(n, 1, generator=g) - 1
    beside = (1 + torch.rand(n, 1, generator=g)) * torch.randn(n, 1, generator=g).sign()
    data = background(n, seed + 1, inside)
    signal = torch.rand(n, generator=g) < SHARE
    narrow = PLACE + WIDTH * torch.randn(n, 2, generator=g)
    data = replace(data, x=torch.where(signal[:, None], narrow, data.x))
    sides = (data, FIRST), (background(n, seed + 2, beside), SECOND)
    return Batch.cat([with_label(batch, label) for batch, label in sides])


def truth(batch: Batch) -> Tensor:
    """Logarithm of the ratio of data to background ``(B,)``."""
    far = (batch.x - PLACE).square().sum(1) / (2 * WIDTH**2) + 2 * math.log(WIDTH)
    usual = (batch.x - 0.3 * batch.cond["m"]).square().sum(1) / 2
    return (SHARE * (usual - far).exp() + 1 - SHARE).log()


def made(model: str, *overrides: str) -> DensityRatio:
    torch.manual_seed(0)
    asked = ["model/size=tiny", "model.density.hidden=[32]", "model.density.blocks=4", *overrides]
    module = build(composed("model", f"model={model}", *asked), labelled(SPEC))
    assert isinstance(module, DensityRatio)
    return module


@pytest.mark.smoke
@pytest.mark.parametrize(("model", "largest"), [("anode", 0.6), ("r_anode", 0.6)])
def test_the_ratio_within_the_window_is_learnt_from_beside_it(model: str, largest: float) -> None:
    """In units of the spread of the true logarithm; without training 1 or more."""
    module = made(model, "model.optim.optimizer.lr=5e-3")
    train(module, pair(4000), 500, 300)
    new = pair(2000, 100)
    new = replace(new[new.event["label"][:, 0] == FIRST], event={})
    error = (module.ratio(new).log() - truth(new)).square().mean().sqrt()
    assert float(error / truth(new).std()) < largest
    if model == "r_anode":
        assert abs(float(module.odds.detach().sigmoid()) - SHARE) < 0.1  # type: ignore[operator]


def test_a_mixture_of_equal_densities_is_each_of_them_and_its_share_moves_with_the_signal() -> None:
    batch = pair(100)
    module = made("r_anode", "model.share=0.3").fit_transform([batch])
    module.second.load_state_dict(module.first.state_dict())
    latent = module.encode(batch, torch.Generator().manual_seed(0))
    torch.testing.assert_close(module.log_ratio(latent), torch.zeros(200), atol=1e-5, rtol=0)
    goals = module.objectives()
    assert not set(goals["signal"].parameters) & set(module.second.parameters())
    assert (goals["background"].end, goals["signal"].begin) == (0.5, 0.5)
    assert any(item is module.odds for item in goals["signal"].parameters)
    assert float(goals["signal"].loss(latent, None)["share"]) == pytest.approx(0.3)
    known = made("r_anode", "model.learnt=false").objectives()["signal"].parameters
    assert len(known) == len(goals["signal"].parameters) - 1


def test_each_density_describes_the_rows_of_its_sample() -> None:
    batch = pair(60)
    module = made("anode").fit_transform([batch])
    latent: Latent = module.encode(batch, torch.Generator().manual_seed(0))
    found = log_prob_of(module.first, latent, FIRST)
    assert bool((found[60:] == 0).all())
    torch.testing.assert_close(found[:60], log_prob(module.first, latent)[:60])
    far = replace(batch[:2], x=torch.tensor([[1e4, 0.0], [0.0, -1e4]]))
    assert bool(module.ratio(far).isfinite().all())
    assert float(module.ratio(far).log().abs().max()) <= FARTHEST + 1e-3


def test_shares_lie_between_0_and_1() -> None:
    for setting in ("model.share=0.0", "model.background=1.0"):
        with pytest.raises(UserError, match="shares of training and signal lie between 0 and 1"):
            made("r_anode", setting)
