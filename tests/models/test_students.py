"""Students of any representation: what they take from a teacher's checkpoint, and what they learn."""

from __future__ import annotations

from copy import deepcopy
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from simulacra.core import Batch, IncompatibleError, Layout, UserError
from simulacra.dynamics.diffusion import angular_velocity, preconditioned
from simulacra.dynamics.diffusion_density import DiffusionDensity
from simulacra.dynamics.distilled_density import DistilledDensity
from simulacra.dynamics.flows import coupling_flow
from simulacra.dynamics.samplers import DDIM
from simulacra.dynamics.splines import RationalQuadratic
from simulacra.dynamics.students import Averaging, Distillation, Halving
from simulacra.models.showers.shower_model import ShowerModel
from simulacra.models.showers.shower_student import ShowerStudent
from simulacra.nn.timed_mlp import TimedMLP
from simulacra.training.checkpoint import build
from simulacra.training.module import Module
from simulacra.training.optim import Optim
from simulacra.training.teacher import taught
from simulacra.transforms.showers import ShowerTransform
from support import composed, save, tiny
from toy_showers import TOY, toy

MINE = [
    ("caloclouds2_cm", "caloclouds2", "ild_cloud", "model.net.hidden=[12,8]"),
    ("fpcd_student", "fpcd", "jetnet30", "model.net.hidden=24"),
    ("caloflow_student", "caloflow_teacher", "ds1_photons", "model.cells.blocks=3"),
    ("table_fm_student", "table_fm", "table", "model.net.hidden=24"),
    ("caloscore2_student", "caloscore2", "ds1_photons", "model.cells.net.widths=[4,12]"),
    *(
        pytest.param(*row, marks=pytest.mark.grid)
        for row in (
            ("caloclouds3_cm", "caloclouds3", "ild_cloud", "model.net.hidden=[12,8]"),
            ("icaloflow_student", "icaloflow", "ds2", "model.cells.flow.blocks=3"),
            ("calodit_cm", "calodit", "ds2", "model.cells.net.width=24"),
        )
    ),
]


def checkpoint(teacher: str, data: str, setting: str, toy, folder: Path) -> Path:  # type: ignore[no-untyped-def]
    events = toy(data)
    config = composed("model", f"model={teacher}", "model/size=tiny", setting)
    return save(build(config, events.spec).fit_transform(events.fit_batches()), config, folder)


@pytest.mark.parametrize(
    ("part", "found"),
    [
        ({"_target_": "os.system", "command": "touch ran"}, "was not run"),
        ({"_target_": "simulacra.tracking.identity._git", "folder": "."}, "was not run"),
        ("${oc.env:HOME}", "nothing was evaluated"),
        ({"_args_": [1]}, "was not run"),
    ],
)
def test_a_teachers_checkpoint_names_nothing_that_is_run(
    toy, tmp_path: Path, part: object, found: str
) -> None:  # type: ignore[no-untyped-def]
    path = checkpoint("table_fm", "table", "model.net.hidden=24", toy, tmp_path)
    contents = torch.load(path, weights_only=True)
    for holder in (
        contents["simulacra"]["config"]["model"],
        contents["simulacra"]["config"]["model"]["net"],
    ):
        holder["unknown"] = part
        torch.save(contents, path)
        with pytest.raises(UserError, match=found):
            taught({**tiny("table_fm_student"), "teacher": str(path)})
        del holder["unknown"]
    del contents["simulacra"]["config"]["model"]["net"]
    torch.save(contents, path)
    with pytest.raises(IncompatibleError, match="does not say what its net is"):
        taught({**tiny("table_fm_student"), "teacher": str(path)})


def loss_of(module: Module, batch: Batch) -> Tensor:
    (objective,) = module.objectives().values()
    latent = module.encode(batch, torch.Generator().manual_seed(0))
    return objective.loss(latent, torch.Generator().manual_seed(1))["loss"].detach()


