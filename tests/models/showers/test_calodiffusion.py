"""CaloDiffusion: sizes as published, what rolls, and a batch that it learns by heart."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from simulacra.core import Spec, regular_grid
from simulacra.dynamics.denoiser import Hybrid, Noise, Preconditioned
from simulacra.dynamics.diffusion_density import DiffusionDensity
from simulacra.models.showers.calodiffusion import CaloDiffusion
from simulacra.training.checkpoint import build
from support import composed, spec_of
from toy_showers import TOY, by_heart

PROCESSES = {"noise_chain": Noise, "hybrid_chain": Hybrid, "preconditioned": Preconditioned}
EDGES = [[float(k) for k in range(n + 1)] for n in (8, 5)]
CYLINDER = TOY.with_(
    shape=(3, 8, 5),
    geometry=regular_grid(3, (EDGES[0], EDGES[1]), ("alpha", "r"), periodic=0),
)


def model(name: str, spec: Spec, process: str, *changes: str, seed: int = 0) -> CaloDiffusion:
    options = [f"model.{change}" for change in changes]
    config = composed(
        *("model", f"model={name}", "model/size=tiny"),
        *(f"model/process@model.cells.process={process}", *options),
    )
    torch.manual_seed(seed)
    made = build(config, spec)
    assert isinstance(made, CaloDiffusion)
    return made


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(
    ("data", "thousands", "evaluations"),
    [  # arXiv:2308.03876 and its public code
        ("ds1_photons", 518, 398),
        ("ds1_pions", 518, 398),
        ("ds2", 518, 398),
        ("ds3", 1220, 400),
    ],
)
def test_published_settings_have_the_published_numbers_of_parameters_and_steps(
    data: str, thousands: float, evaluations: int
) -> None:
    config = composed("model", f"experiment=calodiffusion_{data}_published")
    with torch.device("meta"):
        module = build(config, spec_of(data, None))
    assert module.energies is None
    count = sum(p.numel() for p in module.parameters())
    assert count == pytest.approx(1e3 * thousands, rel=0.02)
    assert module.cells.solver.evaluations == evaluations


@pytest.mark.parametrize("process", PROCESSES)
def test_the_process_is_chosen_by_one_override_for_cells_and_energies(process: str) -> None:
    module = model("calodiffusion2", TOY, process)
    for part in module.parts().values():
        assert isinstance(part, DiffusionDensity)
        assert isinstance(part.process.predicts, PROCESSES[process])
    assert set(module.parts()) == {"cells", "energies"}


@pytest.mark.parametrize("process", PROCESSES)
def test_rolling_the_angle_of_the_noise_rolls_the_shower(process: str) -> None:
    cells = model("calodiffusion2", CYLINDER, process).cells
    assert isinstance(cells, DiffusionDensity)
    noise = torch.randn(2, 120, generator=generator())
    context = torch.randn(2, 4, generator=generator(1))

    def turned(x: Tensor, axis: int) -> Tensor:
        return x.unflatten(1, (3, 8, 5)).roll(3, axis).flatten(1)

    @torch.no_grad()
    def drawn(start: Tensor) -> Tensor:
        return cells.solver.sample(cells.process.denoiser(cells.network(context)), start)

    made = drawn(noise)
    size = float(made.std())
    assert float((drawn(turned(noise, 2)) - turned(made, 2)).abs().max()) < 1e-5 * size
    assert float((drawn(turned(noise, 3)) - turned(made, 3)).abs().max()) > 1e-2 * size


@pytest.mark.smoke
@pytest.mark.parametrize(
    ("process", "most"),
    [  # seeds 0 to 2; and where the network sees zeros in place of points
        ("noise_chain", 0.25),  # 0.02 to 0.13; 0.68
        ("hybrid_chain", 0.06),  # 0.018 to 0.024; 0.12
        ("preconditioned", 0.14),  # 0.06 to 0.08; 0.21
    ],
)
def test_one_batch_is_learnt_by_heart(process: str, most: float) -> None:
    widths = ("cells.net.widths=[16,16]", "cells.net.known=16", "cells.net.frequencies=8")
    assert by_heart(model("calodiffusion2", TOY, process, *widths), seed=0) < most
