from __future__ import annotations

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from simulacra.core import UserError
from simulacra.evaluation import saved
from simulacra.evaluation.config import compose
from simulacra.evaluation.overrides import taken
from simulacra.evaluation.schema import Evaluate, Sample, Train

ODD = [
    "/x/epoch=3-step=9.ckpt",
    "/a b/(1).hdf5",
    "it's.hdf5",
    'say "x".hdf5',
    "'a'b'",
    "[1].hdf5",
    "a,b.hdf5",
    "{x}: y",
    "1e3",
    "true",
    "+a",
    "back\\slash\\",
    "größe/粒子.hdf5",
    "a\nb",
    "-m",
    "$HOME",
    "%d",
    "#1",
    "x=",
    "=",
]


@pytest.mark.parametrize("path", ODD)
def test_a_path_is_taken_as_it_is(path: str) -> None:
    config = saved.resolve(compose("evaluate", [f"reference={path}"]), Evaluate)
    assert config["reference"] == path


@pytest.mark.parametrize("path", [path for path in ODD if "," not in path])
def test_paths_of_a_list_are_taken_as_they_are(path: str) -> None:
    both = [f"generated=[{path}, /plain.hdf5]", f"data.files.train=[{path}]"]
    config = saved.resolve(compose("evaluate", both), Evaluate)
    assert config["generated"] == [path, "/plain.hdf5"]
    assert config["data"]["files"]["train"] == [path]


@pytest.mark.parametrize("value", ["'a,b'", '"a,b"', "['a,b']"])
def test_quotes_of_the_grammar_still_work(value: str) -> None:
    config = compose("evaluate", [f"generated={value}"])
    assert config.generated in ("a,b", ["a,b"])


def test_null_and_references_are_no_paths() -> None:
    config = compose("evaluate", ["generated=null", "output=${paths.outputs}/x", "seed=3"])
    assert config.generated is None
    assert config.output == "outputs/x"


def test_the_home_folder_stands_behind_a_tilde(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    given = ["data.root=~/data", "generated=[~/a.hdf5, '~/b.hdf5']", "reference='~/c d.hdf5'"]
    config = compose("evaluate", given)
    assert config.data.root == "/home/someone/data"
    assert config.generated == ["/home/someone/a.hdf5", "/home/someone/b.hdf5"]
    assert config.reference == "/home/someone/c d.hdf5"
    of_a_file = OmegaConf.merge(config, {"output": "~/out"})
    assert saved.resolve(of_a_file, Evaluate)["output"] == "/home/someone/out"  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "seen"),
    [
        ("data.root=/a=b,/c d", "data.root='/a=b','/c d'"),
        ("data.files.train=[/a=b,/c],[/d]", "data.files.train=['/a=b','/c'],['/d']"),
        ("checkpoint='/a,b',/c", "checkpoint='/a,b','/c'"),
        ("model.optim.optimizer.lr=1e-3,1e-4", "model.optim.optimizer.lr=1e-3,1e-4"),
    ],
)
@pytest.mark.parametrize("mode", ["-m", "--multirun", "sweeps=lr_size", "hydra.mode=MULTIRUN"])
def test_a_multirun_goes_over_paths_between_commas(given: str, seen: str, mode: str) -> None:
    assert taken([mode, given]) == [mode, seen]


def test_changes_of_a_saved_run_are_taken_as_they_are(tmp_path: Path) -> None:
    saved.save(saved.resolve(compose("train", ["paths.run=x"]), Train), tmp_path)
    changes = taken(["overrides=[seed=7,data.files.train=[/a=b/(1).hdf5,/c]]"])
    items = compose("reproduce", changes).overrides
    found = saved.load(tmp_path, items)
    assert found["seed"] == 7
    assert found["data"]["files"]["train"] == ["/a=b/(1).hdf5", "/c"]


def test_a_condition_is_a_key_of_its_own() -> None:
    asked = ["conditions.incident_energy=loguniform(1000,1e5)", "conditions.angle=[1, 2]"]
    config = saved.resolve(compose("sample", asked), Sample)
    assert config["conditions"] == {"incident_energy": "loguniform(1000,1e5)", "angle": ["1", "2"]}


@pytest.mark.parametrize("path", ["", "''", "[a]", "a\0b"])
def test_what_is_no_path_is_refused(path: str) -> None:
    with pytest.raises(UserError, match=r"^checkpoint must be a path or null, got "):
        saved.resolve(compose("sample", [f"checkpoint={path}"]), Sample)
