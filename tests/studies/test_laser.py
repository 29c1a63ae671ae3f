"""LaSeR from a training to judged events, at the smallest size."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from simulacra.cli.study import study
from simulacra.core import UserError
from simulacra.dynamics.hamiltonian import Hamiltonian
from simulacra.evaluation.config import compose
from simulacra.studies.laser import Laser
from simulacra.studies.latent import HamiltonianRefiner, LatentClassifier


def laser(**changes: object) -> Laser:
    settings: Mapping[str, object] = {
        "training": ["model=dctrgan"],
        "classifier": LatentClassifier([8], 1, 100, 1e-3),
        "refiner": HamiltonianRefiner(Hamiltonian(0.2, 0.1, 2), 4, True),
        "points": 100,
        "generator": ["model=table_flow"],
        **changes,
    }
    return Laser(**settings)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "changes", [{"generator": []}, {"checkpoint": Path("a.ckpt")}], ids=["none", "two"]
)
def test_there_is_one_generator(changes: Mapping[str, object]) -> None:
    with pytest.raises(UserError, match="say what is refined"):
        laser(**changes)


SMALL = (
    "study=laser",
    "data=toy_gaussians",
    "data.events={train: 400, test: 200}",
    'study.generator=["model=table_flow","model/size=tiny","trainer.max_epochs=1"]',
    'study.training=["model=dctrgan","model/size=tiny","trainer.max_epochs=1"]',
    "study.classifier.epochs=1",
    "study.points=200",
    "study.gaps={x:[-0.3,0.3]}",
    "study.replicas=2",
    "trainer.threads=1",
    "evaluation.replicas=2",
    "logger=none",
)
CHAINS = ("study.refiner.each=10", "study.refiner.chains.warmup=4")
FLOW = (
    "refiner@study.refiner=flow",
    "study.refiner.density.blocks=1",
    "study.refiner.learner.epochs=1",
)


@pytest.mark.smoke
@pytest.mark.parametrize("refiner", [CHAINS, FLOW], ids=["chains", "flow"])
def test_refined_events_are_judged_beside_the_generators_own(
    refiner: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run = tmp_path / "run"
    figures = study(compose("study", [*SMALL, *refiner, f"paths.run={run}"]))
    made = {path: path.stat().st_mtime_ns for path in run.rglob("stage.json")}
    study(compose("study", [*SMALL, *refiner, f"paths.run={run}"]))
    assert {path: path.stat().st_mtime_ns for path in run.rglob("stage.json")} == made
    for name in ("before", "weighted", "after"):
        assert 0 <= figures[f"study/{name}/classifier/boosted/auc"] <= 1
        assert f"study/{name}/w1_mean/floor" in figures
        assert 0 <= figures[f"study/gap/{name}"] <= 1
    assert figures["study/latent/width"] == 2
    assert 0 < figures["study/weight/effective"] <= 1
    refined = list((run / "refined").glob("refined*"))
    assert len(refined) == 1
    assert ("study/acceptance" in figures) == (refiner is CHAINS)
