"""A walk over everything that the package defines or imports: what a file may name, and that it is all that
it may name.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import pytorch_lightning as pl
from torch import nn

import simulacra
from simulacra.core import UserError
from simulacra.core.constructors import find, folders
from simulacra.core.instantiate import Trust, check
from simulacra.data.base import EventDataModule, View
from simulacra.dynamics.denoiser import Prediction
from simulacra.dynamics.density import Density
from simulacra.dynamics.diffusion import Diffusion, Distance, Times
from simulacra.dynamics.likelihoods import Likelihood
from simulacra.dynamics.mean_flow import Goal
from simulacra.dynamics.paths import Path as NoisePath
from simulacra.dynamics.solvers import Solver
from simulacra.dynamics.splines import Spline
from simulacra.dynamics.students import Distillation
from simulacra.evaluation import saved
from simulacra.evaluation.build import build_callbacks, build_loggers, build_scores
from simulacra.evaluation.config import compose
from simulacra.evaluation.schema import Train
from simulacra.formats.base import Format
from simulacra.physics.base import ObservableSet
from simulacra.studies.study import Study
from simulacra.studies.weighers import Weigher
from simulacra.tracking.base import Tracker
from simulacra.training.module import Module
from simulacra.transforms.base import Transform
from simulacra.transforms.calibration import Calibration
from simulacra.transforms.maps.base import Map
from simulacra.transforms.maps.dequantise import ZeroFill
from support import CONF, config_names, tiny

BASES: dict[type, str] = {
    **dict.fromkeys(
        (
            Module, EventDataModule, View, Format, ObservableSet, Tracker, Transform, Map, Calibration,
            ZeroFill, Density, Spline, Solver, NoisePath, Prediction, Times, Distance, Distillation,
            Diffusion, Goal, Likelihood, Study, Weigher,
        ),
        "simulacra.",
    ),
    nn.Module: "simulacra.nn.",
    pl.Callback: "simulacra.callbacks.",
}  # fmt: skip
"""What public classes derive from that a file may name, and the package in which it may name them."""
MADE_BY_US = {"simulacra.data.base.Loading"}
"""Named by the package itself when it puts configurations together, not by a file of ``conf``."""


@cache
def modules() -> dict[str, ModuleType]:
    """Every module but the one that runs the program."""
    names = [item.name for item in pkgutil.walk_packages(simulacra.__path__, "simulacra.")]
    return {
        name: importlib.import_module(name)
        for name in ["simulacra", *names]
        if not name.endswith("__main__")
    }


@cache
def everything() -> dict[str, Any]:
    """Objects of the package and of what it imports by every name under which they can be reached."""
    return dict(names())


@cache
def accepted() -> set[str]:
    """Names that a file may use; nothing is called to find out."""
    return {target for target in everything() if found(target)}


def names() -> Iterator[tuple[str, Any]]:
    """Every attribute of every module, and theirs: methods, nested classes, what imported modules hold.

    What many modules import is looked into where it is met first.
    """
    seen = set()
    for module_name, module in modules().items():
        for name, value in vars(module).items():
            yield f"{module_name}.{name}", value
            if issubclass(type(value), (type, ModuleType)) and id(value) not in seen:
                seen.add(id(value))
                for inner, part in dict(vars(value)).items():
                    yield f"{module_name}.{name}.{inner}", part


def named_in_conf() -> set[str]:
    """Targets of the configuration tree but those of Hydra's own part of it."""
    files = list(CONF.rglob("*.yaml")) + list((CONF.parent / "sweeps").rglob("*.yaml"))
    text = "\n".join(path.read_text() for path in files)
    return set(re.findall(r"_target_: *([\w.]+)", text)) - {"simulacra.cli.sweep.SweepTable"}


def derived(target: str, value: object) -> bool:
    """Whether a public, concrete class is one that its bases put on the list."""
    return (
        issubclass(
            type(value), type
        )  # not isinstance: some objects of torch warn when they are looked at
        and not inspect.isabstract(value)
        and target == f"{value.__module__}.{value.__qualname__}"
        and not any(part.startswith("_") for part in target.split("."))
        and any(
            issubclass(value, base) and value is not base and target.startswith(within)
            for base, within in BASES.items()
        )
    )


def found(target: str) -> bool:
    """Whether a file may name it."""
    try:
        find(target)
    except UserError:
        return False
    return True


def test_a_file_may_name_the_closed_list_and_nothing_else() -> None:
    assert len(everything()) > 10_000
    by_base = {target for target, value in everything().items() if derived(target, value)}
    assert by_base <= accepted(), f"refused: {sorted(by_base - accepted())}"
    own = {target for target in named_in_conf() if target.startswith("simulacra.")}
    rest = accepted() - by_base
    wanted = (own | MADE_BY_US) - by_base
    assert rest == wanted, (
        f"new on the list: {sorted(rest - wanted)}, missing: {sorted(wanted - rest)}"
    )


@pytest.mark.parametrize("target", sorted(named_in_conf()))
def test_what_the_configuration_tree_names_may_stand_in_a_file(target: str) -> None:
    assert callable(find(target))


@pytest.mark.parametrize("model", config_names("model"))
def test_every_model_may_be_built_from_a_file(model: str) -> None:
    assert issubclass(check(tiny(model), Trust(trusted=False)), Module)


def test_callbacks_trackers_and_scores_of_a_saved_run_are_built_again(tmp_path: Path) -> None:
    run, outputs = tmp_path / "outputs" / "run", tmp_path / "outputs"
    overrides = [f"paths.run={run}", f"paths.outputs={outputs}", "evaluation=challenge"]
    config = saved.resolve(compose("train", [*overrides, "logger.wandb.mode=offline"]), Train)
    trust = Trust(False, (), (run, outputs))
    for group, build in (("callbacks", build_callbacks), ("logger", build_loggers)):
        assert len(build(config, trust)) == len(config[group])
    assert len(build_scores(config, trust)) >= len(config["evaluation"]["scores"])
    with pytest.raises(UserError, match="nothing was written"):
        build_loggers(config, Trust(False, (), (run,)))


def test_private_and_dangerous_names_are_all_refused() -> None:
    wrong = {
        target
        for target in accepted()
        if "._" in target
        or type(everything()[target]) is ModuleType
        or target.startswith("simulacra.cli.")
    }
    assert not wrong
    assert not any(found(f"simulacra.{name}.main") for name in ("__main__", "cli.main"))


def test_what_may_write_says_where() -> None:
    """A constructor of the list that takes a folder is marked, so that a file cannot choose the folder."""
    for target in accepted():
        made = find(target)
        taken = set(inspect.signature(made).parameters) & {"folder", "dirpath", "save_dir", "dir"}
        assert taken == set(folders(made)), target


@pytest.mark.parametrize("entries", ["x", [1], 3])
def test_groups_that_are_no_mapping_are_refused(entries: object) -> None:
    for group, build in (("callbacks", build_callbacks), ("logger", build_loggers)):
        with pytest.raises(UserError, match=f"{group} holds its entries by name, got "):
            build({group: entries})
