from __future__ import annotations

import errno
import json
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from simulacra.cli.evaluate import evaluate
from simulacra.cli.main import main
from simulacra.cli.sample import sample
from simulacra.core import Batch, UserError
from simulacra.evaluation.config import compose
from simulacra.training.generative import GenerativeModule


@pytest.fixture
def trained(toy_checkpoint: Path, project: Path) -> Path:
    return toy_checkpoint


def ask(*overrides: str) -> dict:
    return sample(compose("sample", ["allow=[toy_plugin]", *overrides]))


def test_a_file_has_the_public_format_and_its_provenance(trained: Path, project: Path) -> None:
    target = project / "out.hdf5"
    assert (
        ask(f"checkpoint={trained}", f"output={target}", "n=120", "batch_size=50")["events"] == 120
    )
    checked = evaluate(compose("evaluate", ["data=toy", f"reference={target}"]))
    assert checked == {"events": 120}
    with h5py.File(target) as file:
        assert file["toy/layers"].shape == (120, 3, 4, 4)
        attributes = dict(file.attrs)
    assert attributes["simulacra_checkpoint"] == str(trained)
    assert json.loads(attributes["simulacra_request"])["n"] == 120
    assert attributes["simulacra_torch"] == torch.__version__


def test_the_same_seed_gives_the_same_file(trained: Path, project: Path) -> None:
    files = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        ask(f"checkpoint={trained}", f"output={project / name}.hdf5", "n=20", f"seed={seed}")
        with h5py.File(project / f"{name}.hdf5") as file:
            files.append(file["toy/layers"][:])
    assert (files[0] == files[1]).all()
    assert (files[0] != files[2]).any()


def test_conditions_come_from_a_file_in_its_order(trained: Path, project: Path) -> None:
    ask(f"checkpoint={trained}", f"output={project / 'first.hdf5'}", "n=70")
    ask(
        f"checkpoint={trained}",
        f"output={project / 'second.hdf5'}",
        f"conditions={project / 'first.hdf5'}",
        "batch_size=32",
        "seed=9",
    )
    with h5py.File(project / "first.hdf5") as a, h5py.File(project / "second.hdf5") as b:
        assert (a["toy/energy"][:] == b["toy/energy"][:]).all()
        assert (a["toy/layers"][:] != b["toy/layers"][:]).any()
    with pytest.raises(UserError, match="holds 70 events, but n=80"):
        ask(
            f"checkpoint={trained}",
            f"output={project / 'third.hdf5'}",
            f"conditions={project / 'first.hdf5'}",
            "n=80",
        )
    assert not list(project.glob("*third*"))


