"""Run directories of unknown origin: their configuration is data, and what it names is not run."""

from __future__ import annotations

import copy
import os
import shutil
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from omegaconf import DictConfig, OmegaConf

import simulacra
from simulacra.cli.apply import apply
from simulacra.cli.benchmark import benchmark
from simulacra.cli.evaluate import evaluate
from simulacra.cli.reproduce import reproduce
from simulacra.cli.sample import sample
from simulacra.cli.train import train
from simulacra.core import UserError
from simulacra.core.plain_yaml import read_yaml
from simulacra.evaluation import saved
from simulacra.evaluation.checkpoints import data_of
from simulacra.evaluation.config import compose
from simulacra.evaluation.schema import Train
from simulacra.formats.calochallenge import CaloChallenge, ds1_photons
from simulacra.training.checkpoint import build
from support import composed, save, spec_of, tiny

Config = dict[str, Any]


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """What a small training saves."""
    outputs = tmp_path_factory.mktemp("outputs")
    overrides = [f"paths.run={outputs}/run", f"paths.outputs={outputs}", "debug=fast", "logger=csv"]
    return saved.resolve(compose("train", [*overrides, "seed=5"]), Train)


@pytest.fixture
def run(config: Config, tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    saved.save(config, folder)
    return folder


def write(run: Path, config: Config) -> None:
    (run / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))


def test_a_saved_configuration_is_read_as_it_was(config: Config, run: Path) -> None:
    assert saved.load(run) == config
    assert saved.load(run, ["trainer.max_epochs=7"])["trainer"]["max_epochs"] == 7


@pytest.mark.parametrize(
    "value",
    [
        *(1e-5, 1e3, 1e22, -1e-7, 0.1, "1e3", "1_0", "2024-01-01", "12:30:45", "yes", "null", "~", "0x1"),
        *("1.", "=", ".5", "<<", "!a", "&b", "*c", "a: b", "- x", "#", " x ", "\t", "a\nb", "é", ""),
        *(None, True, 12),
    ],
)  # fmt: skip
def test_values_are_told_apart_as_they_were_written(tmp_path: Path, value: object) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(OmegaConf.to_yaml(OmegaConf.create({"a": value, "b": [value]})))
    found = read_yaml(path)
    assert found == {"a": value, "b": [value]}
    assert type(found["a"]) is type(value)


def bomb(levels: int) -> str:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    names = (f"&a{n} [" + ", ".join([f"*a{n - 1}"] * 9) + "]" for n in range(1, levels))
    return "\n".join([*lines, *(f"a{n}: {text}" for n, text in enumerate(names, start=1))])


