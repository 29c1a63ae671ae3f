"""A short training on discrete energies: a held-out one is sampled, strange showers are found."""

from __future__ import annotations

import pytest
import torch

from simulacra.core import Batch, Conditions
from simulacra.evaluation.anomaly import anomaly_score
from simulacra.training.generative import GenerativeModule
from support import made
from toy_showers import TOY, features, toy, train

BELOW, HELD_OUT, ABOVE = 512.0, 1024.0, 2048.0
ENERGIES = [256.0, BELOW, HELD_OUT, ABOVE, 4096.0, 8192.0]
WIDER = (
    "cells.blocks=4", "cells.hidden=[48]", "energies.blocks=4", "energies.hidden=[32]",
    "optim.scheduler=null", "optim.optimizer.lr=4e-3",
)  # fmt: skip
COMPARED = [0, 1, 3]
"""Features that change with the energy: response, depth and occupancy."""


def trained(seed: int, steps: int = 150) -> GenerativeModule:
    module = made("caloinn", TOY, *WIDER, seed=seed)
    batch = toy(4000, seed, [energy for energy in ENERGIES if energy != HELD_OUT])
    module.fit_transform([batch])
    train(module, batch, steps, seed)
    return module.eval()


@pytest.fixture(scope="module")
def module() -> GenerativeModule:
    return trained(0)


def interpolated(module: GenerativeModule, seed: int) -> dict[str, list[float]]:
    """Where response, depth and occupancy at the held-out energy lie between those of its neighbours (0 as
    below, 1 as above), and how much they rise from neighbour to neighbour relative to the truth.
    """
    found: dict[str, list[torch.Tensor]] = {"generated": [], "truth": []}
    for energy in (BELOW, HELD_OUT, ABOVE):
        cond = Conditions(600, {"incident_energy": torch.full((600, 1), energy)})
        made = module.sample(cond, generator=torch.Generator().manual_seed(seed))
        found["generated"].append(features(made).mean(0)[COMPARED])
        found["truth"].append(features(toy(600, 50 + seed, [energy])).mean(0)[COMPARED])
    rises = {name: means[2] - means[0] for name, means in found.items()}
    places = {name: ((found[name][1] - found[name][0]) / rises[name]).tolist() for name in found}
    return {**places, "rise": (rises["generated"] / rises["truth"]).tolist()}


def strange(batch: Batch, seed: int) -> dict[str, Batch]:
    """The same cell energies in wrong places."""
    order = torch.randperm(200, generator=torch.Generator().manual_seed(seed))
    cells = batch.x.flatten(1)[:, order].view_as(batch.x)
    layers = batch.x[:, [0, 1, 2, 4, 3, 5, 6, 7]]
    return {"cells": Batch(cells, batch.cond), "layers": Batch(layers, batch.cond)}


def aucs(module: GenerativeModule, seed: int) -> dict[str, float]:
    """Share of pairs in which a strange shower has the higher score than a usual one."""
    usual, batch = toy(1000, 200 + seed, ENERGIES), toy(300, 300 + seed, ENERGIES)
    normal = anomaly_score(module, batch, usual)
    return {
        name: float((anomaly_score(module, item, usual)[:, None] > normal).float().mean())
        for name, item in strange(batch, seed).items()
    }


@pytest.mark.smoke
def test_a_held_out_energy_is_sampled_between_its_neighbours(module: GenerativeModule):
    # Seeds 0, 3, 4: the rise of response and depth is 0.38 to 0.72 of the truth's after so short a training
    # (untrained 0.03 and 0.07), and the middle lies at 0.49 to 0.57 of it.
    found = interpolated(module, 0)
    assert all(0 < value < 1 for name in ("truth", "generated") for value in found[name]), found
    assert all(0.2 < value < 1.5 for value in found["rise"]), found


@pytest.mark.smoke
def test_strange_showers_have_higher_anomaly_scores(module: GenerativeModule):
    # Seeds 0 to 4: neighbouring layers exchanged 0.96 to 0.97 (untrained 0.60), cells shuffled 1.00.
    found = aucs(module, 0)
    assert min(found.values()) > 0.8, found