def test_events_made_with_the_conditions_of_weighted_ones_have_their_weights(
    trained: Path, project: Path
) -> None:
    given, made = project / "given.hdf5", project / "made.hdf5"
    ask(f"checkpoint={trained}", f"output={given}", "n=70")
    with h5py.File(given, "r+") as file:
        file["weight"] = np.arange(70) / 4
    ask(f"checkpoint={trained}", f"output={made}", f"conditions={given}", "batch_size=32", "n=50")
    with h5py.File(made) as file:
        assert (file["weight"][:] == np.arange(50) / 4).all()
    evaluation = ["data=toy", f"reference={given}", f"checkpoint={trained}"]
    evaluate(
        compose("evaluate", [*evaluation, "allow=[toy_plugin]", f"output={project / 'judged'}"])
    )
    with h5py.File(project / "judged" / "generated.hdf5") as file:
        assert (file["weight"][:] == np.arange(70) / 4).all()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["n=0"], "n must be a whole number from 1 or null, got 0"),
        (["n=true"], "n must be a whole number from 1 or null, got true"),
        (["n=5", "batch_size=-1"], "batch_size must be a whole number from 1 or null, got -1"),
        ([], "n=NUMBER or conditions=FILE"),
        (["conditions=nowhere.hdf5"], "no file nowhere.hdf5"),
        (["n=5", "solver=heun"], "toy_flow has no solver"),
        (["n=5", "graph=true"], "the generator is on the cpu: set device=cuda"),
    ],
)
def test_bad_requests_are_refused_before_anything_is_written(
    trained: Path, project: Path, overrides: list[str], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        ask(f"checkpoint={trained}", f"output={project / 'bad.hdf5'}", *overrides)
    assert not list(project.glob("*bad.hdf5*"))


def test_failed_events_are_drawn_again_counted_and_said(
    trained: Path,
    project: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Every fifth event of a generator is none, of those that are drawn again, too."""
    asked = [f"checkpoint={trained}", "n=120", "allow=[toy_plugin]"]
    main(["sample", *asked, f"output={project / 'sound.hdf5'}"])
    decode, made, failed = GenerativeModule.decode, 0, 0

    def failing(self: GenerativeModule, *given: object) -> Batch:
        nonlocal made, failed
        batch = decode(self, *given)
        wrong = (torch.arange(made, made + len(batch)) % 5) == 3
        made, failed = made + len(batch), failed + int(wrong.sum())
        batch.x[wrong, 1, 2, 3] = torch.nan if made % 2 else torch.inf
        return batch

    monkeypatch.setattr(GenerativeModule, "decode", failing)
    capfd.readouterr()
    for wanted, redraw in (("10 of 50", []), ("2 of 50", ["redraw=1"])):
        with pytest.raises(SystemExit) as stopped:
            main(["sample", *asked, f"output={project / 'bad.hdf5'}", *redraw])
        said = capfd.readouterr().err.splitlines()[-1]
        assert stopped.value.code == 1
        assert f"simulacra: {wanted} generated events hold values that are NaN or infinite" in said
        assert "redraw=ROUNDS" in said
        assert not list(project.glob("*bad*"))
        made = failed = 0
    main(["sample", *asked, f"output={project / 'mended.hdf5'}", "redraw=20"])
    assert failed >= 24
    said = capfd.readouterr().err
    assert f"{failed} of 120 events were not finite and were drawn again" in said
    with h5py.File(project / "sound.hdf5") as a, h5py.File(project / "mended.hdf5") as b:
        assert a.attrs["simulacra_redrawn_events"] == 0
        assert b.attrs["simulacra_redrawn_events"] == failed
        sound, mended = a["toy/layers"][:], b["toy/layers"][:]
        assert (a["toy/energy"][:] == b["toy/energy"][:]).all()
    assert np.isfinite(mended).all()
    same = (sound == mended).all((1, 2, 3))
    assert (
        np.flatnonzero(~same[:50]) == np.arange(3, 50, 5)
    ).all()  # of the first batch they alone


def test_a_full_disk_leaves_nothing_behind(
    trained: Path, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from simulacra.core.files import cannot_write
    from simulacra.formats.hdf5 import Hdf5Writer

    def full(self: Hdf5Writer, batch: Batch) -> None:
        raise cannot_write(self.path, OSError(errno.ENOSPC, "full"))

    monkeypatch.setattr(Hdf5Writer, "append", full)
    with pytest.raises(UserError, match="No space left on device"):
        ask(f"checkpoint={trained}", f"output={project / 'big.hdf5'}", "n=5")
    assert not list(project.glob("*big.hdf5*"))


def test_a_file_is_judged_against_another(trained: Path, project: Path) -> None:
    for name, n, seed in (("truth", 200, 1), ("same", 150, 2)):
        ask(f"checkpoint={trained}", f"output={project / name}.hdf5", f"n={n}", f"seed={seed}")
    figures = evaluate(
        compose(
            "evaluate",
            [
                "data=toy",
                f"reference={project / 'truth.hdf5'}",
                f"generated={project / 'same.hdf5'}",
                f"output={project / 'judged'}",
                "evaluation=quick",
                "evaluation.draw=false",
            ],
        )
    )
    auc, error = (figures[f"test/classifier/boosted/auc{twin}"] for twin in ("", "/error"))
    assert abs(auc - 0.5) < 4 * error
    assert json.loads((project / "judged" / "metrics.json").read_text()) == figures
    assert (project / "judged" / "report.html").is_file()


def test_files_that_are_none_are_refused_in_one_sentence(project: Path) -> None:
    bad = {"empty.hdf5": b"", "text.hdf5": b"energies\n1 2 3\n"}
    for name, contents in bad.items():
        (project / name).write_bytes(contents)
        with pytest.raises(UserError, match=name) as found:
            evaluate(compose("evaluate", ["data=toy", f"reference={project / name}"]))
        assert "\n" not in str(found.value)
