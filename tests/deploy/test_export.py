"""From a checkpoint to a folder that other programs run, and back into Python and C++."""

from __future__ import annotations

import json
import logging
import math
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import simulacra
from simulacra.cli.export import export
from simulacra.core import FormatError, UserError
from simulacra.data.base import EventDataModule
from simulacra.deploy import export as package
from simulacra.deploy.export import pairs, sidecar
from simulacra.deploy.export.formats import FORMATS, Array
from simulacra.deploy.export.ports import Port
from simulacra.deploy.export.runner import Runner
from simulacra.deploy.export.sidecar import Sidecar
from simulacra.deploy.export.write import write
from simulacra.evaluation.config import compose
from support import composed, made, save, tiny

PORTS = (
    Port("energy", (1,), "condition", "MeV", 10.0, 1000.0),
    Port("normal", (3,), "normal"),
)
TOLD = Sidecar(
    "plain", "onnx", "model.onnx", None, PORTS, (Port("events", (3,), "output", "MeV"),), 16
)


def runner(run, outside: str = "stop") -> Runner:
    return Runner(TOLD, run, outside)  # type: ignore[arg-type]


def scaled(inputs: list[Array]) -> list[Array]:
    return [inputs[0] * np.abs(inputs[1])]


def test_a_runner_makes_events_of_conditions_in_batches() -> None:
    sizes = []

    def run(inputs: list[Array]) -> list[Array]:
        sizes.append(len(inputs[0]))
        return scaled(inputs)

    energies = np.linspace(20, 900, 11)
    found = runner(run).sample({"energy": energies}, np.random.default_rng(1), batch_size=4)
    assert sizes == [4, 4, 3]
    again = runner(scaled).sample({"energy": energies}, np.random.default_rng(1), batch_size=4)
    assert found["events"].shape == (11, 3)
    assert np.array_equal(found["events"], again["events"])
    assert (
        len(runner(scaled).sample({"energy": 50.0}, np.random.default_rng(1), events=6)["events"])
        == 6
    )


def test_conditions_outside_the_trained_range_stop_or_warn_once(caplog) -> None:
    with pytest.raises(UserError, match=r"1 of 2 values of energy lie outside .* 10 to 1000 MeV"):
        runner(scaled).sample({"energy": [5.0, 50.0]}, np.random.default_rng(0))
    lenient = runner(scaled, "warn")
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert (
                len(lenient.sample({"energy": [5000.0]}, np.random.default_rng(0))["events"]) == 1
            )
    assert len(caplog.records) == 1


@pytest.mark.parametrize(
    ("conditions", "said"),
    [
        ({}, "is given .*energy"),
        ({"energy": [20.0], "eta": 1.0}, "is given .*energy"),
        ({"energy": [math.nan]}, "NaN"),
        ({"energy": [[20.0, 30.0]]}, "1 components per event, got 2"),
        ({"energy": 20.0}, "one number of events is needed"),
    ],
)
def test_a_runner_refuses_what_is_no_condition(conditions, said) -> None:
    with pytest.raises(UserError, match=said):
        runner(scaled).sample(conditions, np.random.default_rng(0))


def test_events_that_are_not_finite_are_made_again_and_no_others() -> None:
    calls = []

    def run(inputs: list[Array]) -> list[Array]:
        calls.append(len(inputs[0]))
        found = scaled(inputs)[0]
        if len(calls) == 1:
            found[[1, 3]] = np.nan
        return [found]

    found = runner(run).sample({"energy": [20.0, 30.0, 40.0, 50.0]}, np.random.default_rng(0))
    assert calls == [4, 2]
    assert np.isfinite(found["events"]).all()
    with pytest.raises(UserError, match="2 of 2 events hold NaN"):
        runner(lambda inputs: [inputs[1] * np.nan]).sample(
            {"energy": [20.0] * 2}, np.random.default_rng(0)
        )


def test_differences_count_cells_above_the_threshold_and_leave_out_those_at_it() -> None:
    true = np.zeros((16, 1000), np.float32)
    true[:, 0], true[:, 1] = 2.0, 1.0005
    kept = pairs.Pairs((), (true,), np.full(16, 1.0, np.float32))
    changed = true.copy()
    changed[3, 1] = 0.0  # at the threshold
    changed[4, 2] = 0.5  # below it
    assert pairs.agreement(lambda _: [changed], kept, None).largest == 0
    changed[5, 0] = 2.01
    found = pairs.agreement(lambda _: [changed], kept, None)
    assert found.largest == pytest.approx(0.005, rel=1e-4)
    assert not found.holds
    changed[5, 0], changed[7, 500] = 2.0, 3.0  # a cell that should be empty
    assert pairs.agreement(lambda _: [changed], kept, None).largest == math.inf
    changed[7, 500], bright = 0.0, true.copy()
    bright[:, 0], changed[:, 0] = 1e4, 1e4
    changed[:, 1], bright[:, 1] = 2.5, 2.0  # relative to a hundredth of the largest
    kept = pairs.Pairs((), (bright,), np.full(16, 1.0, np.float32))
    assert pairs.agreement(lambda _: [changed], kept, None).largest == pytest.approx(0.005)
    changed[9, 1] = 0.0  # but not where it is empty
    assert pairs.agreement(lambda _: [changed], kept, None).largest == 1
    free = pairs.Pairs(
        (), (-true,), np.zeros(16, np.float32)
    )  # no cells, but numbers of either sign
    assert pairs.agreement(lambda _: [-1.1 * true], free, None).numbers == 32