DAMAGED: dict[str, str | bytes] = {
    "empty": "",
    "comment": "# nothing\n",
    "text": "some text",
    "number": "3",
    "list": "[1, 2]",
    "half": "data: {name: ds1_photons, batch_size: [1",
    "aliases": bomb(9),
    "one alias": "a: &x 1\nb: *x",
    "an anchor": "a: &x 1",
    "a loop": "a: &x [*x]",
    "merged": "a: &x {b: 1}\nc: {<<: *x}",
    "python": "a: !!python/object/apply:os.system ['touch ran']",
    "python name": "a: !!python/name:os.system",
    "tag": "a: !own 3",
    "binary": "a: !!binary aGVsbG8=",
    "set": "!!set {a, b}",
    "twice": "a: 1\na: 2",
    "key of a list": "? [a]\n: 1",
    "key of a number": "1.5: a",
    "null key": "null: 1",
    "tabs": "a:\n\t- b",
    "two documents": "a: 1\n---\nb: 2",
    "control": "a: \x00",
    "latin": "a: \xe9".encode("latin-1"),
    "utf16": "a: 1".encode("utf-16"),
    "binary file": bytes(range(256)),
    "deep": "[" * 5000,
    "deep mapping": "{a: " * 5000,
    "deep block": "\n".join(" " * n + "a:" for n in range(500)),
    "large": "a: " + "x" * 2**21,
    "many": "a: [" + "1," * 200_000 + "]",
    "huge number": "a: " + "9" * 10_000,
    "bad float": "a: ._",
    "bad hex": "a: 0x_",
    "bad time": "a: 99:99:99",
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_a_damaged_configuration_is_one_sentence(
    run: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.chdir(run)
    text = DAMAGED[kind]
    (run / "config.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UserError, match=r"config\.yaml (is|holds|has)[^\n]+$") as found:
        saved.load(run)
    assert len(str(found.value)) < 500
    assert os.listdir() == ["config.yaml"]


def leaves(config: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if path:
        yield path
    items = config.items() if isinstance(config, dict) else ()
    for key, value in items:
        yield from leaves(value, (*path, key))


def put(config: Config, path: tuple[Any, ...], value: Any) -> Config:
    """A copy with another value at a place, or without it."""
    changed = copy.deepcopy(config)
    holder: Any = changed
    for key in path[:-1]:
        holder = holder[key]
    if value is None:
        del holder[path[-1]]
    else:
        holder[path[-1]] = value
    return changed


def test_what_a_configuration_lacks_is_named(config: Config, run: Path) -> None:
    for path in [
        ("data",),
        ("model",),
        ("paths", "run"),
        ("trainer", "threads"),
        ("seed",),
        ("init",),
    ]:
        write(run, put(config, path, None))
        with pytest.raises(UserError, match=f"it has no {'.'.join(path)};"):
            saved.load(run)
    for path in [("data",), ("model",), ("paths",), ("trainer",), ("evaluation",)]:
        write(run, put(config, path, [1]))
        with pytest.raises(UserError, match=f"it has no {path[0]};"):
            saved.load(run)


EXPRESSIONS = (
    "${oc.env:SECRET}",
    r"\${oc.env:SECRET}",
    r"\\\${oc.env:SECRET}",
    "a-${seed}-b",
    "${oc.create:{_target_: torch.utils.collect_env.run, command: 'touch ran'}}",
    r"\${oc.create:{_target_: torch.utils.collect_env.run, command: 'touch ran'}}",
    "${oc.decode:'${oc.env:SECRET}'}",
    "${hydra:runtime.cwd}",
    "${",
)


@pytest.mark.parametrize("text", EXPRESSIONS)
def test_a_saved_configuration_holds_no_expression(
    config: Config, run: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv("SECRET", "hunter2")
    monkeypatch.chdir(run)
    for path in [
        ("model", "given"),
        ("data", "name"),
        ("tags",),
        ("paths", "outputs"),
        ("logger", "csv", "x"),
    ]:
        for value in (text, [text], {"deep": text}, {text: 1}):
            write(run, put(config, path, value))
            with pytest.raises(UserError, match="nothing was evaluated") as found:
                saved.load(run)
            assert "hunter2" not in str(found.value)
    assert os.listdir() == ["config.yaml"]


def test_a_change_to_a_saved_configuration_holds_no_expression(run: Path) -> None:
    for change in ("tags=['${seed}']", "data.limit=${oc.env:HOME}", "+data.x={a: '${seed}'}"):
        with pytest.raises(UserError, match="nothing was evaluated"):
            saved.load(run, [change])


# whole commands

SHELL = {
    "_target_": "simulacra.tracking.identity._git",
    "folder": ".",
    "arguments": ["-c", "alias.x=!touch ran", "x"],
}
NODES: dict[str, Any] = {
    "private": SHELL,
    "arguments": {"_target_": SHELL["_target_"], "_args_": [".", "-c", "alias.x=!touch ran", "x"]},
    "shell": {"_target_": "os.system", "command": "touch ran"},
    "pickle": {"_target_": "joblib.load", "filename": "ran.pkl"},
    "write": {"_target_": "simulacra.evaluation.publish.write_json", "path": "ran", "values": {}},
    "create": "${oc.create:{_target_: torch.utils.collect_env.run, command: 'touch ran'}}",
    "escaped": r"\${oc.create:{_target_: torch.utils.collect_env.run, command: 'touch ran'}}",
    "environment": "${oc.env:SECRET}",
}
IN_CONFIG = [
    ("model",), ("model", "given"), ("model", "transform"), ("data",), ("data", "embedded"),
    ("data", "format"), ("data", "scores", "x"), ("callbacks", "x"), ("logger", "x"),
    ("evaluation", "scores", "x"), ("paths", "outputs"), ("seed",), ("trainer", "plugins"),
    ("trainer", "strategy"),
]  # fmt: skip
IN_CHECKPOINT = [
    ("model",), ("model", "given"), ("model", "transform"), ("model", "cells", "spline"), ("data",),
    ("data", "embedded"), ("data", "format"), ("data", "observables"),
]  # fmt: skip


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config, data = tiny("caloinn"), {**composed("data", "data=ds1_photons"), "view": None}
    folder = tmp_path_factory.mktemp("checkpoint")
    return save(build(config, spec_of("ds1_photons", None)), config, folder, data)


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("reference") / "r.hdf5"
    CaloChallenge(ds1_photons()).toy(path, 10)
    return path


@cache
def request_of(command: str) -> DictConfig:
    """The configuration of a command, to be changed in copies."""
    return compose(command, ["data=ds1_photons"] if command == "evaluate" else [])


def asked(command: str, **values: object) -> DictConfig:
    """The configuration of a command with other values."""
    changed = copy.deepcopy(request_of(command))
    OmegaConf.set_struct(changed, False)
    for key, value in values.items():
        OmegaConf.update(changed, key.replace("__", "."), str(value))
    return changed


USES: dict[str, Callable[[Path, Path, Path], object]] = {
    "load": lambda path, _, out: [
        module := simulacra.load(path),
        data_of(module, {"checkpoint": path, "allow": []}),
    ],
    "sample": lambda path, _, out: sample(asked("sample", checkpoint=path, n=2, output=out)),
    "apply": lambda path, ref, out: apply(asked("apply", checkpoint=path, input=ref, output=out)),
    "evaluate": lambda path, ref, out: evaluate(
        asked("evaluate", checkpoint=path, reference=ref, output=out, paths__run=out)
    ),
    "benchmark": lambda path, _, out: benchmark(
        asked("benchmark", checkpoint=path, output=out, paths__run=out)
    ),
}
"""Everything that takes a checkpoint."""
REFUSED = "was not run|nothing was evaluated|it was not loaded"


@pytest.mark.parametrize("use", USES)
def test_a_checkpoint_runs_nothing(
    checkpoint: Path,
    reference: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    use: str,
) -> None:
    monkeypatch.setenv("SECRET", "hunter2")
    monkeypatch.chdir(tmp_path)
    contents = torch.load(checkpoint, weights_only=True)
    entry, path = contents["simulacra"], tmp_path / "a.ckpt"
    config = entry["config"]
    places = IN_CHECKPOINT[:4] if use in ("benchmark", "evaluate") else IN_CHECKPOINT
    nodes = NODES if use == "load" else ("private", "create", "environment")
    for place in places:
        for node in (NODES[name] for name in nodes):
            entry["config"] = put(config, place, node)
            torch.save(contents, path)
            with pytest.raises(UserError, match=REFUSED) as found:
                USES[use](path, reference, tmp_path / "out")
            assert "hunter2" not in str(found.value)
            assert "\n" not in str(found.value)
    assert not (tmp_path / "ran").exists()
    assert not list(tmp_path.glob("out/*"))


@pytest.mark.parametrize("command", ["train", "reproduce"])
def test_a_run_directory_runs_nothing(
    config: Config,
    checkpoint: Path,
    run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    command: str,
) -> None:
    monkeypatch.setenv("SECRET", "hunter2")
    monkeypatch.chdir(tmp_path)
    (run / "checkpoints").mkdir()
    shutil.copy(checkpoint, run / "checkpoints" / "last.ckpt")
    uses: dict[str, Callable[[], object]] = {
        "train": lambda: train(asked("train", resume=run, paths__run=run, paths__outputs=tmp_path)),
        "reproduce": lambda: reproduce(
            asked("reproduce", run=run, paths__run=tmp_path / "new", paths__outputs=tmp_path)
        ),
    }
    for place in IN_CONFIG if command == "train" else IN_CONFIG[::4]:
        for node in ("private", "shell", "escaped", "environment"):
            write(run, put(config, place, NODES[node]))
            sentence = "was not run|nothing was evaluated"
            if len(place) == 1 and place != ("seed",):
                sentence += "|has no (model|data)"  # and a part needs a name
            with pytest.raises(UserError, match=sentence) as found:
                uses[command]()
            assert "hunter2" not in str(found.value)
            assert "\n" not in str(found.value)
    assert not (tmp_path / "ran").exists()


def test_a_run_directory_writes_nowhere_else(
    config: Config, checkpoint: Path, run: Path, tmp_path: Path
) -> None:
    (run / "checkpoints").mkdir()
    shutil.copy(checkpoint, run / "checkpoints" / "last.ckpt")
    elsewhere = tmp_path / "elsewhere"
    for place in [
        ("callbacks", "best"),
        ("callbacks", "last"),
        ("callbacks", "physics"),
        ("logger", "csv"),
    ]:
        write(run, put(config, (*place, "folder"), str(elsewhere)))
        with pytest.raises(UserError, match="nothing was written"):
            train(asked("train", resume=run, paths__run=run, paths__outputs=tmp_path / "outputs"))
    assert not elsewhere.exists()


def test_a_moved_run_writes_where_it_is_now(config: Config, run: Path, tmp_path: Path) -> None:
    found = saved.load_at(run, run, tmp_path / "mine")
    old = config["paths"]["outputs"]
    assert old not in str({key: found[key] for key in ("callbacks", "logger", "paths")})
    assert found["callbacks"]["last"]["folder"] == f"{run}/checkpoints"
