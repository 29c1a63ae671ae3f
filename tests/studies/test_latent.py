"""Points of a latent space that are drawn with known weights of their events."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import Tensor

from simulacra.core import Batch, Conditions, Field, draws
from simulacra.dynamics.flows import coupling_flow
from simulacra.dynamics.hamiltonian import Hamiltonian
from simulacra.dynamics.splines import RationalQuadratic
from simulacra.studies.latent import (
    Drawn,
    FlowRefiner,
    HamiltonianRefiner,
    LatentClassifier,
    Learner,
    Weighted,
    logit,
)
from simulacra.training.latent_space import LatentSpace

ENERGY = Field("energy", low=0.0, high=1.0)


def generate(cond: Conditions) -> Batch:
    """Events ``x = 2 z + energy``."""
    z = draws.normal((cond.n, 2), torch.zeros(1))
    return Batch(2 * z + cond.values["energy"], cond.values)


def weigh(batch: Batch) -> Tensor:
    """``exp(0.8 z_0 - 0.32)``: ``z_0`` is normal of mean 0.8 with these weights, and of the same width."""
    z = (batch.x[:, 0] - batch.cond["energy"][:, 0]) / 2
    return torch.exp(0.8 * z - 0.32)


def hole(batch: Batch) -> Tensor:
    """No weight at all between -1 and 1 of the second coordinate, where the gradient of it knows nothing."""
    return (batch.x[:, 1].abs() > 1).float().clamp_min(1e-6)


def conditions(n: int) -> Conditions:
    return Conditions(n, {"energy": torch.rand(n, 1, generator=torch.Generator().manual_seed(n))})


def weighted(rule=weigh) -> Weighted:
    made = Weighted(LatentSpace("Toy", generate, conditions(7)), rule, (ENERGY,), 1000)
    made.fit(conditions(100))
    return made


def learnt(target: Weighted, epochs: int = 10) -> tuple[object, Drawn, dict[str, float]]:
    source = torch.Generator().manual_seed(0)
    points = target.draw(conditions(4000), source)
    net, figures = LatentClassifier([32], epochs, 500, 5e-3).learn(points, source)
    return net, points, figures


def test_the_second_network_learns_the_weights_of_points() -> None:
    target = weighted()
    net, points, figures = learnt(target)
    assert figures["latent/explained"] > 0.9
    assert points.context.shape == (4000, 1)
    assert abs(float(points.weight.mean()) - 1) < 0.1
    error = logit(net, points) - points.weight.log()
    assert float(error.square().mean().sqrt()) < 0.25


def test_weights_that_cannot_be_learnt_leave_the_second_network_flat() -> None:
    """Noise: what a network learns of it is wrong on points that it has not seen."""
    source = torch.Generator().manual_seed(2)
    target = weighted(lambda batch: 2 * torch.rand(len(batch), generator=source))
    net, points, figures = learnt(target, epochs=20)
    assert float(logit(net, points).abs().max()) < 0.3
    assert abs(figures["latent/explained"]) < 0.03


@pytest.mark.parametrize("exact", [True, False])
def test_chains_draw_points_of_the_weighted_density(exact: bool) -> None:
    target = weighted()
    net, points, _ = learnt(target)
    refiner = HamiltonianRefiner(Hamiltonian(1.6, 0.2, 20), 10, exact)
    source = torch.Generator().manual_seed(1)
    z, cond, figures = refiner.refine(target, net, points, conditions(4000), source)
    assert z.shape == (4000, 2)
    torch.testing.assert_close(z.mean(0), torch.tensor([0.8, 0.0]), rtol=0, atol=0.08)
    torch.testing.assert_close(z.std(0), torch.ones(2), rtol=0, atol=0.06)
    assert figures["r_hat"] < 1.1
    assert figures["distinct"] > 0.9
    assert torch.equal(cond.values["energy"][:400], conditions(4000).values["energy"][:400])
    assert torch.equal(cond.values["energy"][400:800], cond.values["energy"][:400])


def test_chains_leave_a_hole_empty_that_the_second_network_has_not_learnt() -> None:
    target = weighted(hole)
    flat, points, _ = learnt(target, epochs=0)
    refiner = HamiltonianRefiner(Hamiltonian(1.5, 0.15, 30), 10, True)
    z, cond, figures = refiner.refine(
        target, flat, points, conditions(2000), torch.Generator().manual_seed(1)
    )
    x = torch.cat([batch.x for batch in target.events(z, cond)])
    assert float((x[:, 1].abs() < 1).float().mean()) < 0.01
    assert float((points.weight < 0.5).float().mean()) > 0.2
    assert figures["acceptance"] < 0.95


def test_a_refiner_network_learns_the_weighted_points() -> None:
    target = weighted()
    net, points, _ = learnt(target, epochs=1)
    make = partial(coupling_flow, blocks=2, spline=RationalQuadratic(8, 6.0), hidden=[16])
    refiner = FlowRefiner(make, Learner(10, 500, 1e-2))
    z, cond, figures = refiner.refine(
        target, net, points, conditions(4000), torch.Generator().manual_seed(1)
    )
    torch.testing.assert_close(z.mean(0), torch.tensor([0.8, 0.0]), rtol=0, atol=0.12)
    assert figures["refiner/loss"] > 0
    assert cond.n == 4000
