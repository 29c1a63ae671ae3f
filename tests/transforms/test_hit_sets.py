from __future__ import annotations

import pytest
import torch
from torch import Tensor

from simulacra.core import Batch, Conditions, Field, Latent, Spec
from simulacra.transforms.hit_sets import HitSets

RATE = Field("rate", "nominal", low=1e-3, log=True, role="rate")


def spec(sensors: int = 4, rated: bool = False, rows: int = 14) -> Spec:
    return Spec(
        "toy", "image", (sensors, rows, 24), "ADU", features=(Field("charge", "ADU", low=0.0, high=255.0),),
        conditions=(RATE,) if rated else (), threshold=7.0, cut=7.0,
    )  # fmt: skip


def events(n: int, seed: int = 0, share: float = 0.1) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    charge = torch.randint(7, 256, (n, 4, 14, 24), generator=generator).float()
    return Batch(torch.where(torch.rand(charge.shape, generator=generator) < share, charge, 0.0))


def fitted(batch: Batch, points: int = 4, seen: int = 2) -> HitSets:
    transform = HitSets(spec(), (), reach=1, points=points, seen=seen)
    transform.fit([batch])
    return transform


@pytest.mark.parametrize("share", [0.02, 0.4])
def test_events_come_back_as_they_are(share: float) -> None:
    batch = events(5, share=share)
    batch.x[1] = 0  # an empty event, then an empty sensor, a full charge and a lonely hit
    batch.x[2, 3] = 0
    batch.x[3, 0] = 0
    batch.x[3, 0, 13, 23] = 255
    transform = fitted(batch).eval()
    latent = transform(batch)
    assert torch.equal(transform.inverse(latent, batch.conditions()).x, batch.x)
    alone = transform(batch[[3]])
    n = int((alone.x["clusters"][0, :, 3] > 0).sum())
    for stage in ("clusters", "points"):  # whatever else is in the batch
        assert torch.equal(alone.x[stage][0, :n], latent.x[stage][3, :n])


def test_seeds_and_hits_around_them_are_snapped_to_what_they_were() -> None:
    batch = events(3, share=0.3)
    transform = fitted(batch, points=4, seen=4).eval()
    for mode in (False, True):  # without noise and with it
        transform.train(mode)
        latent = transform(batch, torch.Generator().manual_seed(1))
        rows = latent.x["clusters"].flatten(0, 1)
        points = latent.x["points"].flatten(0, 1)
        event = torch.arange(3).repeat_interleave(latent.x["clusters"].shape[1])
        cluster, slot = (torch.arange(4) < rows[:, 3:4]).nonzero(as_tuple=True)
        assert int(rows[:, 3].max()) == 4  # longer ones were cut
        size = transform.hits_of(rows[:, 2])
        assert torch.equal(size[rows[:, 3] > 0], rows[rows[:, 3] > 0, 3].long())
        cell, charge = transform.snap(rows[cluster], points[cluster, slot])
        image = torch.zeros_like(batch.x)
        image[event[cluster], rows[cluster, 4].long(), cell[:, 0], cell[:, 1]] = charge
        assert torch.equal(image, batch.x)


def test_hits_in_one_cell_add_up_to_the_largest_charge() -> None:
    transform = fitted(events(2)).eval()
    hits = torch.tensor([[[1, 2, 3, 40.0], [1, 2, 3, 60.0], [0, 0, 0, 200.0], [0, 0, 0, 100.0]]])
    hits = torch.cat([hits, torch.full((1, 1, 4), 9.0)], 1)
    mask = torch.tensor([[True] * 4 + [False]])
    x = transform.inverse(Latent({"hits": hits}, None, mask), Conditions(1)).x
    assert float(x[0, 1, 2, 3]) == 100
    assert float(x[0, 0, 0, 0]) == 255
    assert float(x.sum()) == 355


def counts(rate: Tensor, seed: int) -> Tensor:
    """Numbers of hits of six sensors that share a factor, with errors of Poisson."""
    generator = torch.Generator().manual_seed(seed)
    shared = (0.1 * torch.randn(len(rate), 1, generator=generator)).exp()
    mean = torch.tensor([300.0, 400, 500, 60, 80, 100]) * shared * rate[:, None]
    return torch.poisson(mean, generator=generator)


def test_numbers_are_independent_and_normal_at_every_rate_and_reach_beyond() -> None:
    transform = HitSets(spec(6, rated=True, rows=100), (RATE,), reach=1, points=4, seen=2)
    rate = 0.5 + torch.rand(4000, generator=torch.Generator().manual_seed(0))
    transform._fit_counts(counts(rate, 1).double(), rate.double(), torch.ones(6).double())
    for value, seed in ((0.5, 2), (1.0, 3), (3.0, 4)):
        other = torch.full((4000,), value)
        found = counts(other, seed)
        cond = Conditions(4000, {"rate": other[:, None]})
        score = transform.scores(found, cond)
        assert torch.equal(transform.numbers(score, cond), found.long())
        assert (torch.cov(score.T) - torch.eye(6)).abs().max() < 0.15
        drawn = transform.numbers(
            torch.randn(4000, 6, generator=torch.Generator().manual_seed(5)), cond
        )
        assert drawn.double().mean(0) == pytest.approx(found.double().mean(0), rel=0.02)
        assert drawn.double().std(0) == pytest.approx(found.double().std(0), rel=0.08)
        wrong = torch.corrcoef(drawn.double().T) - torch.corrcoef(found.double().T)
        assert wrong.abs().max() < 0.07


def test_numbers_at_a_single_rate_are_independent_and_normal() -> None:
    transform = HitSets(spec(6, rows=100), (), reach=1, points=4, seen=2)
    found = counts(torch.ones(2000), 1)
    transform._fit_counts(found.double(), torch.ones(2000).double(), torch.ones(6).double())
    score = transform.scores(found, Conditions(2000))
    assert (torch.cov(score.T) - torch.eye(6)).abs().max() < 0.06
    assert transform.numbers(torch.full((1, 6), torch.nan), Conditions(1)).shape == (1, 6)


def test_a_training_step_sees_some_sensors() -> None:
    batch = events(3)
    latent = fitted(batch).train()(batch, torch.Generator().manual_seed(0))
    real = latent.x["clusters"][..., 3] > 0
    assert len(latent.x["clusters"][..., 4][real].unique()) == 2
    assert latent.mask is None
    assert "hits" not in latent.x
