"""``simulacra apply``, and what other commands say of a module that generates nothing."""

from __future__ import annotations

import errno
import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import h5py
import pytest
import torch

from simulacra import data
from simulacra.cli.apply import apply
from simulacra.cli.benchmark import benchmark
from simulacra.cli.evaluate import evaluate
from simulacra.cli.main import main
from simulacra.cli.sample import sample
from simulacra.core import Batch, UserError
from simulacra.core.files import cannot_write
from simulacra.core.rows import folds_of, row_hashes
from simulacra.evaluation.config import compose
from simulacra.formats.base import Format
from simulacra.formats.hdf5 import Hdf5Writer
from simulacra.running.apply import input_hash
from simulacra.training.checkpoint import build, load
from support import composed, save, tiny


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with checkpoints of a reweighter and of a generator, and 700 embedded showers."""
    folder = tmp_path_factory.mktemp("apply")
    torch.manual_seed(0)
    for model, name in (("dctrgan", "pair"), ("caloinn", "ds1_photons")):
        config = composed("data", f"data={name}")
        events = data.build(config)
        module = build(tiny(model), events.spec).fit_transform([events.batch(300)])
        save(module, tiny(model), folder, config)
    single = data.build(composed("data", "data=ds1_photons"))
    single.format.write(folder / "showers.hdf5", single.batch(700, "test"))
    return folder


def form() -> Format:
    return data.build(composed("data", "data=ds1_photons")).format


def ask(folder: Path, *overrides: str, output: str = "weighted.hdf5") -> dict:
    chosen = [f"checkpoint={folder / 'dctrgan.ckpt'}", f"input={folder / 'showers.hdf5'}"]
    return apply(
        compose("apply", ["overwrite=true", *chosen, f"output={folder / output}", *overrides])
    )


def test_a_file_gets_weights_and_keeps_everything_else(trained: Path) -> None:
    found = ask(trained)
    before, after = (form().read(trained / f"{name}.hdf5") for name in ("showers", "weighted"))
    assert torch.equal(before.x, after.x)
    assert torch.equal(before.cond["incident_energy"], after.cond["incident_energy"])
    assert torch.equal(after.weight, load(trained / "dctrgan.ckpt").weights(before))
    weight = after.weight.double()
    assert found["events"] == 700
    assert found["weight/mean"] == pytest.approx(float(weight.mean()))
    share = float(weight.sum() ** 2 / weight.square().sum()) / 700
    assert found["weight/effective"] == pytest.approx(share)
    with h5py.File(trained / "weighted.hdf5") as file:
        assert file["weight"].shape == (700,)
        assert file.attrs["simulacra_checkpoint"] == str(trained / "dctrgan.ckpt")
        assert json.loads(file.attrs["simulacra_request"])["input"] == str(trained / "showers.hdf5")


def test_weights_that_are_there_are_multiplied(trained: Path) -> None:
    events = form().read(trained / "showers.hdf5")
    own = torch.linspace(0, 2, len(events))
    form().write(trained / "own.hdf5", replace(events, weight=own))
    ask(trained)
    ask(trained, f"input={trained / 'own.hdf5'}", output="both.hdf5")
    new, both = (form().read(trained / f"{name}.hdf5").weight for name in ("weighted", "both"))
    torch.testing.assert_close(both, own * new)


def test_a_file_is_streamed(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    append = Hdf5Writer.append

    def counted(self: Hdf5Writer, batch: Batch) -> None:
        sizes.append(len(batch))
        append(self, batch)

    monkeypatch.setattr(Hdf5Writer, "append", counted)
    ask(trained, "batch_size=300", output="chunks.hdf5")
    assert sizes == [300, 300, 100]
    ask(trained)
    whole, chunks = (form().read(trained / f"{name}.hdf5") for name in ("weighted", "chunks"))
    torch.testing.assert_close(whole.weight, chunks.weight)


def test_a_file_is_whole_or_absent(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    append, calls = Hdf5Writer.append, []

    def full(self: Hdf5Writer, batch: Batch) -> None:
        calls.append(batch)
        if len(calls) > 1:
            raise cannot_write(self.path, OSError(errno.ENOSPC, "full"))
        append(self, batch)

    monkeypatch.setattr(Hdf5Writer, "append", full)
    with pytest.raises(UserError, match="No space left on device"):
        ask(trained, "batch_size=300", output="half.hdf5")
    assert not list(trained.glob("*half.hdf5*"))


def test_a_damaged_end_of_the_input_leaves_nothing_behind(trained: Path) -> None:
    shutil.copy(trained / "showers.hdf5", trained / "damaged.hdf5")
    with h5py.File(trained / "damaged.hdf5", "r+") as file:
        file["showers"][650, 3] = float("nan")
    with pytest.raises(UserError, match=r"damaged\.hdf5.*event 650"):
        ask(trained, f"input={trained / 'damaged.hdf5'}", "batch_size=300", output="none.hdf5")
    assert not list(trained.glob("*none.hdf5*"))


def test_a_file_of_folds_is_applied_like_a_checkpoint(trained: Path) -> None:
    """Each event by its fold's training, in any chunks; the output tells all checkpoints."""
    events = form().read(trained / "showers.hdf5")
    weights = []
    for number in range(2):
        torch.manual_seed(number)
        config = composed("data", "data=pair", "data.folds=2", f"data.fold={number}")
        whole = data.build(composed("data", "data=pair"))
        module = build(tiny("dctrgan"), whole.spec).fit_transform([whole.batch(300)])
        path = trained / f"fold{number}.ckpt"
        (trained / "new").mkdir(exist_ok=True)
        save(module, tiny("dctrgan"), trained / "new", config).rename(path)
        weights.append(load(path).weights(events))
    (trained / "folds.yaml").write_text("folds: [fold0.ckpt, fold1.ckpt]")
    fold = folds_of(row_hashes(events), 2)
    assert 100 < int(fold.sum()) < 600
    expected = torch.stack(weights).gather(0, fold[None])[0]
    for size in ("null", "300"):
        ask(trained, f"checkpoint={trained / 'folds.yaml'}", f"batch_size={size}")
        torch.testing.assert_close(form().read(trained / "weighted.hdf5").weight, expected)
    with h5py.File(trained / "weighted.hdf5") as file:
        names = json.loads(file.attrs["simulacra_members"])
        assert [Path(name).name for name in names] == ["fold0.ckpt", "fold1.ckpt"]