def test_a_whole_number_may_be_rounded_to_the_next_one_in_one_of_a_thousand() -> None:
    true = np.full((16, 1000), 20, np.float32)
    kept = pairs.Pairs((), (true,), np.zeros(16, np.float32))
    some, many, far = (true.copy() for _ in range(3))
    some[0, 0], many[:, :3], far[0, 0] = 21, 21, 22
    assert pairs.agreement(lambda _: [some], kept, None).holds
    assert not pairs.agreement(lambda _: [many], kept, None).holds
    assert not pairs.agreement(lambda _: [far], kept, None).holds
    halves = pairs.Pairs((), (true + 0.5,), np.zeros(16, np.float32))
    assert not pairs.agreement(lambda _: [some + 0.5], halves, None).holds


@pytest.mark.parametrize("name", ["../model.onnx", "/tmp/model.onnx", "", 3])
def test_a_graph_elsewhere_is_not_loaded(name: object, tmp_path: Path) -> None:
    told = {
        "simulacra_export": sidecar.VERSION,
        "contract": "plain",
        "format": "onnx",
        "file": name,
    }
    (tmp_path / sidecar.JSON).write_text(json.dumps(told))
    with pytest.raises(FormatError, match="does not lie beside it"):
        Runner.load(tmp_path)


def test_a_sidecar_and_its_lines_say_the_same(tmp_path: Path) -> None:
    (tmp_path / sidecar.JSON).write_text(TOLD.table({"model": "X"}))
    assert sidecar.read(tmp_path) == TOLD
    lines = TOLD.lines().splitlines()
    assert "input energy condition MeV 10.0 1000.0 1" in lines
    assert "output events output MeV - - 3" in lines
    table = json.loads((tmp_path / sidecar.JSON).read_text())
    (tmp_path / sidecar.JSON).write_text(json.dumps({**table, "inputs": [{"name": "x"}]}))
    with pytest.raises(UserError, match="damaged"):
        sidecar.read(tmp_path)


@pytest.fixture
def checkpoint(toy: Callable[..., EventDataModule], tmp_path: Path) -> Path:
    events = toy("ds1_photons")
    module = made("caloinn", events.spec).fit_transform(events.fit_batches())
    for parameter in module.parameters():
        parameter.data.add_(0.02 * torch.randn_like(parameter))
    module.record.conditions = events.batch(32).conditions(module.given)
    module.record.trained_range = {"incident_energy": (256.0, 4194304.0)}
    return save(module, tiny("caloinn"), tmp_path, composed("data", "data=ds1_photons"))


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (("format=pt2", "contract=ddml"), "format=torchscript, not format=pt2"),
        (("format=torchscript", "contract=par04"), "cylindrical mesh"),
        (("format=safetensors", "contract=ddml"), "needs a graph"),
        (("output=/proc/nowhere/x", "format=safetensors"), "cannot write"),
    ],
)
def test_what_cannot_be_exported_is_one_sentence_and_leaves_nothing(
    checkpoint: Path, asked: tuple[str, ...], said: str
) -> None:
    with pytest.raises(UserError, match=said) as found:
        export(compose("export", [f"checkpoint={checkpoint}", *asked]))
    assert "\n" not in str(found.value)
    assert list(checkpoint.parent.iterdir()) == [checkpoint]


def test_weights_alone_are_a_folder_that_is_replaced_only_if_asked(checkpoint: Path) -> None:
    from safetensors.torch import load_file

    asked = [f"checkpoint={checkpoint}", "format=safetensors", "licence=CC0-1.0"]
    folder = Path(export(compose("export", asked))["output"])
    state = simulacra.load(checkpoint).state_dict()
    found = load_file(folder / "model.safetensors")
    assert all(torch.equal(found[name], value) for name, value in state.items())
    told = json.loads((folder / "sidecar.json").read_text())
    assert told["licence"] == "CC0-1.0"
    assert told["provenance"]["simulacra_checkpoint_sha256"]
    assert told["trained_range"] == {"incident_energy": [256.0, 4194304.0]}
    with pytest.raises(UserError, match=r"is there already: .*overwrite=true"):
        export(compose("export", asked))
    export(compose("export", [*asked, "overwrite=true"]))
    shutil.rmtree(folder)
    folder.mkdir()
    (folder / "thesis.tex").touch()
    with pytest.raises(UserError, match="no exported generator"):
        export(compose("export", [*asked, "overwrite=true"]))
    assert (folder / "thesis.tex").exists()


