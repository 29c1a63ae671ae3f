from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest

from deploy.counting import Counting, made, same
from simulacra.core import Batch, UserError
from simulacra.deploy.production import PLAN, Plan, chunk_seed, incident, produce, times
from simulacra.formats.base import TIME
from simulacra.formats.calochallenge import CaloChallenge, ds1_photons

FORMAT = CaloChallenge(ds1_photons())


def run(tmp_path: Path, plan: Plan, name: str = "out.hdf5", **settings) -> list[int]:
    notes = tmp_path / "notes"
    notes.mkdir(exist_ok=True)
    told: list[int] = []
    produce(Counting(FORMAT, notes, **settings), plan, tmp_path / name, told.append)
    return told


def whole(tmp_path: Path, plan: Plan) -> Batch:
    """All events of a plan, made here."""
    source = Counting(FORMAT, tmp_path / "notes")
    return Batch.cat(
        [source.run(k, plan.size(k), chunk_seed(plan.seed, k)) for k in range(plan.chunks)]
    )


def test_events_do_not_depend_on_the_number_of_processes(tmp_path: Path) -> None:
    told = run(tmp_path, Plan(25, 10, 3, processes=1), "a.hdf5")
    run(tmp_path, Plan(25, 10, 3, processes=2), "b.hdf5")
    a, b = (FORMAT.read(tmp_path / name) for name in ("a.hdf5", "b.hdf5"))
    assert sum(told) == len(a) == 25
    assert same(a, b)
    assert same(a, whole(tmp_path, Plan(25, 10, 3)))
    assert chunk_seed(3, 1) != chunk_seed(4, 0)
    with h5py.File(tmp_path / "a.hdf5") as file:
        assert file.attrs["simulacra_simulator"] == "counting"
        assert file.attrs["simulacra_cpu_seconds"] > 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.hdf5", "b.hdf5", "notes"]


def test_what_died_goes_on_with_the_chunks_that_are_missing(tmp_path: Path) -> None:
    plan = Plan(35, 10, 3)
    with pytest.raises(UserError, match=r"died.*no tables.*chunks are kept in .*out\.hdf5\.parts"):
        run(tmp_path, plan, dies=2)
    assert not (tmp_path / "out.hdf5").exists()
    kept = {int(path.stem) for path in (tmp_path / "out.hdf5.parts").glob("0*.json")}
    assert kept <= {0, 1}
    assert (tmp_path / "out.hdf5.parts" / PLAN).is_file()
    with pytest.raises(UserError, match=r"other settings: go on with those of .*production\.json"):
        run(tmp_path, Plan(35, 10, 4))
    run(tmp_path, plan)
    assert all(made(tmp_path / "notes").count(number) == 1 for number in kept)
    assert same(FORMAT.read(tmp_path / "out.hdf5"), whole(tmp_path, plan))
    assert not (tmp_path / "out.hdf5.parts").exists()


def test_what_cannot_be_opened_is_one_sentence_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^install it$"):
        run(tmp_path, Plan(20, 10, 3, processes=2), refuses="install it")
    assert [path.name for path in tmp_path.iterdir()] == ["notes"]


def test_a_signal_keeps_finished_chunks(tmp_path: Path) -> None:
    def stop(n: int) -> None:
        signal.raise_signal(signal.SIGTERM)

    before = signal.signal(signal.SIGTERM, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
    notes = tmp_path / "notes"
    notes.mkdir()
    try:
        with pytest.raises(KeyboardInterrupt):
            produce(Counting(FORMAT, notes), Plan(30, 10, 3), tmp_path / "out.hdf5", stop)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert len(list((tmp_path / "out.hdf5.parts").glob("0*.json"))) == 1
    run(tmp_path, Plan(30, 10, 3))
    assert same(FORMAT.read(tmp_path / "out.hdf5"), whole(tmp_path, Plan(30, 10, 3)))


KILLED = """
import os, time
from simulacra.deploy.children import children
if __name__ == "__main__":
    with children(2) as workers:
        print(workers.run(os.getpid), flush=True)
        time.sleep(600)
"""


def test_children_end_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "killed.py"
    script.write_text(KILLED)
    parent = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    assert alive(child)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    end = time.monotonic() + 60
    while alive(child):
        assert time.monotonic() < end, "the child is still there"
        time.sleep(0.1)


def alive(process: int) -> bool:
    """Whether a process is there and has not ended."""
    found = subprocess.run(
        ["ps", "-o", "stat=", "-p", str(process)], capture_output=True, text=True
    )
    return bool(found.stdout.strip()) and not found.stdout.startswith("Z")


def test_a_file_says_how_long_its_simulation_took(tmp_path: Path) -> None:
    assert times(np.array([1.0, 2.0]), np.array([100.0, 200.0])) == {
        "simulacra_ms_per_gev": 10.0,
        "simulacra_ms_per_gev_error": 0.0,
    }
    assert times(np.array([1.0]), np.array([100.0])) == {}
    FORMAT.toy(tmp_path / "toy.hdf5", 4)
    assert FORMAT.simulated(tmp_path / "toy.hdf5") is None
    batch = FORMAT.read(tmp_path / "toy.hdf5")
    FORMAT.write(tmp_path / "told.hdf5", batch, {TIME: 8.5, f"{TIME}_error": 0.25})
    assert FORMAT.simulated(tmp_path / "told.hdf5") == (8.5, 0.25)
    FORMAT.write(tmp_path / "text.hdf5", batch, {TIME: "8.5", f"{TIME}_error": 0.25})
    assert FORMAT.simulated(tmp_path / "text.hdf5") is None
    energy = float(batch.cond["incident_energy"].double().sum())
    assert incident(FORMAT.spec, batch) == pytest.approx(energy / 1e3)
