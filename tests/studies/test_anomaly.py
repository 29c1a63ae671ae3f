"""Searches: what is hidden and injected, and searches on few events."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from simulacra.cli.study import study
from simulacra.core import UserError
from simulacra.evaluation.config import compose
from simulacra.formats.lhco_search import LhcoSearch
from simulacra.studies.anomaly.cathode import reflected
from simulacra.studies.anomaly.control import Control
from simulacra.studies.anomaly.problem import hidden, injected, is_signal, masses, within
from simulacra.studies.anomaly.search import Anomaly, quotient
from simulacra.tasks import folds

FORM = LhcoSearch()
FLOW = "model=table_flow,model/size=tiny,model.optim.optimizer.lr=1e-2,data.batch_size=500"
CLASSIFIER = "model=dctrgan,data.batch_size=500,model.optim.optimizer.lr=3e-3"
SMALL = (
    "study.finders.cathode_fm=null", "study.finders.anode=null", "study.finders.r_anode=null",
    "study.finders.likelihood.epochs=2", "study.finders.cathode.epochs=2",
    f"study.finders.cathode.settings=[{FLOW},trainer.max_epochs=4]",
    f"study.finders.likelihood.settings=[{FLOW},trainer.max_epochs=4]",
    f"study.finders.cathode.committee={{settings:[{CLASSIFIER},trainer.max_epochs=4],members:1,epochs:2}}",
    f"study.finders.supervised.committee={{settings:[{CLASSIFIER},trainer.max_epochs=6],members:1,epochs:2}}",
    "study.finders.cathode.judged=false", "study.replicas=1", "study.signal=900",
    "logger=none", "data.limit=null",
)  # fmt: skip


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_signal_is_injected_until_so_many_lie_within_the_window() -> None:
    inside = torch.rand(1000, generator=generator()) < 0.7
    for number in (1, 50, int(inside.sum())):
        chosen = injected(inside, number, generator(1))
        assert int(inside[chosen].sum()) == number
        assert bool(inside[chosen[-1]])
        assert len(chosen.unique()) == len(chosen)
    assert len(injected(inside, 0, generator(1))) == 0
    share = inside[injected(inside, 300, generator(2))].double().mean()
    assert float(share) == pytest.approx(0.7, abs=0.07)
    assert not torch.equal(injected(inside, 50, generator(1)), injected(inside, 50, generator(2)))
    with pytest.raises(UserError, match="9999 signal events are to be injected"):
        injected(inside, 9999, generator())


def test_a_hidden_label_is_that_of_background_and_nothing_else_changes() -> None:
    batch = FORM.toy_rows(200, 0)
    found = hidden(FORM.spec, batch)
    assert 0 < int(is_signal(FORM.spec, batch).sum()) < 200
    assert not bool(is_signal(FORM.spec, found).any())
    assert torch.equal(found.x, batch.x)
    assert torch.equal(masses(FORM.spec, found), masses(FORM.spec, batch))
    assert within(torch.tensor([3.2, 3.3, 3.6, 3.7]), (3.3, 3.7)).tolist() == [
        False,
        True,
        True,
        False,
    ]


def test_masses_beyond_the_window_are_reflected_into_it() -> None:
    values = torch.tensor([3.28, 3.3, 3.5, 3.7, 3.75, 4.15])
    found = reflected(values, 3.3, 3.7)
    torch.testing.assert_close(found, torch.tensor([3.32, 3.3, 3.5, 3.7, 3.65, 3.35]))
    assert bool(within(found, (3.3, 3.7)).all())


def test_a_search_needs_a_window_and_methods() -> None:
    with pytest.raises(UserError, match=r"a lower to a higher end, got \[4, 3\]"):
        Anomaly([4, 3], 0, {}, None, 1, 25, 0.1, None)
    with pytest.raises(UserError, match="got none and supervised"):
        Anomaly([3, 4], 0, {"cathode": None}, "supervised", 1, 25, 0.1, None)
    with pytest.raises(UserError, match="two experiments or more"):
        Control(None, 1, 0.1)  # type: ignore[arg-type]
    pair = {"max_sic": 6.0, "max_sic/error": 0.6}, {"max_sic": 8.0, "max_sic/error": 0.0}
    assert quotient("a", *pair) == {"a": 0.75, "a/error": pytest.approx(0.075)}


@pytest.mark.smoke
def test_a_search_finds_much_signal_and_scores_nothing_that_it_has_learnt_from(
    tmp_path: Path,
) -> None:
    asked = ["study=anomaly", "data=lhco_search", *SMALL, "study.control=null"]
    found = study(compose("study", [*asked, f"paths.run={tmp_path / 'run'}"]))
    assert found["study/supervised/max_sic"] > 2
    assert found["study/cathode/max_sic"] > 1.3
    assert found["study/cathode/auc"] > 0.7
    assert found["study/problem/events/injected"] == 900
    assert found["study/cathode/over_supervised"] == pytest.approx(
        found["study/cathode/max_sic"] / found["study/supervised/max_sic"]
    )
    place = tmp_path / "run" / "replica_0"
    files = {name: FORM.read(place / "problem" / "files" / f"{name}.h5") for name in
             ("window", "sideband", "judged", "signal")}  # fmt: skip
    for name in ("window", "sideband"):
        assert not bool(is_signal(FORM.spec, files[name]).any())
    assert bool(within(masses(FORM.spec, files["window"]), (3.3, 3.7)).all())
    assert not bool(within(masses(FORM.spec, files["sideband"]), (3.3, 3.7)).any())
    made = FORM.read(place / "cathode" / "samples" / "learnt.h5")
    assert bool(within(masses(FORM.spec, made), (3.3, 3.7)).all())
    known = set(map(tuple, files["window"].x.tolist())) | set(
        map(tuple, files["sideband"].x.tolist())
    )
    assert not known & set(map(tuple, files["judged"].x.tolist()))
    ensemble = place / "cathode" / "learnt" / "joined" / "ensemble.yaml"
    assert [len(group) for group in folds.members(ensemble) or []] == [2]  # epochs
    learnt = folds.load(ensemble)
    with pytest.raises(UserError, match="are among those that this DCTRGAN was trained on"):
        learnt.applied(files["window"][:500])


@pytest.mark.smoke
def test_without_signal_p_values_are_those_of_chance(tmp_path: Path) -> None:
    finder = f"epochs:2,settings:[{FLOW},trainer.max_epochs=6]"
    committee = f"settings:[{CLASSIFIER},trainer.max_epochs=2],members:1,epochs:1"
    found = study(
        compose(
            "study",
            [
                "study=anomaly", "data=lhco_search", *SMALL, "study.finders.cathode=null",
                "study.finders.likelihood=null", "study.signal=0", "study.control.experiments=2",
                f"study.control.finder={{{finder},committee:{{{committee}}}}}",
                f"paths.run={tmp_path / 'run'}",
            ],
        )
    )  # fmt: skip
    assert 0 < found["study/null/ks"] <= 1
    assert all(0 < found[f"study/null/p/{k}"] < 1 for k in range(2))
    assert 0.4 < found["study/null/kept"] < 2.5
    assert found["study/problem/events/injected"] == 0
    files = tmp_path / "run" / "null" / "0" / "files"
    searched = (
        FORM.read(files / "sideband.h5").x.tolist() + FORM.read(files / "window.h5").x.tolist()
    )
    judged = FORM.read(files / "judged.h5")
    assert not bool(is_signal(FORM.spec, judged).any())
    assert abs(len(searched) - len(judged)) <= 1
    assert not set(map(tuple, searched)) & set(map(tuple, judged.x.tolist()))
