"""Studies of weak supervision: what is mixed, what is shown to whom, and what comes out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import h5py
import pytest
import torch

from simulacra.cli.study import study
from simulacra.core import Batch, UserError
from simulacra.evaluation.config import compose
from simulacra.studies.weak.curves import Differences, WrongFractions
from simulacra.studies.weak.histograms import Histograms
from simulacra.studies.weak.hybrid import Hybrid
from simulacra.studies.weak.null import EqualFractions
from simulacra.studies.weak.own import OwnSamples
from simulacra.studies.weak.samples import Labels, Mixed, most
from simulacra.studies.weak.study import WeakSupervision
from simulacra.studies.weak.templates import Templates

Run = Callable[..., tuple[Path, dict[str, float]]]
PARTS = ("equal", "own", "differences", "wrong", "bags", "hybrid", "templates")


@pytest.fixture
def run_study(tmp_path: Path) -> Run:
    """Run a study of weak supervision with some of its parts; the run directory and the figures."""

    def run(parts: tuple[str, ...], *overrides: str) -> tuple[Path, dict[str, float]]:
        left_out = [f"study.parts.{name}=null" for name in PARTS if name not in parts]
        folder = tmp_path / "run"
        asked = ["study=weak_supervision", "data=qg", "logger=none", *left_out, *overrides]
        return folder, study(compose("study", [*asked, f"paths.run={folder}"]))

    return run


def test_mixtures_take_as_many_events_as_there_are() -> None:
    for fractions in ([0.8, 0.2], [0.2, 0.4, 0.6, 0.8], [1.0, 0.0], [0.5]):
        each = most(fractions, [1000, 2000])
        signal = sum(round(f * each) for f in fractions)
        assert signal <= 2000
        assert len(fractions) * each - signal <= 1000
        assert each * max(sum(fractions) / 2, len(fractions) - sum(fractions)) > 980
    with pytest.raises(UserError, match=r"3 signal and 1 background events are too few"):
        most([0.8, 0.2], [1, 3])
    for wrong in ([], [1.2, 0.1], [-0.1]):
        with pytest.raises(UserError, match="fractions lie between 0 and 1"):
            most(wrong, [10, 10])


def test_mixtures_are_told_apart_by_their_fractions() -> None:
    files = [Path("a"), Path("b"), Path("c")]
    assert Mixed(files, [0.2, 0.9, 0.5], {}).extremes == (files[1], files[0])


def test_labels_are_a_field_of_two_classes() -> None:
    batch = Batch(torch.zeros(3, 1), {"sample": torch.tensor([[0], [1], [2]])},
                  {"label": torch.tensor([[0], [1], [1]])})  # fmt: skip
    assert Labels("label", []).of(batch).tolist() == [False, True, True]
    for name in ("sample", "flavour"):
        with pytest.raises(UserError, match=f"'{name}' is none: set study.labels.field"):
            Labels(name, []).of(batch)


def test_what_cannot_be_looked_at_is_refused() -> None:
    for made, match in (
        (lambda: EqualFractions(1), "two repetitions or more"),
        (lambda: Differences([0.2, 1.5]), "differences lie between 0 and 1"),
        (lambda: WrongFractions([]), "at least one factor"),
        (lambda: Hybrid({"sample": 0}, {"sample": 0}, 10, []), "tell simulation and data apart"),
        (lambda: Histograms("two", [], 5), "at least one observable"),
        (lambda: OwnSamples({"a": {"sample": 0}}), "two or more"),
        (lambda: Templates([], None, 5, 0.0, 10), "at least one observable"),
        (lambda: WeakSupervision(Labels("a", []), [0.5], {"a": None}, {}, [], 1, None, {}), "at least"),
    ):  # fmt: skip
        with pytest.raises(UserError, match=match):
            made()


@pytest.mark.smoke
def test_mixtures_teach_as_much_as_labels(run_study: Run) -> None:
    """With 20 epochs all are within 0.01 of labels; here 6 must do."""
    run, found = run_study(
        ("templates",),
        "study.learners.llp_wce=null",
        "study.sights.two=null",
        "study.training=[data.batch_size=500,trainer.max_epochs=6]",
    )
    labels = found["study/all/supervised/auc"]
    assert 0.7 < labels < 0.85
    for name in ("cwola", "llp_wmse"):
        assert found[f"study/all/{name}/auc"] > labels - 0.03
        assert 0 < found[f"study/all/{name}/lack/error"] < found[f"study/all/{name}/auc/error"]
    for name in ("bag_0", "bag_1", "signal", "background"):
        with h5py.File(run / "mixtures" / "0" / f"{name}.h5") as file:
            assert not {"label", "sample"} & set(file)
    for kind in ("signal", "background"):
        key = f"study/templates/ntrk/{kind}/misfit"
        assert abs(found[key] - 1) < 5 * found[f"{key}/error"]


@pytest.mark.smoke
def test_bags_wrong_fractions_and_a_simulation_to_start_from(run_study: Run) -> None:
    _, found = run_study(
        ("own", "wrong", "bags", "hybrid"),
        "study.learners.llp_wce=null",
        "study.sights.two=null",
        "study.training=[data.batch_size=500,trainer.max_epochs=1]",
        "study.parts.wrong.factors=[0.8]",
        "study.parts.hybrid.size=200",
    )
    assert found["study/wrong/llp_wmse/0.8/mean"] < found["study/wrong/llp_wmse/right/mean"]
    assert found["study/own/fraction/dijets"] == pytest.approx(0.328, abs=0.01)
    assert found["study/own/fraction/z_jets"] == pytest.approx(0.881, abs=0.01)
    assert found["study/bags/llp_wmse/auc"] > 0.55
    assert {f"study/hybrid/{name}/auc" for name in ("simulation", "cwola", "cwola_alone")} <= set(
        found
    )