def test_a_missing_package_names_the_extra(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(UserError, match=r"onnxscript: pip install simulacra\[export\]"):
        export(compose("export", [f"checkpoint={checkpoint}"]))
    assert list(checkpoint.parent.iterdir()) == [checkpoint]


def test_compiled_programs_need_a_compiler(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torch._inductor.exc import InvalidCxxCompiler

    def none() -> str:
        raise InvalidCxxCompiler

    monkeypatch.setattr("torch._inductor.cpp_builder.get_cpp_compiler", none)
    with pytest.raises(UserError, match="format=aoti needs a C\\+\\+ compiler"):
        export(compose("export", [f"checkpoint={checkpoint}", "format=aoti"]))
    assert list(checkpoint.parent.iterdir()) == [checkpoint]


@pytest.mark.slow
@pytest.mark.grid
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("form", ["pt2", "torchscript", "aoti"])
def test_programs_of_torch_reproduce_the_pairs_and_are_left_to_others(
    checkpoint: Path, form: str
) -> None:
    done = export(compose("export", [f"checkpoint={checkpoint}", f"format={form}"]))
    assert done["difference"] < 1e-3
    with pytest.raises(UserError, match=f"format={form}, run by the program it is for"):
        Runner.load(done["output"])


@pytest.mark.slow
@pytest.mark.grid
@pytest.mark.timeout(1200)
def test_an_exported_generator_is_run_in_python_like_a_model(checkpoint: Path) -> None:
    done = export(compose("export", [f"checkpoint={checkpoint}"]))
    assert done["difference"] < 1e-3
    found = Runner.load(done["output"]).sample(
        {"incident_energy": [1e4, 2e4, 3e4]}, np.random.default_rng(1)
    )
    assert found["events"].shape == (3, 368)
    assert (found["events"] >= 0).all()
    with pytest.raises(UserError, match="outside the trained range"):
        Runner.load(done["output"]).sample({"incident_energy": 1.0}, np.random.default_rng(1), 1)


@pytest.mark.slow
@pytest.mark.grid
@pytest.mark.timeout(1200)
def test_the_cpp_driver_reproduces_the_pairs(checkpoint: Path, tmp_path: Path) -> None:
    missing = [tool for tool in ("cmake", "c++") if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"needs {', '.join(missing)}")
    folder = tmp_path / "exported"
    export(
        compose("export", [f"checkpoint={checkpoint}", "format=torchscript", f"output={folder}"])
    )
    source = Path(package.__file__).parents[1] / "cpp"
    build = tmp_path / "build"
    prefix = f"-DCMAKE_PREFIX_PATH={torch.utils.cmake_prefix_path}"
    for command in (
        ["cmake", "-S", str(source), "-B", str(build), prefix],
        ["cmake", "--build", str(build)],
    ):
        done = subprocess.run(command, capture_output=True, text=True, timeout=900)
        assert done.returncode == 0, done.stderr[-2000:]
    replay = [str(build / "replay_torch"), str(folder), "3"]
    done = subprocess.run(replay, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "largest" in done.stdout
    assert "sampled 16 events" in done.stdout
    numbers = np.fromfile(folder / "pairs.bin", dtype="<f4")
    numbers[16 * (1 + 373) : 16 * (1 + 373 + 368)] *= 1.1
    numbers.tofile(folder / "pairs.bin")
    assert subprocess.run(replay, capture_output=True, timeout=120).returncode == 1


def test_a_graph_that_differs_from_python_is_not_kept(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    form = FORMATS["pt2"]
    monkeypatch.setattr(type(form), "write", lambda *_: _[3].write_bytes(b"x"))
    monkeypatch.setattr(
        type(form),
        "load",
        lambda *_: lambda inputs: [np.full((len(inputs[0]), 368), 5, np.float32)],
    )
    monkeypatch.setattr("simulacra.deploy.export.write.program", lambda *_: None)
    folder = checkpoint.parent / "out"
    with pytest.raises(
        UserError, match=r"differs from Python by a relative .*nothing was exported"
    ):
        write(simulacra.load(checkpoint), "plain", form, folder, {})
    assert list(checkpoint.parent.iterdir()) == [checkpoint]
