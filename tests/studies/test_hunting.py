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
from simulacra.studies.anomaly.hunt import Hunt, Sides, behind
from simulacra.studies.anomaly.hunting import CwolaHunting
from simulacra.studies.anomaly.problem import is_signal, masses, within
from simulacra.studies.ratio import Ratio
from simulacra.tasks import folds

FORM = LhcoSearch()
CLASSIFIER = ["model=dctrgan", "model.optim.optimizer.lr=3e-3", "data.batch_size=500"]


def hunt(*shares: float) -> Hunt:
    return Hunt(Sides(Ratio([], 2, 1), 0.4), Spectrum([2.9, 6.0], 0.1, 13.0), shares)


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
    with pytest.raises(UserError, match="from a lower to a higher end"):
        CwolaHunting([3.3, 3.7], 0, [[3.7, 3.3]], hunt(0.1), None, 1, 0)
    with pytest.raises(UserError, match=r"one of the scan: got \[3.3, 3.7\], and \[3.1, 3.5\]"):
        CwolaHunting([3.3, 3.7], 0, [[3.1, 3.5]], hunt(0.1), None, 1, 0)
    with pytest.raises(UserError, match="two experiments or more, or of none"):
        CwolaHunting([3.3, 3.7], 0, [[3.3, 3.7]], hunt(0.1), None, 1, 1)


@pytest.mark.smoke
def test_a_hunt_finds_much_signal_by_classifiers_that_have_not_seen_what_they_score(
    tmp_path: Path,
) -> None:
    settings = [*CLASSIFIER, "trainer.max_epochs=4"]
    asked = [
        "study=cwola_hunting", "data=lhco_search", "logger=none", "study.replicas=1", "study.signal=600",
        "study.scan=[[3.3,3.7]]", "study.experiments=0", "study.hunt.shares=[1,0.05]",
        f"study.hunt.sides.ratio.settings={settings}", "study.hunt.sides.ratio.folds=2",
        f"study.reference.committee.settings={settings}", "study.reference.committee.members=1",
        "study.reference.committee.epochs=1", f"paths.run={tmp_path / 'run'}",
    ]  # fmt: skip
    found = study(compose("study", asked))
    assert found["study/hunted/0.05/significance"] > found["study/hunted/1/significance"] + 3
    assert found["study/supervised/0.05/significance"] > found["study/hunted/1/significance"] + 3
    assert found["study/supervised/1/p"] == found["study/hunted/1/p"]
    place = tmp_path / "run" / "replica_0"
    searched = FORM.read(place / "searched" / "window.h5")
    assert not bool(is_signal(FORM.spec, searched).any())
    mass = masses(FORM.spec, FORM.read(place / "window_0" / "beside" / "window.h5"))
    assert not bool(within(mass, (3.3, 3.7)).any())
    assert bool(within(mass, (2.9, 4.1)).all())
    joined = folds.load(place / "window_0" / "classifiers" / "joined" / "folds.yaml")
    assert isinstance(joined, folds.CrossFitted)
    fold = joined.fold_of(searched)
    for number, member in enumerate(joined.each):
        learnt = torch.cat(list(member.record.learnt.values()))
        own = torch.isin(row_hashes(searched), learnt)
        assert not bool(own[fold == number].any())
        assert bool(own[fold != number].any())
    signal = FORM.read(place / "signal" / "judged.h5")
    assert bool(is_signal(FORM.spec, signal).all())
