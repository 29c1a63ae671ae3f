"""Unusual jets by an auto-encoder: figures of scores, and a study of few epochs."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from simulacra.cli.study import study
from simulacra.core import UserError
from simulacra.evaluation.config import compose
from simulacra.studies.anomaly.autoencoder import area, correlation

BARE = ("study=jet_autoencoder", "data=jetnet30", "logger=none", "study.replicas=1")


def test_a_correlation_has_its_error() -> None:
    values = torch.randn(2, 500, generator=torch.Generator().manual_seed(0))
    found = correlation("a", values[0], values[0] + values[1])
    assert found["a"] == pytest.approx(
        0.69, abs=0.06
    )  # of normal numbers with a correlation of 0.71
    assert found["a/error"] == pytest.approx((1 - found["a"] ** 2) / 500**0.5)
    assert correlation("a", values[0], values[0].exp())["a"] == pytest.approx(1)
    assert correlation("a", values[0], -values[0])["a"] == pytest.approx(-1)


def test_an_area_is_that_of_the_unusual_ones() -> None:
    found = area("a", torch.tensor([0.1, 0.2, 0.9, 0.3]), torch.tensor([0, 0, 1, 1]) == 1, None)
    assert found["a/auc"] == 1
    assert found["a/auc/floor"] == 0.5


@pytest.mark.smoke
def test_top_jets_are_unusual_to_who_has_learnt_quarks_and_gluons(tmp_path: Path) -> None:
    asked = [*BARE, "data.classes=[g,q,t]", "trainer.max_epochs=2", f"paths.run={tmp_path / 'run'}"]
    found = study(compose("study", asked))
    assert found["study/autoencoder/auc"] > 0.6
    assert found["study/supervised/auc"] > found["study/autoencoder/auc"]
    assert abs(found["study/null/auc"] - 0.5) < 0.06
    assert found["study/correlation/autoencoder"] > 0.3
    assert abs(found["study/correlation/standardised"]) < 0.15
    assert sorted(path.name for path in (tmp_path / "run" / "usual").glob("*.hdf5")) == [
        "usual_g.hdf5",
        "usual_q.hdf5",
    ]


@pytest.mark.smoke
def test_classes_without_the_unusual_one_are_refused(tmp_path: Path) -> None:
    asked = [*BARE, "data.classes=[g,q]", f"paths.run={tmp_path / 'run'}"]
    with pytest.raises(UserError, match=r"got the classes g, q: take data.classes=\[g,q,t\]"):
        study(compose("study", asked))
