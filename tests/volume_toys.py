"""Toy showers with cells of about 1 MeV, upright and slanted, and short trainings of BIB-AEs on them."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import Tensor

from simulacra.core import Batch, Field, Latent
from simulacra.models.showers.bib_ae import BIBAE
from simulacra.training.generative import GenerativeModule
from toy_showers import grid_spec, toy

Learner = TypeVar("Learner", bound=GenerativeModule)

SLANTED = grid_spec(8, 12, 5).with_(cut=0.05, threshold=0.05)
SLANTED = SLANTED.with_(
    conditions=(*SLANTED.conditions, Field("theta", "deg", low=30.0, high=90.0))
)
"""Showers that lean along the rows; theta is the angle from these."""


def faint(n: int, seed: int) -> Batch:
    """Toy showers whose cells hold about 1 MeV, as those of the calorimeters that BIB-AEs were made for."""
    showers = toy(n, seed)
    return Batch(showers.x / 30, showers.cond)


def slanted(n: int, seed: int, theta: Tensor | None = None) -> Batch:
    """The same at angles from 30 to 90 degrees or at given ones ``(n, 1)``: rows move with depth."""
    generator = torch.Generator().manual_seed(seed + 1000)
    upright = faint(n, seed)
    if theta is None:
        theta = 30 + 60 * torch.rand(n, 1, generator=generator)
    place = 0.6 * torch.arange(8.0) / theta.deg2rad().tan()  # (n, 8)
    whole, part = place.floor().long(), place - place.floor()
    x = torch.zeros(n, 8, 12, 5)
    rows = torch.arange(5)
    for shift, share in ((whole, 1 - part), (whole + 1, part)):
        index = (shift[..., None] + rows)[..., None].expand(-1, -1, -1, 5)
        x.scatter_add_(2, index.clamp(max=11), share[..., None, None] * upright.x)
    x = torch.where(x < SLANTED.cut, 0.0, x)
    return Batch(x, {**upright.cond, "theta": theta})


def learnt(module: Learner, events: Batch, turns: int, seed: int, size: int = 32) -> Learner:
    """After a run of so many turns through all phases; what starts anew does so."""
    module.fit_transform([events]).train()
    source = torch.Generator().manual_seed(seed)
    moved = [
        (item, item.optim.optimizer(item.parameters), item.turns(turns))
        for item in module.objectives().values()
    ]
    for turn in range(turns):
        rows = torch.randint(len(events), (size,), generator=source)
        latent = module.encode(events[rows], source)
        for objective, optimizer, when in moved:
            if turn not in when:
                continue
            if objective.renewal is not None and objective.starts_anew(turn, turns):
                fresh = objective.renewal.make().state_dict()
                objective.renewal.network.load_state_dict(fresh)
                optimizer.state.clear()
            optimizer.zero_grad()
            objective.loss(latent, source)["loss"].backward()
            optimizer.step()
    return module.eval()


@torch.no_grad()
def sums_pass(module: BIBAE, events: Batch) -> float:
    """Correlation of visible energies before and after the auto-encoder."""
    latent = module.encode(events)
    made, *_ = module.reconstructed(latent, torch.Generator().manual_seed(0))
    sums = torch.stack([made.flatten(1).sum(1), latent.x["shower"].flatten(1).sum(1)])
    return float(torch.corrcoef(sums)[0, 1])


@torch.no_grad()
def spectra(module: BIBAE, events: Batch) -> tuple[float, float]:
    """Distances of hit spectra of decoded showers, before and after post-processing, from true ones."""
    latent = module.encode(events)
    made, *_ = module.reconstructed(latent, torch.Generator().manual_seed(0))
    after = module.post(made, module.told(latent))
    return tuple(  # type: ignore[return-value]
        spectrum_distance(module.transform.emptied(cells), latent.x["shower"])
        for cells in (made, after)
    )


def mended(module: BIBAE, events: Batch, seed: int, turns: int = 300) -> tuple[float, float]:
    """Distances of hit spectra before and after a post-processor that learns from true showers with cells of
    0.6 times their energies.
    """
    module.fit_transform([events]).train()

    def faded(latent: Latent, _: object = None) -> tuple[Tensor, ...]:
        return (0.6 * latent.x["shower"],)

    module.reconstructed = faded  # type: ignore[assignment,method-assign]
    objective = module.objectives()["post"]
    optimizer = objective.optim.optimizer(objective.parameters)
    source = torch.Generator().manual_seed(seed)
    for _ in range(turns):
        rows = torch.randint(len(events), (16,), generator=source)
        optimizer.zero_grad()
        objective.loss(module.encode(events[rows], source), source)["loss"].backward()
        optimizer.step()
    return spectra(module.eval(), events[:500])


def spectrum_distance(first: Tensor, second: Tensor) -> float:
    """Mean distance of the quantiles of hits [MeV] over the standard deviation of the second's."""
    grid = (torch.arange(200) + 0.5) / 200
    hits = [cells[cells > 0] for cells in (first, second)]
    if not len(hits[0]):
        return float("inf")
    low, high = (torch.quantile(cells[: 2**20].float(), grid) for cells in hits)
    return float((low - high).abs().mean() / hits[1].std())


def slope(showers: Tensor) -> Tensor:
    """Rows per layer along the axis ``(n,)`` of showers ``(n, L, R, K)``: the line of the layers' centres
    that weighs them by energy; NaN for an empty shower.
    """
    energy = showers.sum(3)  # (n, L, R)
    layer = energy.sum(2)
    rows, depth = torch.arange(energy.shape[2]).float(), torch.arange(energy.shape[1]).float()
    total = layer.sum(1)
    mean_depth = (layer * depth).sum(1) / total
    mean_row = (energy * rows).sum((1, 2)) / total
    apart = depth - mean_depth[:, None]
    covariance = (energy * (rows - mean_row[:, None, None]) * apart[..., None]).sum((1, 2))
    return covariance / (layer * apart.square()).sum(1)