def test_an_evaluation_uses_the_weights_of_a_file(trained: Path) -> None:
    """Weights that undo a difference: of showers with 5 % more energy those that look usual."""
    own = data.build(composed("data", "data=ds1_photons"))
    truth, other = own.batch(1500, "test"), own.batch(1500, "train")
    energy = truth.cond["incident_energy"][:, 0]
    heavy = torch.where(energy > energy.median(), 3.0, 0.25)
    form().write(trained / "truth.hdf5", other)
    form().write(trained / "plain.hdf5", truth)
    form().write(trained / "heavy.hdf5", replace(truth, weight=heavy))
    auc = {}
    for name in ("plain", "heavy"):
        asked = ["data=ds1_photons", f"reference={trained / 'truth.hdf5'}", "evaluation=quick"]
        asked += [f"generated={trained / name}.hdf5", f"output={trained / name}"]
        figures = evaluate(compose("evaluate", [*asked, "evaluation.draw=false"]))
        auc[name] = figures["test/classifier/boosted/auc"]
    assert abs(auc["plain"] - 0.5) < 0.06
    assert auc["heavy"] > 0.7


def test_a_file_that_was_trained_on_is_warned_of(
    trained: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ask(trained)
    with h5py.File(trained / "weighted.hdf5") as file:
        digest = file.attrs["simulacra_input_sha256"]
    assert digest == hashlib.sha256((trained / "showers.hdf5").read_bytes()).hexdigest()
    module = load(trained / "dctrgan.ckpt")
    for part, warned in (("test", False), ("train", True)):
        module.record.provenance = {f"second/{part}/showers.hdf5": digest}
        input_hash(trained / "showers.hdf5", module)
        assert ("was trained on" in caplog.text) is warned


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["checkpoint=null"], "not given: .*checkpoint"),
        (["input=nowhere.hdf5"], "nowhere.hdf5"),
        (["batch_size=0"], "batch_size must be a whole number from 1 or null, got 0"),
        (["output={folder}/showers.hdf5"], "the output is the input"),
        (["output={folder}/nowhere/a.hdf5"], "does not exist"),
        (["checkpoint={folder}/caloinn.ckpt"], "CaloINN makes events of its own and changes none"),
        (["input={folder}/dctrgan.ckpt"], "not an HDF5 file"),
    ],
)
def test_bad_requests_are_one_sentence_and_leave_nothing(
    trained: Path, overrides: list[str], message: str
) -> None:
    before = {path: path.stat().st_mtime_ns for path in trained.iterdir()}
    with pytest.raises(UserError, match=message) as error:
        ask(trained, *(item.format(folder=trained) for item in overrides), output="bad.hdf5")
    assert "\n" not in str(error.value)
    assert {path: path.stat().st_mtime_ns for path in trained.iterdir()} == before


def test_a_bad_request_ends_with_code_1(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["apply", f"checkpoint={trained / 'dctrgan.ckpt'}", "input=x", "output=y.hdf5"])
    assert stopped.value.code == 1
    assert capsys.readouterr().err.count("\n") == 1


GENERATORS: dict[str, Callable[[Path], object]] = {
    "sample": lambda path: sample(
        compose("sample", [f"checkpoint={path}", "n=3", f"output={path.parent / 'no.hdf5'}"])
    ),
    "benchmark": lambda path: benchmark(compose("benchmark", [f"checkpoint={path}"])),
    "benchmark of an untrained model": lambda _: benchmark(
        compose("benchmark", ["model=dctrgan", "data=pair"])
    ),
    "evaluate": lambda path: evaluate(
        compose("evaluate", [f"checkpoint={path}", f"reference={path.parent / 'showers.hdf5'}"])
    ),
}


@pytest.mark.parametrize("command", list(GENERATORS))
def test_commands_that_need_a_generator_refuse_another_task(trained: Path, command: str) -> None:
    wanted = "is a DCTRGAN, which generates no events"
    with pytest.raises(UserError, match=wanted) as error:
        GENERATORS[command](trained / "dctrgan.ckpt")
    assert "\n" not in str(error.value)
    assert not (trained / "no.hdf5").exists()
