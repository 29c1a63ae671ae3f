"""Hits as sets: which data they fit, numbers that are met exactly and vary together, a short training."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from simulacra.core import Batch, Conditions, Field, Spec
from simulacra.core.clusters import connected
from simulacra.formats.pxd import pxd, pxd_small
from simulacra.models.images.pxd_sets import PXDSets
from support import made

RATE = Field("rate", "nominal", low=1e-3, log=True, role="rate")


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def toy_spec() -> Spec:
    return Spec(
        "toy", "image", (4, 40, 48), "ADU", features=(Field("charge", "ADU", low=0.0, high=255.0),),
        conditions=(RATE,), threshold=7.0, cut=7.0, sample_batch=64,
    )  # fmt: skip


def toy_events(n: int, seed: int, low: float = 0.5, high: float = 1.5) -> Batch:
    """Dominoes along v in the first two sensors and along u in the others; all share a factor in an event."""
    source = generator(seed)
    rate = low + (high - low) * torch.rand(n, 1, generator=source)
    common = (0.3 * torch.randn(n, 1, generator=source)).exp()
    seeds = torch.rand(n, 4, 40, 48, generator=source) < (0.01 * rate * common)[..., None, None]
    other = torch.cat([seeds[:, :2].roll(1, 3), seeds[:, 2:].roll(1, 2)], 1)
    charge = torch.exp(3.1 + 0.5 * torch.randn(seeds.shape, generator=source)).round().clamp(7, 255)
    return Batch(torch.where(seeds | other, charge, 0.0), {"rate": rate})


def model(*changes: str, seed: int = 0) -> PXDSets:
    module: PXDSets = made("pxd_sets", toy_spec(), *changes, seed=seed)
    return module.fit_transform([toy_events(120, 1)])


@pytest.fixture(scope="module")
def untrained() -> PXDSets:
    return model()


def test_it_takes_whole_charges_of_some_sensors_and_their_rate() -> None:
    for spec in (pxd(), pxd(rate=[0.5, 1.5]), pxd_small(), toy_spec()):
        assert PXDSets.accepts(spec) is None
    other = replace(toy_spec(), conditions=(RATE, Field("phase", "rad")))
    assert "['phase']" in str(PXDSets.accepts(other))
    assert "two sensors" in str(PXDSets.accepts(pxd(["1.1.1"])))
    assert "largest" in str(PXDSets.accepts(replace(toy_spec(), features=())))


def test_every_sensor_gets_exactly_the_hits_that_were_drawn(untrained: PXDSets) -> None:
    cond = Conditions(6, {"rate": torch.linspace(0.3, 3, 6)[:, None]})
    with torch.no_grad(), untrained.evaluating():
        latent = untrained.generate(cond, generator(3))
    drawn = untrained.transform.numbers(latent.x["counts"], cond)
    x = untrained.sample(cond, generator=generator(3)).x
    assert torch.equal(untrained.transform.count(x), drawn)
    assert int(drawn.min()) > 0
    assert torch.equal(x, x.round())
    assert float(x.max()) <= 255


def test_no_two_clusters_touch_where_there_is_room(untrained: PXDSets) -> None:
    counts = torch.full((3, 4), 60)
    with torch.no_grad(), untrained.evaluating():
        found, sound = untrained._clusters(counts, generator(1))
    assert bool(sound.all())
    row, col = found.cell.unbind(1)
    merged = connected(found.group, row, col)
    pairs = torch.stack([merged, found.cluster], 1).unique(dim=0)
    assert len(pairs) == int(merged.max()) + 1  # no hit of one lies beside one of another
    none, _ = untrained._clusters(torch.zeros(2, 4, dtype=torch.long), generator(1))
    assert len(none.group) == 0


def test_the_largest_charge_of_a_cluster_is_its_seed(untrained: PXDSets) -> None:
    mask = torch.arange(5) < torch.tensor([[1], [3], [5]])
    with torch.no_grad():
        points = untrained._points(
            mask, torch.zeros(3, untrained.sensor.embedding_dim + 4), generator()
        )
    top = points[..., 2].masked_fill(~mask, -torch.inf).argmax(1)
    assert bool((points[torch.arange(3), top, :2] == 0).all())
    assert not bool((points[2, :, :2] == 0).all())
    assert float(points[~mask].abs().max()) == 0


def correlation(counts: Tensor) -> float:
    matrix = torch.corrcoef(counts.double().T)
    return float(matrix[tuple(torch.triu_indices(len(matrix), len(matrix), 1))].mean())


def test_drawn_numbers_vary_together_as_true_ones_do_and_follow_the_rate(
    untrained: PXDSets,
) -> None:
    for value in (1.0, 3.0):  # a rate of three is far from those that were seen
        truth = untrained.transform.count(toy_events(2000, 5, value, value).x)
        cond = Conditions(2000, {"rate": torch.full((2000, 1), value)})
        with torch.no_grad():
            scores = untrained.counts.sample(
                2000, untrained.transform.condition(cond), generator(2)
            )
        drawn = untrained.transform.numbers(scores, cond)
        assert correlation(drawn) == pytest.approx(correlation(truth), abs=0.1)
        assert drawn.double().mean() == pytest.approx(float(truth.double().mean()), rel=0.08)
    orders = [torch.randperm(2000, generator=generator(seed)) for seed in range(4)]
    shuffled = torch.stack([drawn[order, s] for s, order in enumerate(orders)], 1)
    assert abs(correlation(shuffled)) < 0.05 < correlation(drawn)


def test_a_loss_counts_events_by_their_weights(untrained: PXDSets) -> None:
    batch = toy_events(4, 7)
    weighted = Batch(batch.x, batch.cond, weight=torch.tensor([1.0, 0.0, 1.0, 0.0]))
    untrained.eval()
    latents = [untrained.encode(weighted), untrained.encode(batch[[0, 2]])]
    with torch.no_grad():
        first, second = (untrained.loss(latent, generator(1)) for latent in latents)
    for name in ("counts", "seeds"):  # the noise of the hits is another where there are others
        assert float(first[name]) == pytest.approx(float(second[name]), rel=1e-5)


@pytest.mark.smoke
def test_a_short_training_learns_the_shape_of_clusters_in_each_sensor() -> None:
    """Share of neighbours along v by sensor: true is 0.96 and 0.05, without a sensor's context 0.5."""
    along_v, along_u = learnt(0)
    assert along_v > 0.65
    assert along_u < 0.4


def learnt(seed: int) -> tuple[float, float]:
    """The smallest share of the first two sensors and the largest of the others after 120 steps."""
    torch.manual_seed(seed)
    changes = "net.hidden=32", "net.layers=2", "embedding=4", "solver.steps=6", "transform.seen=4"
    module = model(*changes, seed=seed).train()
    optimizer = torch.optim.Adam(module.parameters(), 5e-3)
    batches = [toy_events(8, 100 + number) for number in range(10)]
    for step in range(120):
        latent = module.encode(batches[step % 10], generator(step + 1000 * seed))
        optimizer.zero_grad()
        module.loss(latent, generator(step))["loss"].backward()
        optimizer.step()
    x = module.sample(Conditions(20, {"rate": torch.ones(20, 1)}), generator=generator(1)).x > 0
    pairs = [(x & x.roll(1, axis)).sum((0, 2, 3)).double() for axis in (3, 2)]
    share = pairs[0] / (pairs[0] + pairs[1])
    return float(share[:2].min()), float(share[2:].max())
