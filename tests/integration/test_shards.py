"""Events made in parts: joined they are what one process makes, and judged together as one sample."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest

from simulacra.cli.evaluate import evaluate
from simulacra.cli.merge import merge
from simulacra.cli.sample import sample
from simulacra.core import UserError
from simulacra.evaluation.config import compose


@pytest.fixture
def ask(toy_checkpoint: Path, project: Path):
    def run(*overrides: str, output: str = "events.hdf5") -> Path:
        common = [
            f"checkpoint={toy_checkpoint}",
            f"output={project / output}",
            "allow=[toy_plugin]",
        ]
        return Path(sample(compose("sample", [*common, "batch_size=16", *overrides]))["output"])

    return run


def join(project: Path, *overrides: str) -> dict:
    return merge(compose("merge", ["data=toy", f"output={project / 'events.hdf5'}", *overrides]))


def arrays(path: Path) -> dict[str, np.ndarray]:
    found = {}
    with h5py.File(path) as file:
        file.visititems(
            lambda name, item: found.update(
                {name: item[:]} if isinstance(item, h5py.Dataset) else {}
            )
        )
    return found


def same(first: Path, second: Path) -> bool:
    one, other = arrays(first), arrays(second)
    return one.keys() == other.keys() and all((one[key] == other[key]).all() for key in one)


@pytest.mark.parametrize("asked", ["conditions=null", "conditions.incident_energy='uniform(2,9)'"])
def test_joined_shards_are_what_one_process_makes(ask, project: Path, asked: str) -> None:
    request = ("n=150", "seed=3", asked)
    whole = ask(*request, "shard=1/1", output="whole.hdf5")
    assert whole.name == "whole_shard1of1.hdf5"
    files = [ask(*request, f"shard={k}/3") for k in (3, 1, 2)]
    assert [path.name for path in files] == [f"events_shard{k}of3.hdf5" for k in (3, 1, 2)]
    lengths = [len(arrays(path)["toy/energy"]) for path in files]
    assert sorted(lengths) == [48, 48, 54]
    assert join(project, "remove=true") == {"events": 150, "output": str(project / "events.hdf5")}
    assert same(project / "events.hdf5", whole)
    assert not list(project.glob("events_shard*"))
    values = arrays(whole)["toy/layers"]
    assert len(np.unique(values.reshape(150, -1), axis=0)) == 150  # no noise is used twice
    with h5py.File(project / "events.hdf5") as file:
        assert json.loads(file.attrs["simulacra_request"])["n"] == 150
        assert file.attrs["simulacra_checkpoint_sha256"]


def test_conditions_of_a_file_go_to_their_shards(ask, project: Path) -> None:
    given = ask("n=90", output="given.hdf5")
    with h5py.File(given, "r+") as file:
        file["weight"] = np.arange(1.0, 91.0)
    for k in (1, 2):
        ask("n=80", f"conditions={given}", f"shard={k}/2")
    join(project)
    for key in ("toy/energy", "weight"):
        assert (arrays(project / "events.hdf5")[key] == arrays(given)[key][:80]).all()


def test_missing_and_foreign_shards_are_named(ask, project: Path) -> None:
    with pytest.raises(UserError, match="there are no shards"):
        join(project)
    ask("n=64", "shard=2/4")
    ask("n=64", "shard=3/4")
    with pytest.raises(UserError, match="lacks parts: sample shard=1/4, 4/4 again"):
        join(project)
    ask("n=64", "shard=1/4")
    ask("n=64", "seed=1", "shard=4/4")
    with pytest.raises(UserError, match=r"shard4of4\.hdf5 is part of another request than"):
        join(project)
    ask("n=64", "shard=1/2")
    with pytest.raises(UserError, match="parts of 2 and of 4 shards"):
        join(project)
    assert not (project / "events.hdf5").exists()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["n=40", "shard=4/4"], "40 events are 3 batches of batch_size=16, too few for 4 shards"),
        (["n=40", "shard=0/4"], "shard must be NUMBER/OF, e.g. 3/16"),
        (["n=40", "shard=5/4"], "got '5/4'"),
        (["conditions.incident_energy=[1,2]", "shard=1/2"], "a shard needs n=NUMBER"),
    ],
)
def test_shards_that_cannot_be_are_refused(
    ask, project: Path, overrides: list[str], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        ask(*overrides)
    assert not list(project.glob("events*"))


def test_shards_are_judged_as_the_file_that_they_make(ask, project: Path) -> None:
    ask("n=96", "seed=1", output="reference.hdf5")
    for k in (1, 2, 3):
        ask("n=96", "seed=2", f"shard={k}/3")
    figures = []
    for name, generated in (
        ("shards", "events.hdf5"),
        ("pattern", "events_s*.hdf5"),
        ("one", "one.hdf5"),
    ):
        if name == "one":
            join(project, "remove=true")
            (project / "events.hdf5").rename(project / "one.hdf5")
        asked = [f"reference={project / 'reference.hdf5'}", f"generated={project / generated}"]
        config = ["data=toy", "evaluation=quick", "evaluation.draw=false", "evaluation.replicas=2"]
        figures.append(evaluate(compose("evaluate", [*config, *asked, f"output={project / name}"])))
    assert figures[0]["test/events"] == 96
    assert figures[0] == figures[1] == figures[2]
