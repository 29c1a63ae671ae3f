"""Conditions of `simulacra sample`: as in training, said on the command line, or from files of their own."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from simulacra.cli.sample import sample
from simulacra.core import Conditions, UserError
from simulacra.evaluation.config import compose, register
from simulacra.training import checkpoint
from simulacra.training.record import Record


@pytest.fixture
def trained(toy_checkpoint: Path, project: Path) -> Path:
    register()  # the plug-in lies in the current folder
    return toy_checkpoint


def energies(checkpoint: Path, folder: Path, *overrides: str) -> np.ndarray:
    """Energies of the events that are generated."""
    target = folder / "out.hdf5"
    given = [f"checkpoint={checkpoint}", f"output={target}", "overwrite=true", *overrides]
    sample(compose("sample", ["allow=[toy_plugin]", *given]))
    with h5py.File(target) as file:
        return np.asarray(file["toy/energy"][:]).reshape(-1)


def test_a_checkpoint_remembers_the_conditions_of_its_training(
    trained: Path, project: Path
) -> None:
    module = checkpoint.load(trained, allow=("toy_plugin",))
    known = module.record.conditions
    assert known is not None
    assert set(known.values) == set(module.given)
    low, high = module.record.trained_range["incident_energy"]
    assert known.values["incident_energy"].min() >= low
    assert known.values["incident_energy"].max() <= high
    made = energies(trained, project, "n=300")
    assert set(made.tolist()) <= set(known.values["incident_energy"][:, 0].tolist())


def test_the_public_prior_is_drawn_from_if_asked_for(trained: Path, project: Path) -> None:
    module = checkpoint.load(trained, allow=("toy_plugin",))
    remembered = set(module.record.conditions.values["incident_energy"][:, 0].tolist())
    made = energies(trained, project, "n=50", "conditions=prior")
    assert not set(made.tolist()) <= remembered


def test_a_checkpoint_that_remembers_nothing_says_so_and_draws_from_the_prior(
    trained: Path, project: Path, caplog: pytest.LogCaptureFixture
) -> None:
    contents = torch.load(trained, weights_only=True)
    del contents["simulacra"]["trained_conditions"]
    torch.save(contents, project / "old.ckpt")
    made = energies(project / "old.ckpt", project, "n=20")
    assert len(made) == 20
    assert "does not remember the conditions of its training" in caplog.text


def test_conditions_do_not_depend_on_the_number_of_events_at_once(
    trained: Path, project: Path
) -> None:
    for said in (
        "n=40",
        "conditions.incident_energy=normal(50,20)",
        "conditions.incident_energy=loguniform(20,90)",
    ):
        made = [energies(trained, project, "n=40", said, f"batch_size={size}") for size in (7, 40)]
        assert (made[0] == made[1]).all(), said


@pytest.mark.parametrize(
    ("said", "n", "found"),
    [
        ("4.5", 3, [4.5, 4.5, 4.5]),
        ("45e-1", 2, [4.5, 4.5]),
        ("[2,3,4]", None, [2, 3, 4]),
        ("[2, 3]", 5, [2, 3, 2, 3, 2]),
    ],
)
def test_a_condition_is_given_on_the_command_line(
    trained: Path, project: Path, said: str, n: int | None, found: list[float]
) -> None:
    number = [] if n is None else [f"n={n}"]
    assert (
        energies(trained, project, f"conditions.incident_energy={said}", *number).tolist() == found
    )


@pytest.mark.parametrize(
    ("said", "mean", "low", "high"),
    [
        ("uniform(20,40)", 30.0, 20, 40),
        ("loguniform(10,80)", 70 / np.log(8), 10, 80),
        ("normal(50, 5)", 50.0, 20, 80),
    ],
)
def test_a_condition_is_drawn_from_a_distribution(
    trained: Path, project: Path, said: str, mean: float, low: float, high: float
) -> None:
    made = energies(trained, project, f"conditions.incident_energy={said}", "n=2000")
    assert low <= made.min() < made.max() <= high
    assert abs(made.mean() - mean) < 4 * made.std() / np.sqrt(len(made))


@pytest.mark.parametrize(
    ("said", "message"),
    [
        (
            "conditions.incident_energy=__import__('os')",
            "conditions.incident_energy must be a number",
        ),
        ("conditions.incident_energy=exponential(1,2)", "knows uniform"),
        ("conditions.incident_energy=uniform(4,2)", "needs the smaller end first"),
        ("conditions.incident_energy=loguniform(-1,2)", "above 0"),
        ("conditions.incident_energy=normal(5,0)", "needs a width above 0"),
        ("conditions.incident_energy=nan", "must be a number"),
        ("conditions.incident_energy=[]", "empty list"),
        ("conditions.energie=5", "conditions.energie is not asked of this model"),
    ],
)
def test_what_is_no_condition_is_refused(
    trained: Path, project: Path, said: str, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        energies(trained, project, "n=5", said)
    assert not list(project.glob("*out.hdf5*"))


def test_files_of_conditions_alone_are_read(trained: Path, project: Path) -> None:
    wanted = np.array([20.0, 35.5, 50.0, 72.25], np.float32)
    with h5py.File(project / "public.hdf5", "w") as file:
        file["toy/energy"] = wanted
    with h5py.File(project / "named.h5", "w") as file:
        file["incident_energy"] = wanted[:, None]
    (project / "table.csv").write_text(
        "incident_energy,other\n" + "".join(f"{e},1\n" for e in wanted)
    )
    np.save(project / "one.npy", wanted)
    np.savez(project / "some.npz", incident_energy=wanted, more=np.zeros(9))
    for name in ("public.hdf5", "named.h5", "table.csv", "one.npy", "some.npz"):
        made = energies(trained, project, f"conditions={project / name}", "batch_size=3")
        assert made.tolist() == wanted.tolist(), name
        assert len(energies(trained, project, f"conditions={project / name}", "n=2")) == 2


def test_files_that_hold_no_conditions_are_refused(trained: Path, project: Path) -> None:
    with h5py.File(project / "other.hdf5", "w") as file:
        file["something"] = np.ones(3)
    (project / "table.csv").write_text("mass\n1\n2\n")
    (project / "text.csv").write_text("incident_energy\nten\n")
    np.save(project / "wide.npy", np.ones((3, 2)))
    np.save(project / "objects.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    np.savez(project / "other.npz", mass=np.ones(3))
    (project / "broken.npz").write_bytes(b"PK\x03\x04 nothing")
    np.save(project / "nan.npy", np.array([1.0, np.nan]))
    np.save(project / "none.npy", np.zeros(0))
    for path in [*project.glob("*.np*"), *project.glob("*.csv"), project / "other.hdf5"]:
        with pytest.raises(UserError) as found:
            energies(trained, project, f"conditions={path}")
        assert path.name in str(found.value)
        assert "\n" not in str(found.value)


def test_an_output_that_is_there_is_not_replaced_unless_asked(trained: Path, project: Path) -> None:
    given = [f"checkpoint={trained}", f"output={project / 'out.hdf5'}", "n=3", "allow=[toy_plugin]"]
    sample(compose("sample", given))
    before = (project / "out.hdf5").read_bytes()
    with pytest.raises(UserError, match="is there already: name another output, or set overwrite"):
        sample(compose("sample", [*given, "seed=5"]))
    assert (project / "out.hdf5").read_bytes() == before
    sample(compose("sample", [*given, "seed=5", "overwrite=true"]))
    assert (project / "out.hdf5").read_bytes() != before


def test_a_name_that_says_another_format_is_remarked_on(
    trained: Path, project: Path, caplog: pytest.LogCaptureFixture
) -> None:
    given = [f"checkpoint={trained}", f"output={project / 'out.csv'}", "n=3", "allow=[toy_plugin]"]
    sample(compose("sample", given))
    assert "its name does not end in .hdf5" in caplog.text


@pytest.mark.parametrize(
    "values",
    [3, {}, {"a": [1.0]}, {"a": torch.zeros(3)}, {"a": torch.zeros(0, 1)}, {1: torch.zeros(3, 1)},
     {"a": torch.zeros(3, 1), "b": torch.zeros(2, 1)}, {"a": torch.full((3, 1), float("nan"))}],
)  # fmt: skip
def test_remembered_conditions_that_are_none_are_refused(values: object) -> None:
    entry = {**Record().to_dict(), "trained_conditions": values}
    if values == {}:
        assert Record.from_dict(entry).conditions is None
        return
    with pytest.raises(UserError, match="trained_conditions"):
        Record.from_dict(entry)


def test_remembered_conditions_of_one_event_stay_together() -> None:
    rows = torch.arange(50.0)[:, None]
    record = Record(conditions=Conditions(50, {"a": rows, "b": 2 * rows}))
    found = record.draw(200, ("b", "a"), torch.Generator().manual_seed(0))
    assert found is not None
    assert torch.equal(found.values["b"], 2 * found.values["a"])
    assert record.draw(5, ("a", "c")) is None
