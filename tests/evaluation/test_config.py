from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from omegaconf import OmegaConf

from simulacra.core import UserError
from simulacra.core.instantiate import instantiate
from simulacra.dynamics.solvers import Solver
from simulacra.evaluation.config import (
    bare,
    choices,
    compose,
    folder,
    load_choice,
    load_choices,
    register,
    searched,
    target,
)
from simulacra.evaluation.saved import load, relocate, resolve, save
from simulacra.evaluation.schema import Train

SWEEPS = sorted(path.stem for path in folder("sweeps").glob("*.yaml"))


def composed(asked: Iterable[list[str]]) -> Iterator[dict[str, Any]]:
    """Configurations of trainings one after the other, each file of which is read once."""
    register()
    with initialize_config_dir(str(folder("conf")), version_base="1.3"):
        for overrides in asked:
            yield resolve(hydra_compose("train", [*overrides, "paths.run=/x"]), Train)


@pytest.mark.parametrize("group", ["trainer", "callbacks", "logger", "evaluation", "debug"])
def test_every_choice_of_a_group_composes(group: str) -> None:
    for config in composed([f"{group}={name}"] for name in choices(group)):
        assert config["paths"]["run"] == "/x"


@pytest.mark.grid
@pytest.mark.parametrize("part", range(12))
def test_every_experiment_composes(part: int) -> None:
    for config in composed([f"experiment={name}"] for name in choices("experiment")[part::12]):
        assert config["paths"]["run"] == "/x"


@pytest.mark.grid
def test_every_model_has_a_size_for_two_cores() -> None:
    for name, config in load_choices("model", choices("model")).items():  # at this size
        assert config["name"] == name


@pytest.mark.parametrize("group", [pytest.param("model", marks=pytest.mark.grid), "data"])
def test_the_class_of_a_choice_is_that_of_its_composition(group: str) -> None:
    for name, config in load_choices(group, choices(group)).items():
        assert target(group, name) == config["_target_"]


@pytest.mark.parametrize(
    ("defaults", "own", "named"),
    [
        ("[table@_here_, _self_]", "", "table"),
        ("[table@_here_, _self_]", "_target_: ${.kind}\nkind: mine.Table", "mine.Table"),
        ("[of_mine@_here_, _self_]", "", "mine.Other"),
        ("[table@_here_, ds2@_here_]", "", "ds2"),
        ("[table@_here_, {base@_here_: electrons}]", "", "ds2"),
        ("[table@_here_]", "_target_: mine.Own", "mine.Own"),
        ("[_self_, table@_here_]", "_target_: mine.Own", "table"),
    ],
)
def test_the_class_of_a_choice_is_that_of_the_last_file_that_names_one(
    defaults: str, own: str, named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "conf" / "data").mkdir(parents=True)
    files = {
        "mine": f"defaults: {defaults}\nname: mine\n{own}\n",
        "of_mine": "defaults: [table@_here_, _self_]\n_target_: ${.kind}\nkind: mine.Other\n",
    }
    for name, text in files.items():
        (tmp_path / "conf" / "data" / f"{name}.yaml").write_text(text)
    monkeypatch.chdir(tmp_path)
    expected = named if "." in named else target("data", named)
    assert target("data", "mine") == expected == load_choice("data", "mine")["_target_"]


def test_what_is_composed_without_hydras_own_settings_is_the_same(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "mine.yaml").write_text("defaults: [ds2@_here_, _self_]\nname: mine\n")
    asked = [
        *("+data@all.mine=mine", "+model@all.caloinn=caloinn", "+model/size=tiny"),
        *("all.caloinn.optim.optimizer.lr=3", *searched([str(tmp_path)])),
    ]
    found, whole = (
        OmegaConf.to_container(way("choices", asked), resolve=True) for way in (bare, compose)
    )
    assert found == whole
    assert found["all"]["mine"]["name"] == "mine"
    assert found["all"]["caloinn"]["optim"]["optimizer"]["lr"] == 3


def test_names_of_data_sets_are_literals_equal_to_the_file() -> None:
    for name in choices("data"):
        assert load_choice("data", name)["name"] == name


@pytest.mark.parametrize("name", SWEEPS)
def test_every_sweep_is_named_after_its_file(name: str) -> None:
    told = re.search(
        rf"simulacra (\w+) sweeps={name}\b", (folder("sweeps") / f"{name}.yaml").read_text()
    )
    assert told is not None, "its first lines say the command that runs it"
    assert compose(told[1], [f"sweeps={name}"]).sweep == name


