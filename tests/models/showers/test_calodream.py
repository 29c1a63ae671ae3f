"""CaloDREAM: published sizes, either way to draw the energies, a learned solver, a short training."""

from __future__ import annotations

import pytest
import torch

from simulacra.core import Spec
from simulacra.dynamics.transfusion import Transfusion
from simulacra.models.showers.calodream import CaloDREAM
from simulacra.models.showers.calodream_bespoke import CaloDREAMBespoke
from simulacra.training.checkpoint import build
from simulacra.training.teacher import taught
from support import composed, save, spec_of
from toy_showers import TOY, smoke_scores, toy

PARALLEL = "model/base@model.energies=parallel_energies"
RESIDUAL = "model/base@model.cells.net=residual"
CONVOLUTIONS = "model/base@model.cells.net=cylindrical"


def model(spec: Spec, size: str, *overrides: str) -> CaloDREAM:
    torch.manual_seed(0)
    return build(composed("model", "model=calodream", f"model/size={size}", *overrides), spec)


def count(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def test_the_published_networks_have_the_published_numbers_of_parameters():
    with torch.device("meta"):
        module = model(spec_of("ds2", None), "published")
    assert isinstance(module.energies, Transfusion)
    assert count(module.energies) == pytest.approx(2_384_705, rel=0.02)  # calo_dreamer @6340c09
    assert count(module.cells) == pytest.approx(1_072_812, rel=0.02)  # the same


def test_the_u_net_has_the_published_levels_of_data_set_3():
    with torch.device("meta"):
        net = model(spec_of("ds3", None), "published", CONVOLUTIONS).cells.net.net
    assert net.first.weight.shape[:2] == (32, 3)  # cells, maps of depth and radius
    assert [level.first.first.weight.shape[0] for level in net.downs] == [32, 64, 128]
    assert [(conv.kernel, conv.stride) for conv in net.join] == [
        ((3, 5, 3), (3, 3, 3)),
        ((3, 4, 2), (3, 3, 2)),
    ]
    assert [(up.kernel, up.stride) for up in net.split] == [
        (conv.kernel, conv.stride) for conv in net.join
    ]


@pytest.mark.parametrize("overrides", [(), (PARALLEL,), (RESIDUAL,), (CONVOLUTIONS,)])
def test_layers_of_a_sample_hold_the_energies_that_were_drawn(overrides: tuple[str, ...]):
    module = model(TOY, "tiny", *overrides).fit_transform([toy(128, 0)])
    cond = toy(32, 1).conditions()
    made = module.sample(cond, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        latent = module.eval().generate(cond, torch.Generator().manual_seed(0))
    wanted, _ = module.transform._physical(latent.x["energies"], cond)
    sums = TOY.geometry.layer_sums(made.x.flatten(1))
    torch.testing.assert_close(sums, wanted, rtol=1e-4, atol=1e-3)


def test_a_learned_solver_has_the_teachers_networks_and_comes_nearer_to_what_they_say(tmp_path):
    config = composed("model", "model=calodream", "model/size=tiny", RESIDUAL, PARALLEL)
    torch.manual_seed(0)
    teacher = build(config, TOY).fit_transform([toy(128, 0)])
    with torch.no_grad():
        for parameter in teacher.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape))
    path = save(teacher, config, tmp_path)
    own = composed("model", "model=calodream_bespoke", "model/size=tiny")
    student = build(taught({**own, "teacher": str(path)}), TOY).fit_transform([toy(128, 0)])
    assert isinstance(student, CaloDREAMBespoke)
    for name in ("energies", "cells.net"):
        mine, theirs = (m.get_submodule(name).state_dict() for m in (student, teacher))
        assert all(torch.equal(mine[key], theirs[key]) for key in theirs)
    (objective,) = student.objectives().values()
    assert {p.numel() for p in objective.parameters} == {16, 256}
    latent = student.encode(toy(16, 1), torch.Generator().manual_seed(0))
    optimizer, losses = torch.optim.Adam(objective.parameters, lr=2e-3), []
    for step in range(40):
        loss = objective.loss(latent, torch.Generator().manual_seed(step))["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert sum(losses[-5:]) < 0.5 * sum(losses[:5]), losses
    TOY.validate(student.sample(toy(4, 2).conditions()))


@pytest.mark.smoke
def test_a_short_training_learns_the_toy_showers_and_uses_the_condition():
    # Seeds 0 to 2: untrained 1.21 to 1.22, trained 0.23 to 0.27, shuffled 6.7 to 7.6.
    module = model(
        TOY, "tiny", RESIDUAL, PARALLEL, "model.cells.net.hidden=128", "model.cells.net.blocks=2",
        "model.cells.net.frequencies=8", "model.energies.net.width=16",
        "model.energies.net.hidden=32", "model.cells.solver.steps=6",
        "model.energies.solver.steps=6", "model.optim.optimizer.lr=4e-3",
        "model.optim.scheduler=null",
    )  # fmt: skip
    scores = smoke_scores(module, seed=0, steps=250)
    assert scores["trained"] < 0.4, scores
    assert scores["trained"] < 0.5 * scores["untrained"], scores
    assert scores["shuffled"] > 3 * scores["trained"], scores
