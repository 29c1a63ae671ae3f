"""What a configuration may build: anything if it is the user's own, else what is on the closed list."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.optim import AdamW

from simulacra.core import UserError
from simulacra.core.instantiate import Trust, instantiate
from simulacra.dynamics.solvers import Heun, Solver
from simulacra.physics.base import ObservableSet
from simulacra.tracking.csv import CSVTracker
from simulacra.training.optim import Optim

HEUN = {"_target_": "simulacra.dynamics.solvers.Heun", "steps": 3}
FOREIGN = Trust(trusted=False)
FLAG: list[str] = []


def ring(flag: str) -> str:
    """Something that a file has no business to call."""
    FLAG.append(flag)
    return flag


def test_own_classes_are_built_from_a_foreign_configuration() -> None:
    found = instantiate(HEUN, Solver, FOREIGN)
    assert isinstance(found, Heun)
    assert found.steps == 3
    config = {
        "_target_": "simulacra.training.optim.Optim",
        "optimizer": {"_target_": "torch.optim.AdamW", "_partial_": True, "lr": 0.1},
        "scheduler": None,
    }
    optim = instantiate(config, Optim, FOREIGN)
    assert optim.optimizer.func is AdamW
    assert optim.optimizer([torch.nn.Parameter(torch.zeros(1))]).param_groups[0]["lr"] == 0.1


def test_an_own_configuration_keeps_any_class() -> None:
    assert instantiate({"_target_": "collections.Counter"}) == {}
    with pytest.raises(UserError, match="no ObservableSet"):
        instantiate({"_target_": "collections.Counter"}, ObservableSet)


@pytest.mark.parametrize(
    "target",
    [
        "os.system",
        "builtins.exec",
        "pathlib.Path",
        "joblib.load",
        "torch.load",
        "torch.optim.lr_scheduler.LambdaLR",
        "torch.optim.adamw.AdamW",
        "torch.optim.lr_scheduler.sys.exit",
        "hydra.utils.instantiate",
        "simulacra.tracking.identity._git",
        "simulacra.tracking.identity.git_commit",
        "simulacra.tracking.page.write_page",
        "simulacra.evaluation.publish.write_json",
        "simulacra.evaluation.saved.save",
        "simulacra.core.files.write_text",
        "simulacra.core.instantiate.instantiate",
        "simulacra.core.instantiate.hydra.utils.get_method",
        "simulacra.core.batch.Batch.__init__.__globals__",
        "simulacra.core.constructors.importlib",
        "simulacra.data.build",
        "simulacra.data.base.torch.load",
        "simulacra.data.files.embedded_folder",
        "simulacra.formats.calochallenge.CaloChallenge.toy",
        "simulacra.cli.train.train",
        "simulacra.cli.main.main",
        "simulacra.cli.sweep.SweepTable",
        "simulacra.__main__.main",
        "simulacra.load",
        "simulacra.training.checkpoint.load",
        "simulacra.training.module.Module",
        "simulacra.models.showers.caloinn.ShowerModel",
        "simulacra.no_such_module.run",
        "simulacra.dynamics.solvers.NoSuchSolver",
        "simulacra",
        "simulacra..x",
        "",
        "Heun",
        "a b.c",
        "simulacra.dynamics.solvers.Heun\n",
        "ѕimulacra.dynamics.solvers.Heun",
    ],
)
def test_nothing_else_is_found_from_a_foreign_configuration(target: str) -> None:
    for config in (
        {"_target_": target},
        {**HEUN, "steps": {"_target_": target}},
        {**HEUN, "steps": [{"deep": {"_target_": target, "_partial_": True}}]},
    ):
        with pytest.raises(UserError, match="was not run"):
            instantiate(config, None, FOREIGN)


@pytest.mark.parametrize(
    "change",
    [
        {"steps": "${oc.env:HOME}"},
        {"steps": r"\${oc.create:{_target_: os.getcwd}}"},
        {"steps": "${oc.create:{_target_: os.getcwd}}"},
        {"steps": [{"a": "x${b}"}]},
        {"${a}": 1},
        {"_args_": [3]},
        {"_convert_": "all"},
        {"_recursive_": False},
        {"steps": {"_args_": [3]}},
        {"steps": {"__class__": 3}},
        {"_partial_": "yes"},
        {"_partial_": False},
        {"_target_": ["os.getcwd"]},
        {"steps": {"_target_": {"a": 1}}},
        {"steps": {None: 1}},
        {"steps": {1.5: 1}},
        {"steps": Path("/")},
        {"steps": torch.zeros(1)},
        {"steps": b"3"},
        {"steps": {1, 2}},
        {"steps": ring},
    ],
)
def test_expressions_and_calls_are_no_data(change: dict[Any, Any]) -> None:
    with pytest.raises(UserError, match=r"^[^\n]+$"):
        instantiate({**HEUN, **change}, None, FOREIGN)
    assert not FLAG


def nested(depth: int) -> list[Any]:
    found: list[Any] = []
    for _ in range(depth):
        found = [found]
    return found


def doubled(times: int) -> list[Any]:
    found: list[Any] = [0]
    for _ in range(times):
        found = [found, found]
    return found


@pytest.mark.parametrize(
    "value", [nested(100), nested(100_000), doubled(40), "x" * 2**23, list(range(10**6))]
)
def test_a_configuration_is_bounded(value: object) -> None:
    with pytest.raises(UserError, match="more than 64 levels"):
        instantiate({**HEUN, "steps": value}, None, FOREIGN)


def test_a_loop_is_an_unbounded_configuration() -> None:
    loop: dict[str, Any] = {**HEUN}
    loop["steps"] = [loop]
    with pytest.raises(UserError, match="more than 64 levels"):
        instantiate(loop, None, FOREIGN)


def test_everything_is_looked_up_before_anything_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    def called(self: Heun, steps: int) -> None:
        FLAG.append("called")

    monkeypatch.setattr(Heun, "__init__", called)
    with pytest.raises(UserError, match="was not run"):
        instantiate({"a": HEUN, **HEUN, "steps": {"_target_": "os.getcwd"}}, None, FOREIGN)
    assert not FLAG


def test_an_object_stands_only_where_its_kind_is_asked_for() -> None:
    with pytest.raises(UserError, match="no ObservableSet"):
        instantiate(HEUN, ObservableSet, FOREIGN)
    with pytest.raises(UserError, match="no ObservableSet"):
        instantiate({**HEUN, "_partial_": True}, ObservableSet, FOREIGN)


def test_a_user_allows_a_package_and_not_simulacra_itself() -> None:
    counter = {"_target_": "collections.Counter"}
    with pytest.raises(UserError, match=r"allow=\[collections\]"):
        instantiate(counter, None, FOREIGN)
    assert instantiate(counter, None, Trust(False, ["collections"])) == {}
    # what the package has imported from elsewhere is not its own
    with pytest.raises(UserError, match="was not run"):
        instantiate({"_target_": "collections._sys.exit"}, None, Trust(False, ["collections"]))
    with pytest.raises(UserError, match="was not run"):
        instantiate({"_target_": "logging.Thread"}, None, Trust(False, ["logging"]))
    with pytest.raises(UserError, match="was not run"):
        instantiate({"_target_": "simulacra.load"}, None, Trust(False, ["simulacra"]))
    with pytest.raises(UserError, match="was not run"):
        instantiate({"_target_": "collections2.Counter"}, None, Trust(False, ["collections"]))


@pytest.mark.parametrize("folder", ["/etc", "{run}/../other", "{run}/link", None, 3, "~", ""])
def test_a_foreign_configuration_writes_only_below_the_folders_of_its_run(
    tmp_path: Path, folder: object
) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "link").symlink_to("/etc")
    config = {
        "_target_": "simulacra.tracking.csv.CSVTracker",
        "folder": folder.format(run=run) if isinstance(folder, str) else folder,
    }
    with pytest.raises(UserError, match=r"nothing was written|must be a text, got null"):
        instantiate(config, CSVTracker, Trust(False, (), (run,)))
    with pytest.raises(UserError, match="nothing was written"):
        instantiate({**config, "folder": str(run)}, CSVTracker, FOREIGN)
    inside = {**config, "folder": f"{run}/logs"}
    assert instantiate(inside, CSVTracker, Trust(False, (), (run,))).path.parent == run / "logs"


@pytest.mark.parametrize("arguments", [{}, {"steps": "many"}, {"other": 1}, {3: 1}])
def test_wrong_arguments_are_one_sentence(arguments: dict[Any, Any]) -> None:
    config = {"_target_": "simulacra.data.base.Loading", **arguments}
    with pytest.raises(UserError, match=r"^simulacra.data.base.Loading cannot be built[^\n]+$"):
        instantiate(config, None, FOREIGN)
    with pytest.raises(UserError, match=r"^[^\n]+$"):
        instantiate({"_target_": "simulacra.data.base.Loading"})