def test_the_sweep_of_cloud_and_grid_gives_each_model_its_view() -> None:
    for model, view in (("caloclouds2", "cloud"), ("caloinn", None)):
        asked = ["sweeps=cloud_grid", "data=ds2", f"model={model}", "paths.run=/x"]
        config = resolve(compose("train", asked), Train)
        assert config["data"]["view"] == view


STUDENTS = ("caloflow_student", "caloclouds2_cm", "pc_droid_cm")


@pytest.mark.parametrize("all_of_them", [False, pytest.param(True, marks=pytest.mark.grid)])
def test_students_learn_from_the_teacher_of_their_sweep(all_of_them: bool) -> None:
    models = load_choices("model", choices("model") if all_of_them else STUDENTS)
    students = [name for name, config in models.items() if "teacher" in config]
    assert set(STUDENTS) <= set(students)
    for config in composed([f"model={name}", "+teacher=/first/job"] for name in students):
        assert config["model"]["teacher"] == "/first/job"


@pytest.mark.parametrize("command", ["sample", "apply", "evaluate", "reproduce"])
def test_every_command_composes(command: str) -> None:
    assert compose(command)


@pytest.mark.parametrize("solver", choices("solver"))
def test_every_solver_composes(solver: str) -> None:
    assert isinstance(instantiate(compose("sample", [f"solver={solver}"]).solver), Solver)


def test_the_batch_system_takes_nodes_and_cards_from_the_trainer() -> None:
    asked = ["hydra/launcher=slurm", "trainer=slurm", "trainer.num_nodes=3", "trainer.devices=2"]
    with initialize_config_dir(str(folder("conf")), version_base="1.3"):
        config = hydra_compose("train", asked, return_hydra_config=True)
    assert config.hydra.launcher.nodes == 3
    assert config.hydra.launcher.tasks_per_node == config.hydra.launcher.gpus_per_node == 2


def test_strategies_that_do_not_work_here_are_refused() -> None:
    with pytest.raises(UserError, match=r"trainer\.strategy must be one of auto, ddp, fsdp2"):
        resolve(compose("train", ["trainer.strategy=fsdp", "paths.run=/x"]), Train)


def test_the_current_folder_adds_configurations(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "conf" / "model").mkdir(parents=True)
    (tmp_path / "conf" / "model" / "mine.yaml").write_text("name: mine\nsize: tiny\n")
    (tmp_path / "sweeps").mkdir()
    (tmp_path / "sweeps" / "own.yaml").write_text("# @package _global_\nsweep: own\n")
    monkeypatch.chdir(tmp_path)
    config = compose("train", ["model=mine", "sweeps=own"])
    assert config.model.name == "mine"
    assert config.sweep == "own"
    assert "mine" in choices("model")
    assert "caloinn" in choices("model")


def test_saved_configurations_come_back_and_move(tmp_path: Path) -> None:
    config = resolve(compose("train", ["paths.run=/old", "paths.outputs=/outputs"]), Train)
    save(config, tmp_path)
    assert load(tmp_path, ["seed=5", "+new.key=2"]) == {**config, "seed": 5, "new": {"key": 2}}
    moved = relocate({"a": [{"file": "/old/x"}, "/older"]}, "/old", "/new")
    assert moved["a"] == [{"file": "/new/x"}, "/older"]


@pytest.mark.parametrize("text", ["[1, 2]", "a: [", "\x00"])
def test_damaged_configurations_are_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(UserError, match="damaged"):
        load(tmp_path)


def test_a_configuration_with_a_hole_is_refused() -> None:
    with pytest.raises(UserError, match="incomplete"):
        resolve(OmegaConf.create({"a": "${b}"}), Train)


@pytest.mark.parametrize(
    ("student", "teacher", "size"),
    [
        *(("caloflow_student", "caloflow_teacher", s) for s in ("small", "published_pions")),
        *(("icaloflow_student", "icaloflow", s) for s in ("small", "published_fine")),
    ],
)
def test_a_student_takes_all_parts_but_its_widths_from_its_teacher(
    student: str, teacher: str, size: str
) -> None:
    mine, theirs = (
        resolve(compose("train", [f"model={name}", f"model/size={size}", "paths.run=/x"]), Train)[
            "model"
        ]
        for name in (student, teacher)
    )
    assert mine["energies"] == theirs["energies"]
    assert mine["transform"] == theirs["transform"]
    widths = {"hidden", "first_hidden", "next_hidden", "dropout"}
    cells = [{k: v for k, v in m["cells"].items() if k not in widths} for m in (mine, theirs)]
    assert cells[0] == cells[1]
