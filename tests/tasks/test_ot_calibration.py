"""Transport between samples of which the map of least cost is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import ot
import pytest
import torch
from torch import Tensor

from pair_training import train
from simulacra.core import Batch, Field, IncompatibleError, Spec
from simulacra.core.pair import FIRST, SECOND, labelled, with_label
from simulacra.tasks.ot_calibration import OTCalibration
from simulacra.tasks.transport import Transport
from support import made

SPEC = Spec("toy", "table", (2,), "", features=(Field("a"), Field("b")))
MODE = Field("mode", classes=("0", "1"))
MATRIX = torch.tensor([[1.3, 0.4], [0.4, 0.7]])
SHIFT = torch.tensor([0.6, -0.5])


def second(n: int, seed: int) -> Tensor:
    g = torch.Generator().manual_seed(seed)
    return torch.randn(n, 2, generator=g) @ torch.tensor([[1.0, 0.3], [0.0, 0.8]])


def exact(y: Tensor) -> Tensor:
    """A symmetric positive matrix and a shift: the gradient of a convex function."""
    return y @ MATRIX + SHIFT


def pair(first: Batch, other: Batch) -> Batch:
    return Batch.cat([with_label(first, FIRST), with_label(other, SECOND)])


def calibration(spec: Spec, *changes: str, size: str = "small", seed: int = 0) -> OTCalibration:
    module = made("ot_calibration", labelled(spec), *changes, size=size, seed=seed)
    assert isinstance(module, OTCalibration)
    assert isinstance(module, Transport)
    return module


def wasserstein(a: Tensor, b: Tensor) -> float:
    """First Wasserstein distance of two samples, exactly."""
    cost = ot.dist(a.double().numpy(), b.double().numpy(), metric="euclidean")
    return float(ot.emd2(np.array([]), np.array([]), cost))


@pytest.mark.smoke
def test_a_gaussian_is_moved_by_the_exact_map() -> None:
    """Three seeds after 500 turns: 0.014 to 0.028 standard deviations off; points left in place are 0.55."""
    module = calibration(SPEC, "transform.common=true")
    train(module, pair(Batch(exact(second(20_000, 1))), Batch(second(20_000, 2))), 600, 512)
    fresh, truth = second(4000, 3), exact(second(4000, 4))
    moved = module.map(Batch(fresh)).x
    error = (moved - exact(fresh)).abs() / exact(fresh).std(0)
    assert float(error.mean()) < 0.05
    left = ((fresh - exact(fresh)).abs() / exact(fresh).std(0)).mean()
    assert float(left) > 0.3
    before, after = (wasserstein(x[:1000], truth[:1000]) for x in (fresh, moved))
    assert after < 0.2 * before


@pytest.mark.smoke
def test_the_map_depends_on_what_is_given_and_on_what_stays() -> None:
    """Class 0 is moved up and class 1 down, and a column that stays says by how much."""
    spec = SPEC.with_(conditions=(MODE,))
    g = torch.Generator().manual_seed(0)

    def sample(moved: float) -> Batch:
        x, mode = torch.randn(20_000, 2, generator=g), torch.randint(2, (20_000, 1), generator=g)
        way = moved * (1.0 - 2.0 * mode) + moved * 0.5 * x[:, 1:]
        return Batch(torch.cat([x[:, :1] + way, x[:, 1:]], 1), {"mode": mode})

    module = calibration(spec, "transform.stays=[b]")
    train(module, pair(sample(1.0), sample(0.0)), 600, 512)
    fresh = sample(0.0)[:2000]
    moved = module.map(fresh)
    assert torch.equal(moved.x[:, 1], fresh.x[:, 1])
    wanted = 1.0 - 2.0 * fresh.cond["mode"][:, 0] + 0.5 * fresh.x[:, 1]
    error = (moved.x[:, 0] - fresh.x[:, 0] - wanted).abs()
    assert float(error.mean()) < 0.15


def test_events_keep_all_but_the_columns_that_are_moved() -> None:
    spec = SPEC.with_(conditions=(MODE,), event=(Field("id"),))
    batch = Batch(
        second(50, 0),
        {"mode": torch.randint(2, (50, 1))},
        {"id": torch.arange(50.0)[:, None]},
        weight=torch.rand(50),
    )
    module = calibration(spec, "transform.stays=[a]", size="tiny")
    module.fit_transform([pair(batch, batch)])
    moved = module.map(batch)
    assert torch.equal(moved.x[:, 0], batch.x[:, 0])
    assert not torch.equal(moved.x[:, 1], batch.x[:, 1])
    assert torch.equal(moved.event["id"], batch.event["id"])
    assert torch.equal(moved.weight, batch.weight)
    assert torch.equal(moved.cond["mode"], batch.cond["mode"])
    order = torch.randperm(50)
    torch.testing.assert_close(module.map(batch[order]).x, moved.x[order])


def test_an_untrained_map_leaves_events_close_to_where_they_are() -> None:
    module, batch = calibration(SPEC, size="tiny"), Batch(second(200, 0))
    module.fit_transform([pair(batch, batch)])
    assert float((module.map(batch).x - batch.x).abs().max()) < 0.05


def test_each_sample_counts_with_its_own_weights() -> None:
    """The potential is told apart by side: without events of one sample its mean there is 0."""
    module = calibration(SPEC, size="tiny")
    both = pair(Batch(second(40, 0)), Batch(second(40, 1)))
    module.fit_transform([both])
    weight = torch.ones(80)
    weight[:40] = 7.0  # all of the first sample: only ratios within a sample count
    for name, objective in module.objectives().items():
        plain, weighted = (
            objective.loss(module.encode(item), None)["loss"].detach()
            for item in (both, replace(both, weight=weight))
        )
        torch.testing.assert_close(plain, weighted, msg=name)


def test_it_moves_tables_alone() -> None:
    image = Spec("toy", "image", (1, 4, 4), "GeV")
    with pytest.raises(IncompatibleError, match="it moves columns of tables"):
        calibration(image, size="tiny")
