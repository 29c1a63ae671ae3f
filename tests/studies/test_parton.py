"""Studies of parton showers: their figures, and each of them at small settings."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from sklearn.metrics import roc_auc_score

from simulacra.cli.study import study
from simulacra.core import UserError
from simulacra.evaluation.config import compose
from simulacra.studies.parton.splitting import ShowerSplitting
from simulacra.studies.parton.toys import auc, resampled

SHORT = ("logger=csv", "trainer.threads=1")


def run(folder: Path, *overrides: str) -> dict[str, float]:
    return study(compose("study", [*overrides, *SHORT, f"paths.run={folder}"]))


def test_the_area_is_that_of_sklearn_with_ties() -> None:
    generator = torch.Generator().manual_seed(0)
    background = torch.randn(300, generator=generator).mul(2).round()
    signal = (torch.randn(200, generator=generator) + 0.5).mul(2).round()
    expected = roc_auc_score([0] * 300 + [1] * 200, torch.cat([background, signal]).numpy())
    assert auc(background, signal) == pytest.approx(expected)


def test_errors_of_bootstraps_are_those_of_a_mean() -> None:
    values = torch.randn(400, generator=torch.Generator().manual_seed(0)).double()

    def difference(i: torch.Tensor, j: torch.Tensor) -> dict[str, float]:
        return {"d": float(values[i].mean() - values[j].mean())}

    found = resampled(difference, (400, 400), seed=0)
    assert found["d"] == 0
    assert found["d/error"] == pytest.approx((2 / 400) ** 0.5, rel=0.2)


def test_other_data_and_too_few_trainings_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match="toy_peaks is none of this kind: take data=toy_fragmentation"
    ):
        run(tmp_path / "run", "study=fragmentation_fit", "data=toy_peaks", "data.events.test=100")
    with pytest.raises(UserError, match="needs two of them, got 1"):
        ShowerSplitting([], None, [], 1, 10)  # type: ignore[arg-type]


@pytest.mark.smoke
def test_a_flow_learns_the_soft_coefficient(tmp_path: Path) -> None:
    found = run(
        tmp_path / "run", "study=fragmentation_fit", "data=toy_fragmentation", "data.toy.jets=40",
        "data.events.train=800", "data.events.test=100", "trainer.max_epochs=12",
        "study.candidates=300",
    )  # fmt: skip
    assert found["study/exact/width/d_qq"] < found["study/flow/width/d_qq"] < 0.75
    assert found["study/null/width/d_qq"] > 0.85
    assert 0.5 < found["study/flow/coverage/d_qq"] < 0.9


@pytest.mark.smoke
def test_two_couplings_are_told_apart_by_the_ratio_of_likelihoods(tmp_path: Path) -> None:
    found = run(
        tmp_path / "run", "study=shower_likelihood", "data=toy_shower", "study.other=0.2",
        "data.events.train=2000", "data.events.test=1000", "trainer.max_epochs=6",
        "data.batch_size=128", "study.generated=500", "data.toy.evolution.narrowest=4e-3",
    )  # fmt: skip
    assert 0 < found["study/first/excess"] < 0.6
    assert 0.6 < found["study/ratio/auc"] < found["study/ratio/auc_exact"] + 0.02
    assert found["study/null/auc"] == pytest.approx(0.5, abs=5 * found["study/null/auc/error"])


@pytest.mark.smoke
def test_emissions_are_read_and_kernels_are_the_known_ones(tmp_path: Path) -> None:
    found = run(
        tmp_path / "run", "study=shower_splitting", "data=toy_emissions", "data.events.train=2000",
        "data.events.test=100", "study.jets=1000", "data.batch_size=64", "trainer.max_steps=4",
    )  # fmt: skip
    assert found["study/kernel/emissions"] == pytest.approx(5340, rel=0.05)
    assert found["study/kernel/mean/floor"] == pytest.approx(-2.535, abs=0.01)
    assert found["study/control/mean/floor"] == pytest.approx(-0.963, abs=0.01)
    assert (
        found["study/kernel/w1/floor"] < 0.1 < found["study/kernel/w1"]
    )  # hardly anything is learnt
