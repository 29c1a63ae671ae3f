"""Any density takes the place of a part: showers with cells by diffusion, energies by a kernel density."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from simulacra.core import Batch, Field, Layout, Spec, UserError
from simulacra.dynamics.density import Density
from simulacra.dynamics.diffusion import flow_matching
from simulacra.dynamics.diffusion_density import DiffusionDensity
from simulacra.dynamics.flows import coupling_flow
from simulacra.dynamics.kernel_density import KernelDensity
from simulacra.dynamics.solvers import Midpoint
from simulacra.dynamics.splines import RationalQuadratic
from simulacra.models.showers.shower_model import ShowerModel
from simulacra.nn.mlp import MLP
from simulacra.training.optim import Optim
from simulacra.transforms.maps.cell_scaling import AllCells
from simulacra.transforms.showers import ShowerTransform
from simulacra.transforms.whole_showers import OffsetLogs, WholeShowerTransform
from toy_showers import TOY, distance, features, toy, train


class CellNet(nn.Module):
    """Sees noisy cells, context and time."""

    def __init__(self, layout: Layout, hidden: int) -> None:
        super().__init__()
        self.net = MLP(layout.features + layout.context + 1, layout.features, [hidden, hidden])

    def forward(self, x: Tensor, t: Tensor, context: Tensor) -> Tensor:
        return self.net(torch.cat([x, context, t[:, None]], 1))


def model(energies, cells) -> ShowerModel:
    torch.manual_seed(0)
    optim = Optim(partial(torch.optim.Adam, lr=4e-3))
    return ShowerModel(TOY, None, ShowerTransform, energies, cells, optim)


def flow(layout: Layout) -> Density:
    return coupling_flow(layout, 4, RationalQuadratic(6, 6.0), [32], affine=[32])


def diffusion(layout: Layout) -> Density:
    return DiffusionDensity(layout, partial(CellNet, hidden=96), flow_matching(), Midpoint(8))


def test_a_part_is_told_what_it_describes_and_nothing_of_the_data_set():
    seen: list[Layout] = []

    def remembered(layout: Layout) -> Density:
        seen.append(layout)
        return flow(layout)

    model(remembered, remembered)
    cells, energies = seen
    assert (cells.features, cells.context, cells.given) == (200, 9, 1)
    assert (cells.layers, cells.image) == ((25,) * 8, (5, 5))
    assert energies == Layout(8, 1)
    model(None, remembered)
    assert seen[2] == Layout(208, 1)


def test_a_density_without_a_likelihood_has_a_loss_and_samples_but_no_bits():
    module = model(flow, diffusion).fit_transform([toy(64, 0)])
    values = module._loss(module.encode(toy(16, 1)), torch.Generator().manual_seed(0))
    assert values.keys() == {"loss", "cells", "energies"}
    torch.testing.assert_close(values["loss"].detach(), values["cells"] + values["energies"])
    TOY.validate(module.sample(toy(4, 2).conditions()))
    with pytest.raises(UserError, match="does not know their density"):
        module.log_prob(toy(4, 2))


def test_a_kernel_density_may_draw_the_energies():
    def kernels(layout: Layout) -> Density:
        return KernelDensity(layout, kernels=200, bandwidth=0.1)

    module = model(kernels, flow).fit_transform([toy(200, 0)])
    assert {name.split(".")[0] for name, _ in module.named_parameters()} == {"cells"}
    made = module.sample(toy(400, 1).conditions(), generator=torch.Generator().manual_seed(0))
    response, truth = (
        batch.x.sum((1, 2, 3)) / batch.cond["incident_energy"][:, 0]
        for batch in (made, toy(400, 1))
    )
    assert float(response.mean()) == pytest.approx(float(truth.mean()), rel=0.1)


@pytest.mark.parametrize("event", [(), (Field("overflow", "MeV", dim=2),)])
def test_cells_may_be_all_but_the_event_numbers(event: tuple[Field, ...]):
    seen: list[Layout] = []

    def remembered(layout: Layout) -> Density:
        seen.append(layout)
        return flow(layout)

    def logarithms(spec: Spec, given: Sequence[Field]) -> WholeShowerTransform:
        scaling = partial(AllCells, hits=False)
        return WholeShowerTransform(spec, given, OffsetLogs(0.02), scaling)

    spec, numbers = TOY.with_(event=event), sum(field.dim for field in event)
    module = ShowerModel(spec, None, logarithms, remembered, remembered, Optim(torch.optim.Adam))
    cells, *energies = seen
    assert (cells.features, cells.context, cells.given) == (200, 1 + numbers, 1 + numbers)
    assert cells.geometry is TOY.geometry
    assert energies == ([Layout(numbers, 1)] if event else [])
    batch = Batch(toy(64, 0).x, toy(64, 0).cond, {f.name: torch.rand(64, 2) for f in event})
    module.fit_transform([batch])
    values = module._loss(module.encode(batch), None)
    assert values.keys() == {"loss", "cells", *(["energies"] if event else [])}
    spec.validate(module.sample(batch.conditions()))
    with pytest.raises(UserError, match="volume is not known"):
        module.log_prob(batch)
    joint = ShowerModel(spec, None, logarithms, None, remembered, Optim(torch.optim.Adam))
    assert seen[-1].features == 200 + numbers
    spec.validate(joint.fit_transform([batch]).sample(batch.conditions()))


@pytest.mark.smoke
def test_a_short_training_with_cells_by_diffusion_learns_the_toy_showers():
    # Seeds 0 to 2: 0.62 to 0.72 before, 0.57 to 0.63 of that after.
    module = model(flow, diffusion).fit_transform([toy(4000, 0)])
    truth = toy(1000, 100)
    cond = truth.conditions()

    def score() -> float:
        made = module.sample(cond, generator=torch.Generator().manual_seed(0))
        return distance(features(made), features(truth))

    before = score()
    train(module, toy(4000, 0), 250, 0)
    after = score()
    assert after < 0.75 * before, (before, after)
