"""Searches: what is hidden and injected, and searches on few events."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from simulacra.cli.study import study
from simulacra.core import Batch, UserError
from simulacra.evaluation.config import compose
from simulacra.formats.lhco_search import LhcoSearch
from simulacra.studies.anomaly.cathode import reflected
from simulacra.studies.anomaly.classifiers import Trees, refuse_learnt
from simulacra.studies.anomaly.control import Control
from simulacra.studies.anomaly.problem import hidden, injected, is_signal, masses, within
from simulacra.studies.anomaly.search import Anomaly, gained
from simulacra.tasks import folds

FORM = LhcoSearch()
FLOW = [
    "model=table_flow",
    "model/size=tiny",
    "model.optim.optimizer.lr=1e-2",
    "data.batch_size=500",
]
CLASSIFIER = [
    "model=dctrgan",
    "model.calibration=null",
    "model.optim.optimizer.lr=3e-3",
    "data.batch_size=500",
]
BARE = ("study=anomaly", "data=lhco_search", "study.replicas=1", "logger=none")


def finders(*kept: str) -> list[str]:
    """Overrides that leave all other finders out."""
    names = (
        "anode",
        "r_anode",
        "cathode",
        "cathode_fm",
        "cwola_hunting",
        "likelihood",
        "supervised",
    )
    return [f"study.finders.{name}=null" for name in names if name not in kept]


def generator_of(place: str) -> list[str]:
    """A small generator of a finder."""
    return [f"{place}.settings={[*FLOW, 'trainer.max_epochs=4']}", f"{place}.epochs=2"]


def committee(place: str, epochs: int) -> list[str]:
    """One small classifier."""
    settings = [*CLASSIFIER, f"trainer.max_epochs={epochs}"]
    return [f"{place}.settings={settings}", f"{place}.members=1", f"{place}.epochs=2"]


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


def test_trees_find_a_signal_and_refuse_what_they_learn_from() -> None:
    data, background = FORM.toy_rows(1500, 1), FORM.toy_rows(1500, 2)
    shifted = replace(data, x=torch.cat([data.x[:, :1] + 2, data.x[:, 1:]], 1))
    mixed = Batch.cat([data[:1200], shifted[1200:]])
    new = torch.cat([FORM.toy_rows(400, 3).x, shifted.x[:400]])
    odds = Trees(2, 50, 0.1, 8).log_odds(mixed, background, new, 0)
    assert float((odds[400:, None] > odds[None, :400]).double().mean()) > 0.7
    heavy = replace(mixed, weight=torch.full((1500,), 3.0))
    again = Trees(2, 50, 0.1, 8).log_odds(heavy, background, new, 0)
    torch.testing.assert_close(again, odds)  # each sample counts as much as the other
    refuse_learnt(FORM.toy_rows(100, 4), (mixed, background))
    with pytest.raises(UserError, match="50 of 100 events are among those"):
        refuse_learnt(Batch.cat([background[:50], FORM.toy_rows(50, 5)]), (mixed, background))


def test_a_search_needs_a_window_and_methods() -> None:
    with pytest.raises(UserError, match=r"a lower to a higher end, got \[4, 3\]"):
        Anomaly([4, 3], 0, {}, None, 1, 25, 0.1, None)
    with pytest.raises(UserError, match="got none and supervised"):
        Anomaly([3, 4], 0, {"cathode": None}, "supervised", 1, 25, 0.1, None)
    with pytest.raises(UserError, match="two experiments or more"):
        Control(None, 1, 0.1)  # type: ignore[arg-type]
    pair = {"max_sic": 6.0, "max_sic/error": 0.6}, {"max_sic": 8.0, "max_sic/error": 0.0}
    assert gained("a", *pair) == {"a": 0.75, "a/error": pytest.approx(0.075)}


@pytest.mark.smoke
def test_a_search_finds_much_signal_and_scores_nothing_that_it_has_learnt_from(
    tmp_path: Path,
) -> None:
    networks = "study.finders.cathode.classifier.committee"
    asked = [
        *BARE, *finders("cathode", "likelihood", "supervised"), "study.signal=900",
        *generator_of("study.finders.cathode"), *generator_of("study.finders.likelihood"),
        "evaluation.events=500", "study.finders.supervised.classifier.members=2",
        "study/classifier@study.finders.cathode.classifier=networks", *committee(networks, 4),
        "study.control=null",
    ]  # fmt: skip
    found = study(compose("study", [*asked, f"paths.run={tmp_path / 'run'}"]))
    assert found["study/supervised/max_sic"] > 2
    assert found["study/cathode/max_sic"] > 1.3
    assert found["study/cathode/auc"] > 0.7
    for region in ("sideband", "window"):
        assert 0.4 < found[f"study/cathode/{region}/auc"] < 0.75
    assert found["study/problem/events/injected"] == 900
    assert found["study/cathode/over_supervised"] == pytest.approx(
        found["study/cathode/max_sic"] / found["study/supervised/max_sic"]
    )
    place = tmp_path / "run" / "replica_0"
    files = {name: FORM.read(place / "problem" / "files" / f"{name}.hdf5") for name in
             ("window", "sideband", "judged", "signal")}  # fmt: skip
    for name in ("window", "sideband"):
        assert not bool(is_signal(FORM.spec, files[name]).any())
    assert bool(within(masses(FORM.spec, files["window"]), (3.3, 3.7)).all())
    assert not bool(within(masses(FORM.spec, files["sideband"]), (3.3, 3.7)).any())
    made = FORM.read(place / "cathode" / "drawn" / "all" / "generated.hdf5")
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
    place = "study.control.finder"
    asked = [
        *BARE, *finders("likelihood"), *generator_of("study.finders.likelihood"), "study.signal=0",
        "study.reference=null", *generator_of(place), f"{place}.classifier.members=2",
        "study.control.experiments=2",
    ]  # fmt: skip
    found = study(compose("study", [*asked, f"paths.run={tmp_path / 'run'}"]))
    assert 0 < found["study/null/ks"] <= 1
    assert all(0 < found[f"study/null/p/{k}"] < 1 for k in range(2))
    assert 0.4 < found["study/null/kept"] < 2.5
    assert found["study/problem/events/injected"] == 0
    files = tmp_path / "run" / "null" / "0" / "files"
    searched = (
        FORM.read(files / "sideband.hdf5").x.tolist() + FORM.read(files / "window.hdf5").x.tolist()
    )
    judged = FORM.read(files / "judged.hdf5")
    assert not bool(is_signal(FORM.spec, judged).any())
    assert abs(len(searched) - len(judged)) <= 1
    assert not set(map(tuple, searched)) & set(map(tuple, judged.x.tolist()))
