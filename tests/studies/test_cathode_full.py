"""The search in clouds: what classifiers of sets see, and that other finders see the same events."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from simulacra.cli.study import study
from simulacra.core import UserError
from simulacra.evaluation.config import compose
from simulacra.formats.lhco_clouds import LhcoClouds
from simulacra.formats.lhco_search import LhcoSearch
from simulacra.studies.anomaly.classifiers import SetNetworks, refuse_points
from simulacra.studies.anomaly.committee import Committee
from simulacra.studies.anomaly.problem import is_signal, masses, within

FORM, TABLE = LhcoClouds(), LhcoSearch()
WINDOW = (2.8, 3.3)
CLOUDS = ["model=epic_fm", "model/size=tiny", "data.batch_size=64", "trainer.max_epochs=2"]
SETS = [
    "model=dctrgan", "model/size=tiny", "classifier@model=epic", "model.calibration=null",
    "data.batch_size=64", "trainer.max_epochs=4", "model.optim.optimizer.lr=1e-2",
]  # fmt: skip
PLACES = ("cathode_full", "supervised_full")


def asked(events: Path, run: Path) -> list[str]:
    """A search on few events with small networks."""
    committees = [f"study.finders.{name}.classifier.committee" for name in PLACES]
    return [
        "study=cathode_full", "data=lhco_clouds", f"data.files.train=[{events}]", "logger=none",
        f"study.window={list(WINDOW)}", "study.signal=40", "study.least=5", "evaluation.events=100",
        f"study.finders.cathode_full.settings={CLOUDS}", "study.finders.cathode_full.epochs=1",
        "study.finders.cathode_full.oversampling=1",
        *(f"{place}.settings={SETS}" for place in committees),
        *(f"{place}.{count}=1" for place in committees for count in ("members", "epochs")),
        "study.finders.cathode=null", "study.finders.supervised.finder.classifier.members=2",
        f"paths.run={run}",
    ]  # fmt: skip


def test_networks_of_sets_see_nothing_that_is_given() -> None:
    found = SetNetworks(Committee([], 1, 1)).sees(FORM.spec)
    assert found == ["model.given=[m_jj,signal]", "model.sees.points.conditions=false"]


def test_boosted_trees_refuse_clouds() -> None:
    refuse_points(TABLE.spec)
    with pytest.raises(
        UserError, match="lhco_clouds has events of kind 'cloud': take set_networks"
    ):
        refuse_points(FORM.spec)


@pytest.mark.smoke
def test_a_search_in_clouds_stands_beside_one_in_a_table_of_the_same_events(tmp_path: Path) -> None:
    FORM.toy(tmp_path / "events.h5", 500, 0)
    found = study(compose("study", asked(tmp_path / "events.h5", tmp_path / "run")))
    assert found["study/supervised_full/auc"] > 0.75
    assert found["study/supervised/auc"] > 0.75
    assert found["study/problem/events/injected"] == 40
    assert found["study/cathode_full/max_sic"] > 0
    place = tmp_path / "run" / "replica_0"
    clouds = FORM.read(place / "problem" / "files" / "judged.hdf5")
    table = TABLE.read(place / "supervised" / "lhco_search" / "files" / "judged.hdf5")
    torch.testing.assert_close(masses(FORM.spec, clouds), masses(TABLE.spec, table))
    assert torch.equal(is_signal(FORM.spec, clouds), is_signal(TABLE.spec, table))
    made = FORM.read(next((place / "cathode_full" / "drawn").glob("*/generated.hdf5")))
    assert bool(within(masses(FORM.spec, made), WINDOW).all())
    assert not bool(is_signal(FORM.spec, made).any())