@pytest.mark.parametrize(("student", "teacher", "data", "setting"), MINE)
def test_a_student_has_the_architecture_of_its_teachers_checkpoint(
    student: str,
    teacher: str,
    data: str,
    setting: str,
    toy,  # type: ignore[no-untyped-def]
    tmp_path: Path,
) -> None:
    path = checkpoint(teacher, data, setting, toy, tmp_path)
    config = {**tiny(student), "teacher": str(path)}
    before = deepcopy(config)
    module = build(taught(config), toy(data).spec)
    assert config == before
    module.fit_transform(toy(data).fit_batches())  # refuses a teacher of another architecture
    resumed = build(taught(config), toy(data).spec)  # goes on without being fitted again
    resumed.load_state_dict(module.state_dict())
    first, second = (loss_of(item, toy(data).batch(8)) for item in (module, resumed))
    assert torch.equal(first, second)
    with pytest.raises((IncompatibleError, RuntimeError)):
        build(config, toy(data).spec).fit_transform(toy(data).fit_batches())


def test_a_model_without_a_teacher_keeps_its_configuration() -> None:
    for name in ("caloinn", "caloclouds2_cm"):
        assert taught(tiny(name)) == tiny(name)


def test_another_kind_of_teacher_is_refused(toy, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    path = checkpoint("epic_fm", "jetnet30", "model.net.hidden=16", toy, tmp_path)
    with pytest.raises(
        IncompatibleError, match=r"FPCDStudent learns from a FPCD, but .* holds a EPiC"
    ):
        taught({**tiny("fpcd_student"), "teacher": str(path)})


class CellNet(nn.Module):
    """A network of all cells that knows how they lie."""

    def __init__(self, layout: Layout) -> None:
        super().__init__()
        self.net = TimedMLP(layout, hidden=24, blocks=1, frequencies=3)

    def forward(self, x: Tensor, t: Tensor, context: Tensor | None) -> Tensor:
        return self.net(x, t, context)


def shower(cells, student: bool):  # type: ignore[no-untyped-def]
    """Cells by diffusion, which a student distils; layer energies by a flow, the teacher's."""
    torch.manual_seed(0)
    flow = partial(coupling_flow, blocks=2, spline=RationalQuadratic(4, 6.0), hidden=[16])
    optim = Optim(partial(torch.optim.Adam, lr=1e-3))
    parts = (ShowerTransform, flow, cells, optim)
    if student:
        return ShowerStudent(TOY, None, None, *parts)
    return ShowerModel(TOY, None, *parts)


@pytest.mark.parametrize(
    ("process", "distillation"),
    [(angular_velocity(), Halving(2)), (preconditioned(), Averaging(4, 0.5))],
    ids=["halving", "averaging"],
)
def test_cells_of_a_shower_are_distilled_like_points_of_a_cloud(
    process,  # type: ignore[no-untyped-def]
    distillation: Distillation,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    solver = DDIM(1, 0.0)
    teacher = shower(partial(DiffusionDensity, net=CellNet, process=process, solver=solver), False)
    teacher.fit_transform([toy(64, 0)])
    student = shower(
        partial(
            DistilledDensity,
            net=CellNet,
            process=process,
            distillation=distillation,
            solver=solver,
        ),
        True,
    )
    monkeypatch.setattr(student, "taught_by", lambda: teacher)
    student.transform.load_state_dict(teacher.transform.state_dict())
    student.adopt(teacher)
    objective = student.objectives()["student"]
    assert {id(p) for p in objective.parameters} == {id(p) for p in student.cells.net.parameters()}
    latent = student.encode(toy(16, 1), torch.Generator().manual_seed(0))
    loss = objective.loss(latent, torch.Generator().manual_seed(0))["loss"]
    loss.backward()
    assert {id(p) for p in student.parameters() if p.grad is not None} == {
        id(p) for p in objective.parameters
    }
    assert not any(name.startswith("cells._teacher") for name in student.state_dict())
    with torch.no_grad():
        for parameter in objective.parameters:
            parameter.add_(0.1)
    before = student.sample(toy(4, 2).conditions(), generator=torch.Generator().manual_seed(1)).x
    assert objective.after is not None
    objective.after()
    after = student.sample(toy(4, 2).conditions(), generator=torch.Generator().manual_seed(1)).x
    assert torch.equal(before, after) == isinstance(distillation, Halving)
