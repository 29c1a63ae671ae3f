"""Toy calorimeter showers, how far generated ones are from them, and a short training on them."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from simulacra.core import Batch, Conditions, Field, Geometry, Layer, Spec, regular_grid
from simulacra.models.showers.shower_model import ShowerModel
from simulacra.training.generative import GenerativeModule


def stack(*shapes: tuple[int, int]) -> Geometry:
    def edges(n: int) -> tuple[float, ...]:
        return tuple(float(k) for k in range(n + 1))

    return Geometry(
        tuple(
            Layer(i, ("alpha", "r"), (edges(a), edges(r)), float(i))
            for i, (a, r) in enumerate(shapes)
        )
    )


ENERGY = Field("incident_energy", "MeV", low=256.0, high=4194304.0, log=True, role="energy")
PHOTONS = stack((1, 8), (10, 16), (10, 19), (1, 5), (1, 5))
PIONS = stack((1, 8), (10, 10), (10, 10), (1, 5), (10, 15), (10, 16), (1, 10))


def layers_spec(geometry: Geometry) -> Spec:
    return Spec(
        "toy",
        "layers",
        (geometry.n_voxels,),
        "MeV",
        conditions=(ENERGY,),
        geometry=geometry,
        cut=1.0,
    )


def grid_spec(layers: int, rows: int, cols: int) -> Spec:
    axis = [tuple(float(k) for k in range(n + 1)) for n in (rows, cols)]
    geometry = regular_grid(layers, (axis[0], axis[1]))
    return Spec(
        "toy",
        "grid",
        (layers, rows, cols),
        "MeV",
        conditions=(ENERGY,),
        geometry=geometry,
        threshold=0.1,
        cut=0.1,
    )


def toy(n: int, seed: int, energies: Sequence[float] | None = None) -> Batch:
    """Showers of 8 layers of 5 x 5 cells [MeV]: depth and width fluctuate, occupancy grows.

    Incident energies [MeV] are drawn from a range, or are some of those that are given.
    """
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    energy = 256.0 * 2 ** (6 * torch.rand(n, 1, generator=generator))
    if energies is not None:
        energy = torch.tensor(energies)[torch.randint(len(energies), (n, 1), generator=generator)]
    depth = torch.arange(8.0)
    peak = 1.0 + 0.6 * torch.log(energy / 256) + 0.5 * normal(n, 1)
    profile = torch.exp(-0.5 * ((depth - peak) / 1.5).square())
    layers = (
        energy
        * (1 + 2.0 / energy.sqrt() * normal(n, 1)).clamp(min=0.3)
        * profile
        / profile.sum(1, keepdim=True)
    )
    axis = torch.arange(5.0) - 2
    radius = (axis[:, None].square() + axis[None, :].square()).sqrt()
    shape = torch.exp(
        -radius
        / (0.5 + 0.08 * depth)[:, None, None]
        * (1 + 0.15 * normal(n, 1, 1, 1)).clamp(min=0.5)
    )
    cells = layers[..., None, None] * shape / shape.sum((-1, -2), keepdim=True)
    x = cells * (1 + normal(n, 8, 5, 5) / (1 + cells.sqrt())).clamp(min=0)
    return Batch(torch.where(x < 1.0, 0.0, x), {"incident_energy": energy})


TOY = grid_spec(8, 5, 5).with_(threshold=1.0, cut=1.0)


def features(batch: Batch) -> torch.Tensor:
    """Response, depth, spread in depth, occupancy, largest share, radius."""
    x = batch.x
    layers, total = x.sum((-1, -2)), x.sum((1, 2, 3)) + 1e-9
    depth = torch.arange(8.0)
    mean = (layers * depth).sum(1) / total
    spread = ((layers * depth.square()).sum(1) / total - mean.square()).clamp(min=0).sqrt()
    axis = torch.arange(5.0) - 2
    radius = (axis[:, None].square() + axis[None, :].square()).sqrt()
    rest = [
        (x > 0).float().mean((1, 2, 3)),
        x.flatten(1).amax(1) / total,
        (x * radius).sum((1, 2, 3)) / total,
    ]
    return torch.stack([total / batch.cond["incident_energy"][:, 0], mean, spread, *rest], 1)


def distance(a: torch.Tensor, b: torch.Tensor) -> float:
    """Mean over features of the mean quantile difference in standard deviations of ``b``."""
    grid = (torch.arange(100) + 0.5) / 100
    difference = torch.quantile(a, grid, dim=0) - torch.quantile(b, grid, dim=0)
    return float((difference.abs().mean(0) / b.std(0)).mean())


def train(module: GenerativeModule, batch: Batch, steps: int, seed: int) -> None:
    """Optimizer steps on the objectives of a module, one phase after the other, with cosine decay."""
    generator = torch.Generator().manual_seed(seed)
    module.train()
    for objective in module.objectives().values():
        optimizer = objective.optim.optimizer(objective.parameters)
        turns = objective.turns(steps)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, len(turns))
        for _ in turns:
            index = torch.randint(len(batch), (128,), generator=generator)
            optimizer.zero_grad()
            objective.loss(module.encode(batch[index], generator), None)["loss"].backward()
            torch.nn.utils.clip_grad_norm_(objective.parameters, 1.0)
            optimizer.step()
            schedule.step()
    module.eval()


def smoke_scores(module: GenerativeModule, seed: int, steps: int) -> dict[str, float]:
    """Distances of samples before and after training, and for other conditions than asked for."""
    truth, batch = toy(2000, 100 + seed), toy(4000, seed)
    module.fit_transform([batch])
    cond = truth.conditions()

    def score(asked: Conditions) -> float:
        made = module.sample(asked, generator=torch.Generator().manual_seed(seed))
        return distance(features(Batch(made.x, truth.cond)), features(truth))

    untrained = score(cond)
    train(module, batch, steps, seed)
    order = torch.randperm(len(truth), generator=torch.Generator().manual_seed(seed))
    return {"untrained": untrained, "trained": score(cond), "shuffled": score(cond[order])}


def by_heart(module: ShowerModel, seed: int, steps: int = 100, rate: float = 4e-3) -> float:
    """Loss of the cells of one batch, at fixed times and noise, after a training on it over that before."""

    def generator() -> torch.Generator:
        return torch.Generator().manual_seed(seed)

    batch = toy(32, seed)
    module.fit_transform([batch])
    values, context, _ = module.described(module.encode(batch, generator()))["cells"]
    optimizer = torch.optim.Adam(module.cells.parameters(), lr=rate)
    losses = []
    for _ in range(steps + 1):
        optimizer.zero_grad()
        loss = module.cells.loss(values, context, None, generator())
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses[-1] / losses[0]
