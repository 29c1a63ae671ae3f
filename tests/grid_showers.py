"""Showers of a known law on a small regular grid, and a short training of adversarial networks on them."""

from __future__ import annotations

import torch
from torch import Tensor

from simulacra.core import Batch, Field, Prior, Spec, regular_grid
from simulacra.training.generative import GenerativeModule

SHAPE = (6, 8, 8)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def toy_spec(shape: tuple[int, int, int] = SHAPE, angle: bool = False) -> Spec:
    edges = [tuple(float(i) for i in range(n + 1)) for n in shape[1:]]
    fields = [Field("incident_energy", "GeV", low=10.0, high=100.0, role="energy")]
    fields += [Field("theta", "deg", low=30.0, high=90.0)] if angle else []
    return Spec(
        "toy", "grid", shape, "MeV", conditions=tuple(fields),
        geometry=regular_grid(shape[0], (edges[0], edges[1])), cut=0.1,
        prior=(Prior("incident_energy", "uniform", (10.0, 100.0)),),
    )  # fmt: skip


def toy_showers(n: int, seed: int) -> Batch:
    """Quanta of 0.5 MeV, 4 per GeV, Poisson in each cell around a peak in depth and radius, gamma-smeared."""
    source = generator(seed)
    energy = 10 + 90 * torch.rand(n, 1, generator=source)
    depth = torch.arange(SHAPE[0]) - 2.0
    row, col = torch.arange(SHAPE[1]) - 3.5, torch.arange(SHAPE[2]) - 3.5
    shape = torch.exp(-(depth[:, None, None] ** 2) / 4 - torch.hypot(row[:, None], col[None, :]))
    mean = 4 * energy[:, :, None, None] * shape / shape.sum()
    cells = 0.5 * torch.poisson(mean, generator=source)
    return Batch(
        cells * (0.7 + 0.6 * torch.rand(cells.shape, generator=source)), {"incident_energy": energy}
    )


def observables(batch: Batch) -> dict[str, Tensor]:
    x = torch.where(batch.x < 0.1, 0.0, batch.x)
    total = x.sum((1, 2, 3)).clamp_min(1e-6)
    hits = (
        x[x > 0] if bool((x > 0).any()) else x.new_full((1,), 0.1)
    )  # a hit at the cut where there is none
    depth, row = (x.sum(dims) / total[:, None] for dims in ((2, 3), (1, 3)))
    return {
        "response": total / batch.cond["incident_energy"][:, 0],
        "hits": (x > 0).sum((1, 2, 3)).float(),
        "depth": depth @ torch.arange(6.0),
        "row": row @ torch.arange(8.0),
        "width": row @ (torch.arange(8.0) - 3.5).square(),
        "cell": hits[:: max(1, len(hits) // 2000)].log(),
    }


def quantile_distances(found: dict[str, Tensor], wanted: dict[str, Tensor]) -> dict[str, float]:
    """Mean difference of quantiles in units of truth's standard deviation."""
    levels = torch.linspace(0.005, 0.995, 100)
    return {
        name: float(
            (found[name].quantile(levels) - wanted[name].quantile(levels)).abs().mean()
            / wanted[name].std()
        )
        for name in wanted
    }


def distances(generated: Batch, truth: Batch) -> dict[str, float]:
    """Of the observables of showers."""
    return quantile_distances(observables(generated), observables(truth))


def train(module: GenerativeModule, steps: int, batch_size: int) -> None:
    """``steps`` batches, stepped in order as the base class does."""
    events = toy_showers(2000, 1)
    objectives = module.objectives()
    optimizers = {name: o.optim.optimizer(o.parameters) for name, o in objectives.items()}
    schedules = {
        name: o.optim.scheduler(optimizers[name], total_steps=int(steps * o.rate))
        for name, o in objectives.items()
        if o.optim.scheduler
    }
    source = generator(2)
    for number in range(steps):
        latent = module.encode(events[torch.randint(len(events), (batch_size,), generator=source)])
        for name, objective in objectives.items():
            if number % objective.every:
                continue
            for _ in range(objective.steps):
                objective.loss(latent, source)["loss"].backward()
                optimizers[name].step()
                schedules[name].step()
                module.zero_grad()


def scores(
    module: GenerativeModule, steps: int, batch_size: int = 48
) -> tuple[float, dict[str, float], dict[str, float]]:
    """Response with shuffled energies, distances after and before training."""
    truth = toy_showers(600, 3)
    module.fit_transform([toy_showers(500, 1)])
    cond = truth.conditions()
    before = distances(module.sample(cond, generator=generator(4)), truth)
    train(module, steps, batch_size)
    sampled = module.sample(cond, generator=generator(4))
    after = distances(sampled, truth)
    others = Batch(sampled.x, {"incident_energy": cond.values["incident_energy"].roll(1, 0)})
    return distances(others, truth)["response"], after, before
