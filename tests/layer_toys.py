"""Toy showers whose layers follow from each other, for models that generate layer after layer."""

from __future__ import annotations

import torch
from torch import Tensor

from simulacra.core import Batch, Field, Geometry, Spec, regular_grid
from simulacra.models.showers.layerwise import Layerwise
from simulacra.training.checkpoint import build
from support import composed, spec_of

ENERGY = Field("incident_energy", "GeV", low=10.0, high=100.0, role="energy")
FLOOR = 0.1  # MeV
LAYERS, SIDE = 4, 6


def spec(layers: int = LAYERS, rows: int = SIDE, cols: int = SIDE) -> Spec:
    axis = [tuple(float(k) for k in range(n + 1)) for n in (rows, cols)]
    return Spec(
        "toy",
        "grid",
        (layers, rows, cols),
        "MeV",
        conditions=(ENERGY,),
        geometry=regular_grid(layers, (axis[0], axis[1])),
        threshold=FLOOR,
        cut=FLOOR,
    )


def published_parameters(model: str, data: str) -> int:
    """Parameters at published size, counted on six layers: those behind are like the sixth."""
    whole = spec_of(data, None)
    assert whole.geometry is not None
    layers = whole.geometry.layers
    part = whole.with_(shape=(6, *whole.shape[1:]), geometry=Geometry(layers[:6]))
    with torch.device("meta"):
        module = build(composed("model", f"model={model}", "model/size=published"), part)
    chain = module.cells
    last = [*chain.flows[5].parameters(), *chain.embeddings[5].parameters()]
    return sum(p.numel() for p in module.parameters()) + (len(layers) - 6) * sum(
        p.numel() for p in last
    )


def showers(n: int, seed: int) -> Batch:
    """About 20 MeV per GeV, a spot that starts anywhere and drifts a little from layer to layer."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    energy = 10 + 90 * torch.rand(n, 1, generator=generator)
    profile = torch.tensor([0.15, 0.4, 0.3, 0.15]) * torch.exp(0.2 * normal(n, LAYERS))
    layers = 20 * energy * profile
    centre = 1.2 * normal(n, 2, 1) + 0.3 * normal(n, 2, LAYERS).cumsum(-1)  # (B, 2, L)
    axis = torch.arange(SIDE) - 0.5 * (SIDE - 1)
    x, y = (
        torch.exp(-0.5 * ((axis - centre[:, i, :, None]) / 0.9).square()) for i in range(2)
    )  # (B, L, 6)
    cells = layers[..., None, None] * x[..., :, None] * y[..., None, :] / 5
    cells = cells * torch.exp(0.3 * normal(n, LAYERS, SIDE, SIDE))
    return Batch(torch.where(cells < 1.0, 0.0, cells), {"incident_energy": energy})


def centres(x: Tensor) -> Tensor:
    """Centre of each layer along rows [cells], ``(B, L)``; the middle for an empty layer."""
    axis = torch.arange(x.shape[-2]) - 0.5 * (x.shape[-2] - 1)
    return (x.sum(-1) * axis).sum(-1) / x.sum((-1, -2)).clamp(min=1e-6)


def correlation(a: Tensor, b: Tensor) -> float:
    """Of all entries."""
    return float(torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1])


def neighbours(x: Tensor) -> float:
    """Correlation of the centres of successive layers."""
    centre = centres(x)
    return correlation(centre[:, 1:], centre[:, :-1])


def features(batch: Batch) -> Tensor:
    """Response, share and occupancy of each layer, width of the spot."""
    x, energy = batch.x, batch.cond["incident_energy"]
    layers = x.sum((-1, -2))
    axis = torch.arange(SIDE) - 0.5 * (SIDE - 1)
    spread = ((x.sum(-1) * axis.square()).sum(-1) / layers.clamp(min=1e-6)).mean(1)
    total = layers.sum(1, keepdim=True)
    hits = (x > 0).float().mean((-1, -2))
    return torch.cat([total / energy, layers / total.clamp(min=1e-6), hits, spread[:, None]], 1)


def distance(a: Tensor, b: Tensor) -> float:
    """Mean over features of the mean quantile difference in standard deviations of ``b``."""
    grid = (torch.arange(100) + 0.5) / 100
    difference = torch.quantile(a, grid, dim=0) - torch.quantile(b, grid, dim=0)
    return float((difference.abs().mean(0) / b.std(0)).mean())


def gaussian_nll(x: Tensor) -> float:
    """Negative log-likelihood per number of independent normal distributions of the columns."""
    return float((0.5 + 0.5 * torch.log(2 * torch.pi * x.var(0))).mean())


@torch.no_grad()
def scores(module: Layerwise, seed: int) -> dict[str, float]:
    """Figures of a trained module: likelihoods per number, feature distances, correlations of layers."""
    truth = showers(1000, 100 + seed)
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(truth), generator=generator)
    with module.evaluating():
        latent = module.encode(truth, generator)
        cells, context = latent.x["cells"], module.context(latent)
        chain = module.cells
        other = chain.split(cells[order])
        true = chain.log_probs(cells, context)
        layers = chain.split(cells)
        mixed = [
            chain.flow_of(n).log_prob(
                x, chain.steer(n, other[max(0, n - chain.history) : n], context)
            )
            for n, x in enumerate(layers)
        ]
    cond = truth.conditions()
    made = module.sample(cond, generator=generator).x
    wrong = module.sample(cond[order], generator=generator).x
    taught, free = (module.continued(truth, known, generator).x for known in (True, False))

    def far(x: Tensor) -> float:
        return distance(features(Batch(x, truth.cond)), features(truth))

    return {
        "nll": -float(true.mean(0).sum()) / cells.shape[1],
        "nll_gaussian": gaussian_nll(cells),
        "nll_other_past": -float(torch.stack(mixed, 1).mean(0).sum()) / cells.shape[1],
        "distance": far(made),
        "distance_shuffled": far(wrong),
        "neighbours": neighbours(made),
        "neighbours_true": neighbours(truth.x),
        "after_true": correlation(centres(taught)[:, 1:], centres(truth.x)[:, :-1]),
        "after_generated": correlation(centres(free)[:, 1:], centres(truth.x)[:, :-1]),
    }
