"""CWoLa hunting: cuts, cross-fitting and a hunt on few events."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from simulacra.cli.study import study
from simulacra.core import UserError
from simulacra.core.rows import row_hashes
from simulacra.evaluation.config import compose
from simulacra.formats.lhco_search import LhcoSearch
from simulacra.metrics.search.bump import Spectrum
from simulacra.studies.anomaly.classifiers import Trees
from simulacra.studies.anomaly.hunt import Hunt, behind, near
from simulacra.studies.anomaly.hunting import CwolaHunting
from simulacra.studies.anomaly.problem import is_signal, masses, within

FORM = LhcoSearch()


def hunt(*shares: float, folds: int = 2) -> Hunt:
    return Hunt(Trees(1, 10, 0.1, 8), folds, 0.4, Spectrum([2.9, 6.0], 0.1, 13.0), shares)


def test_a_cut_keeps_the_same_share_beside_the_window_in_each_fold() -> None:
    generator = torch.Generator().manual_seed(0)
    fold = torch.arange(4000) % 2
    score = torch.rand(4000, generator=generator) + 10 * fold  # folds on scales of their own
    beside = torch.rand(4000, generator=generator) < 0.8
    score[~beside] += 0.5
    kept = behind(score, beside, fold, 0.1)
    for number in range(2):
        own = fold == number
        assert float(kept[own & beside].double().mean()) == pytest.approx(0.1, abs=0.003)
        assert float(kept[own & ~beside].double().mean()) == pytest.approx(0.6, abs=0.06)
    assert bool(behind(score, beside, fold, 1).all())


def test_a_hunt_needs_cuts_and_windows() -> None:
    with pytest.raises(UserError, match=r"above 0 and up to 1, got \[0.1, 2\]"):
        hunt(0.1, 2)
    with pytest.raises(UserError, match="two folds or more, got 1"):
        hunt(0.1, folds=1)
    with pytest.raises(UserError, match="from a lower to a higher end"):
        CwolaHunting([3.3, 3.7], 0, [[3.7, 3.3]], hunt(0.1), None, 1, 0)
    with pytest.raises(UserError, match=r"one of the scan: got \[3.3, 3.7\], and \[3.1, 3.5\]"):
        CwolaHunting([3.3, 3.7], 0, [[3.1, 3.5]], hunt(0.1), None, 1, 0)
    with pytest.raises(UserError, match="two experiments or more, or of none"):
        CwolaHunting([3.3, 3.7], 0, [[3.3, 3.7]], hunt(0.1), None, 1, 1)


def test_what_is_learnt_from_lies_on_either_side_of_the_window() -> None:
    mass = torch.tensor([2.8, 3.0, 3.3, 3.6, 3.7, 4.0, 4.2])
    assert near(mass, (3.3, 3.7), 0.4).tolist() == [False, True, False, False, True, True, False]


@pytest.mark.smoke
def test_a_hunt_finds_much_signal_by_classifiers_that_have_not_seen_what_they_score(
    tmp_path: Path,
) -> None:
    asked = [
        "study=cwola_hunting", "data=lhco_search", "logger=none", "study.replicas=1", "study.signal=600",
        "study.scan=[[3.3,3.7]]", "study.experiments=2", "study.hunt.shares=[1,0.05]",
        "study.hunt.classifier.members=2", "study.hunt.folds=2", f"paths.run={tmp_path / 'run'}",
    ]  # fmt: skip
    found = study(compose("study", asked))
    assert found["study/hunted/0.05/significance"] > found["study/hunted/1/significance"] + 3
    assert found["study/supervised/0.05/significance"] > found["study/hunted/1/significance"] + 3
    assert found["study/supervised/1/p"] == found["study/hunted/1/p"]
    assert all(0 < found[f"study/null/0.05/p/{k}"] < 1 for k in range(2))
    assert 0 < found["study/null/0.05/ks"] <= 1
    place = tmp_path / "run" / "replica_0"
    searched = FORM.read(place / "searched" / "window.hdf5")
    assert not bool(is_signal(FORM.spec, searched).any())
    seen: list[torch.Tensor] = []
    for number in range(2):
        inside, beside, own = (
            FORM.read(place / "window_0" / "folds" / f"{name}_{number}.hdf5")
            for name in ("inside", "beside", "searched")
        )
        learnt = torch.cat([row_hashes(inside), row_hashes(beside)])
        assert not bool(torch.isin(row_hashes(own), learnt).any())
        assert bool(within(masses(FORM.spec, inside), (3.3, 3.7)).all())
        assert bool(near(masses(FORM.spec, beside), (3.3, 3.7), 0.4).all())
        seen.append(row_hashes(own))
    assert torch.equal(torch.cat(seen).sort().values, row_hashes(searched).sort().values)
    signal = FORM.read(place / "signal" / "judged.hdf5")
    assert bool(is_signal(FORM.spec, signal).all())
