"""Studies of unfolding on a toy whose answer is known."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from simulacra import data
from simulacra.cli.study import study
from simulacra.core import UserError
from simulacra.evaluation.config import compose
from simulacra.formats.base import Format
from simulacra.studies.bands import quotient
from simulacra.studies.ratio import DETECTOR, PARTICLE, Ratio, sight
from simulacra.studies.spectra import Spectrum, replicas
from simulacra.studies.unfolding_cases import check, mask, seen
from support import composed
from unfolding_toys import rows, spec

Run = Callable[..., tuple[Path, dict[str, float]]]
TOY = ["data=toy_unfolding", "data.toy.mean=0.3", "data.toy.sd=0.85", "data.events.test=1000"]
BARE = ["study.observables=[particle]", "study.replicas=1", "logger=none"]
CONTROL = "study/case@study.control=nothing"
ACCEPTANCE = ["data.toy.efficiency=0.7", "data.toy.fakes=0.1"]


def other(events: int, *changes: str) -> str:
    """The simulation of the toy."""
    size = f"data.events.train={events}"
    return f"study.case.simulation={['data=toy_unfolding', 'data.toy.mean=0.0', size, *changes]}"


METHODS = ("omnifold", "cinn", "cfm", "otus", "bayes", "factors")


@pytest.fixture
def run_study(tmp_path: Path) -> Run:
    """Run a study of unfolding with some of the methods; the run directory and the figures."""

    def run(methods: tuple[str, ...], *overrides: str) -> tuple[Path, dict[str, float]]:
        left_out = [f"study.methods.{name}=null" for name in METHODS if name not in methods]
        bare = [] if CONTROL in overrides else ["study.control=null"]
        asked = ["study=unfolding", *TOY, "study/case=gaussian", *BARE, *bare, *left_out]
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        return folder, study(compose("study", [*asked, *overrides, f"paths.run={folder}"]))

    return run


def form(*changes: str) -> Format:
    return data.build(composed("data", *TOY, *changes)).format


def test_a_histogram_is_unfolded_with_errors_from_replicas(run_study: Run) -> None:
    run, found = run_study(("bayes",), "data.events.train=3000", "study.replicas=2")
    assert found["study/before/w1_mean"] > 0.25
    assert found["study/bayes/w1_mean"] < 0.4 * found["study/before/w1_mean"]
    assert found["study/bayes/gain"] == pytest.approx(
        found["study/before/w1_mean"] / found["study/bayes/w1_mean"]
    )
    assert 0 < found["study/bayes/w1_mean/error"] < 0.05
    assert found["study/bayes/w1_mean/floor"] < 0.1
    assert abs(found["study/bayes/mean/particle"] - 0.3) < 0.06
    assert abs(found["study/bayes/sd/particle"] - 0.85) < 0.08
    page = (run / "report.html").read_text()
    assert "<summary>bayes/replica_1" in page


@pytest.mark.smoke
def test_iterations_are_nearer_than_factors_and_a_null_test_stays_at_its_floor(
    run_study: Run,
) -> None:
    _, found = run_study(("bayes", "factors"), "data.events.train=6000", CONTROL)
    assert found["study/bayes/w1_mean"] < found["study/factors/w1_mean"]
    assert found["study/null/bayes/w1_mean"] < 0.08
    assert found["study/null/bayes/w1_mean/floor"] < 0.08


@pytest.mark.smoke
def test_what_is_measured_holds_nothing_of_its_particle_level(run_study: Run) -> None:
    run, _ = run_study(
        ("bayes",), "data.events.train=3000", "study/case=stress", "study.case.observable=particle"
    )
    files = {name: form().read(run / "problem" / "files" / f"{name}.h5") for name in
             ("data", "simulation", "truth", "independent")}  # fmt: skip
    measured, simulated, truth = (files[name] for name in ("data", "simulation", "truth"))

    def together(batch) -> float:
        return float(
            torch.corrcoef(torch.stack([batch.x[:, 0], batch.cond["detector"][:, 0]]))[0, 1]
        )

    assert abs(together(measured)) < 0.1
    assert together(simulated) > 0.8
    assert simulated.weight is None or bool((simulated.weight == 1).all())
    assert torch.equal(measured.weight, truth.weight)
    assert torch.equal(measured.x.sort(0).values, truth.x.sort(0).values)
    z = truth.x[:, 0]
    slope = (truth.weight.log()[1:] - truth.weight.log()[0]) / (z[1:] - z[0])
    torch.testing.assert_close(slope, torch.full_like(slope, 0.8 / 0.85), rtol=0.05, atol=1e-3)
    assert not set(z.tolist()) & set(simulated.x[:, 0].tolist())
    assert torch.equal(files["independent"].x, simulated.x)


@pytest.mark.smoke
def test_fakes_and_losses_are_corrected_for(run_study: Run) -> None:
    run, found = run_study(
        ("bayes",), "data.events.train=8000", *ACCEPTANCE, other(20000, *ACCEPTANCE)
    )
    assert found["study/bayes/w1_mean"] < 0.4 * found["study/before/w1_mean"]
    measured = form(*ACCEPTANCE).read(run / "problem" / "files" / "data.h5")
    truth = form(*ACCEPTANCE).read(run / "problem" / "files" / "truth.h5")
    assert bool((measured.event["detected"] == 1).all())
    assert bool((truth.event["genuine"] == 1).all())
    with pytest.raises(UserError, match="an unfolder draws for events that have both levels"):
        run_study(
            ("bayes", "cinn"), "data.events.train=8000", *ACCEPTANCE, other(20000, *ACCEPTANCE)
        )


@pytest.mark.smoke
def test_what_cannot_be_unfolded_is_refused_in_one_sentence(run_study: Run) -> None:
    with pytest.raises(UserError, match="at least one method"):
        run_study(())
    with pytest.raises(UserError, match=r"there are no observables \['mult'\]: there are particle"):
        run_study(("bayes",), "data.events.train=300", "study.observables=[mult]")
    with pytest.raises(UserError, match="unfolding needs a table whose conditions are"):
        check(spec().with_(conditions=()))
    with pytest.raises(UserError, match="two folds or more, got 1"):
        Ratio([], 1, 1)
    with pytest.raises(UserError, match="2 features and 1 conditions"):
        seen(spec().with_(conditions=spec().conditions[:1]), rows(3))


def test_a_distance_is_in_standard_deviations_and_its_error_that_of_the_events() -> None:
    g = torch.Generator().manual_seed(0)
    truth = Spectrum(3 * torch.randn(4000, generator=g).double(), torch.ones(4000).double())
    found = replicas(truth, Spectrum(truth.values + 1.5, truth.weight), 0)
    assert float(found[0]) == pytest.approx(0.5, rel=0.05)
    assert 0.5 < float(found[1:].std()) / math.sqrt(2 / 4000) < 2
    assert quotient((4.0, 0.4), (2.0, 0.0)) == (2.0, pytest.approx(0.2))


def test_a_missing_role_means_that_every_event_has_the_level() -> None:
    assert bool(mask(spec(), rows(4), "genuine").all())


def test_classifiers_look_at_one_level_alone() -> None:
    assert sight(spec(), DETECTOR, None)[2:] == [
        "model.sees.rows.features=[]", "model.sees.rows.given=[a_seen,b_seen]"
    ]  # fmt: skip
    assert sight(spec(), PARTICLE, {"b": "b_seen"})[2:] == [
        "model.sees.rows.features=[b]", "model.sees.rows.given=[]"
    ]  # fmt: skip


def drawn(run_study: Run, *overrides: str) -> dict[str, float]:
    """Figures of a small invertible network."""
    settings = ["model=cinn_unfolding", "model/size=tiny", "data.batch_size=64"]
    asked = ["data.events.train=4000", "trainer.max_epochs=3", "study.methods.cinn.ratio.folds=2"]
    trained = f"study.methods.cinn.settings={settings}"
    return run_study(("cinn",), *asked, other(4000), trained, *overrides)[1]


@pytest.mark.smoke
def test_unfolders_are_trained_and_iterated(run_study: Run) -> None:
    found = drawn(run_study, "study.methods.cinn.iterations=2")
    assert found["study/cinn/w1_mean"] < found["study/before/w1_mean"]
    assert found["study/cinn/iteration_2/w1_mean"] == pytest.approx(found["study/cinn/w1_mean"])


@pytest.mark.smoke
def test_the_posterior_of_unfolders_is_ranked(run_study: Run) -> None:
    found = drawn(run_study, "study.methods.cinn.iterations=1", CONTROL)
    assert abs(found["study/null/cinn/coverage/particle"] - 0.683) < 0.2
    assert found["study/null/cinn/coverage/particle/floor"] == pytest.approx(0.6827, abs=1e-3)


@pytest.mark.smoke
def test_omnifold_unfolds_losses_and_fakes_with_cross_fitted_weights(run_study: Run) -> None:
    settings = ["model=dctrgan", "data.batch_size=250", "model.optim.optimizer.lr=5e-3"]
    _, found = run_study(
        ("omnifold",), "data.events.train=6000", *ACCEPTANCE, other(8000, *ACCEPTANCE),
        "trainer.max_epochs=6", f"study.methods.omnifold.ratio.settings={settings}",
        "study.methods.omnifold.iterations=2", "study.methods.omnifold.ratio.folds=2",
    )  # fmt: skip
    assert found["study/omnifold/w1_mean"] < 0.4 * found["study/before/w1_mean"]
    assert found["study/omnifold/detector/0/auc"] > 0.55
    assert found["study/omnifold/detector/1/auc"] < found["study/omnifold/detector/0/auc"]
    assert 0.3 < found["study/omnifold/weight/effective"] < 1
