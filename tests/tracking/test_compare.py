"""Runs side by side: what is read, what cannot be compared, the Pareto front, table and page."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest

from simulacra.core import UserError
from simulacra.tracking.compare import groups, pareto, write_csv
from simulacra.tracking.compare_page import plots, write_compare
from simulacra.tracking.compare_published import MARK, SETS, published_runs
from simulacra.tracking.compare_runs import Figure, Run, read_run, told_apart
from toy_runs import write_run


def test_a_run_is_read_with_errors_floors_times_and_means_over_layers(tmp_path: Path) -> None:
    asked = ["model=caloinn", "data=ds2", "trainer.max_epochs=3", "hydra.verbose=true"]
    folder = write_run(tmp_path / "a", overrides=asked, ms={1: 9.0, 100: 1.5}, view="cloud")
    write_run(folder, overrides=asked, ms={1: 4.0}, view="cloud", device="cuda", name="A Card")
    run = read_run(folder, "a")
    assert (run.data, run.model, run.size, run.level, run.events) == (
        "ds2+cloud",
        "caloinn",
        "tiny",
        "quick",
        3000,
    )
    assert run.overrides == ("trainer.max_epochs=3",)
    assert run.figures["fpd"] == Figure(0.0039, 0.0002, 0.0012, 5.5)
    mean = run.figures["separation/energy"]
    assert (mean.value, mean.floor) == (pytest.approx(0.03), pytest.approx(0.003))
    assert "separation/energy_layer_0" not in run.figures
    assert "fpd/z" not in run.figures
    assert {key: time.value for key, time in run.times.items()} == {
        ("cpu", 1): 9.0,
        ("cpu", 100): 1.5,
        ("cuda", 1): 4.0,
    }
    assert run.times["cpu", 1].error == pytest.approx(0.2 * 9.0)
    assert run.parameters == {"training": 170_052, "generation": 85_026}


def test_an_evaluation_without_a_configuration_is_read(tmp_path: Path) -> None:
    (tmp_path / "metrics.json").write_text(
        json.dumps({"test/w1_mean": 0.1, "test/fpd": float("nan")})
    )
    run = read_run(tmp_path, "evaluation")
    assert run.data == "unknown data"
    assert dict(run.figures) == {"w1_mean": Figure(0.1)}


@pytest.mark.parametrize(
    ("file", "contents", "message"),
    [
        ("metrics.json", "{", "metrics.json is damaged: Expecting property name"),
        ("metrics.json", "[1]", "holds no table of figures"),
        ("metrics.json", '{"test/fpd": "low"}', "'test/fpd' is no number"),
        ("config.yaml", "a: [", "config.yaml is damaged"),
        ("config.yaml", "a: &x [1]\nb: [*x, *x]", "config.yaml is damaged: it holds anchors"),
        ("config.yaml", "model: [1]", "config.yaml is damaged: 'model' is no mapping"),
        ("metrics.json", "[" * 100_000, "metrics.json is damaged"),
        ("metrics.json", '{"a": 1' + "0" * 400 + "}", "metrics.json is damaged: 'a' is no number"),
        ("metrics.json", '{"a": ' + "9" * 5000 + "}", "metrics.json is damaged"),
        ("config.yaml", "- a", "holds no dict"),
        ("benchmark.json", "{}", "is not what 'simulacra benchmark' writes"),
        ("benchmark.json", '{"device": 3}', "is not what 'simulacra benchmark' writes"),
    ],
)
def test_a_damaged_file_is_named(tmp_path: Path, file: str, contents: str, message: str) -> None:
    write_run(tmp_path)
    (tmp_path / file).write_text(contents)
    with pytest.raises(UserError, match=message.replace("[", r"\[")) as found:
        read_run(tmp_path, "a")
    assert str(tmp_path) in str(found.value)
    assert "\n" not in str(found.value)


def test_the_front_holds_what_no_other_point_dominates() -> None:
    points = [(a, float((7 * i) % 5)) for i, a in enumerate((0.9, 0.5, 0.7, 0.7, 0.6, 0.5, 0.8))]
    expected = [
        not any(q[0] <= p[0] and q[1] <= p[1] and (q[0] < p[0] or q[1] < p[1]) for q in points)
        for p in points
    ]
    assert pareto([*points, None]) == [*expected, False]
    assert 0 < sum(expected) < len(points)


def toy(name: str, auc: float, ms: float, data: str = "ds2", **fields: object) -> Run:
    figures = {"classifier/boosted/auc": Figure(auc), "time_per_event_ms": Figure(2 * ms)}
    return Run(name, "here", data, figures=figures, **fields)  # type: ignore[arg-type]


def test_data_sets_are_kept_apart() -> None:
    found = groups([toy("a", 0.6, 1.0), toy("b", 0.9, 2.0, "ild"), toy("c", 0.7, 2.0)])
    assert [(group.data, [run.name for run in group.runs]) for group in found] == [
        ("ds2", ["a", "c"]),
        ("ild", ["b"]),
    ]
    assert [group.front for group in found] == [(True, False), (False,)]


def test_an_auc_below_a_half_is_no_better_than_a_half() -> None:
    (group,) = groups([toy("a", 0.47, 2.0), toy("b", 0.5, 1.0)])
    assert group.front == (False, True)


def test_the_front_uses_the_time_that_most_runs_have() -> None:
    times = {("cpu", 1): Figure(9.0), ("cpu", 10_000): Figure(1.0)}
    runs = [
        toy("a", 0.6, 1.0, times=times),
        toy("b", 0.7, 1.0, times={("cpu", 1): Figure(2.0)}),
        toy("c", 0.5, 1.0),
    ]
    (group,) = groups(runs)
    assert group.time == ("cpu", 1)
    assert group.front == (True, True, False)
    assert group.fronts == "AUC boosted against time per event on CPU at batch size 1"


def test_a_run_judged_against_other_truth_is_not_on_the_front() -> None:
    gluon = toy("gluon", 0.6, 1, truth="g")
    runs = [toy("slow", 0.7, 9, truth="t"), gluon, toy("fast", 0.9, 2, truth="t")]
    assert groups(runs)[0].front == (True, False, True)
    assert groups([*runs, replace(gluon, name="top", truth="t")])[0].front[-1]


def test_an_auc_of_another_version_of_the_judge_is_flagged_and_not_ranked(tmp_path: Path) -> None:
    version = {"classifier/boosted/version": Figure(2.0)}
    new = [toy(name, auc, ms) for name, auc, ms in (("a", 0.6, 3.0), ("b", 0.7, 2.0))]
    new = [replace(run, figures={**run.figures, **version}) for run in new]
    (group,) = groups([*new, toy("old", 0.51, 1.0)])
    assert group.flags == ((), (), ("version 1 of the boosted judge",))
    assert group.front == (True, True, False)
    text = write_compare(tmp_path / "c.html", [group], []).read_text()
    assert "version 1 of the boosted judge" in text
    assert "<path d='M" in text  # the front of the plot, from a to b


def test_what_cannot_be_compared_is_flagged() -> None:
    usual = {"level": "quick", "events": 3000, "truth": "x", "machines": {"cpu": "A, 1 threads"}}
    odd = [
        {},
        {"level": "standard"},
        {"events": 500},
        {"truth": "y", "machines": {"cpu": "B, 1 threads"}},
        {"events": None, "level": "", "machines": {}},
    ]
    (group,) = groups(
        [toy(str(i), 0.6, 1.0, **{**usual, **one}) for i, one in enumerate([{}, *odd])]
    )
    assert group.flags == (
        (),
        (),
        ("level standard",),
        ("500 events",),
        ("other truth", "timed on other hardware"),
        (),
    )


@pytest.mark.parametrize("data", SETS)
def test_published_rows_have_geant4_as_their_floor(data: str) -> None:
    runs = published_runs(data)
    truth, *models = runs
    assert truth.name == "GEANT4"
    assert truth.figures["fpd"].floor is None
    assert len(models) >= 12
    for run, key in product(models, ("fpd", "kpd", "classifier/high/auc", "separation/ec_r")):
        assert run.published
        if key in run.figures:  # some cells of the paper's table are empty
            assert run.figures[key].floor == truth.figures[key].value
    assert sum("separation/energy" in run.figures for run in models) > 10
    assert all(run.parameters["training"] >= run.parameters["generation"] for run in models)


def test_published_numbers_are_those_of_the_paper() -> None:
    """CaloDREAM and CaloINN on data set 2, arXiv:2410.21611: FPD and KPD are quoted times 1000."""
    rows = {run.name: run for run in published_runs("ds2")}
    dream, inn = rows["CaloDREAM"], rows["CaloINN"]
    assert dream.figures["classifier/low/auc"].value == pytest.approx(0.531, abs=5e-4)
    assert dream.figures["classifier/high/auc"].value == pytest.approx(0.521, abs=5e-4)
    assert dream.figures["fpd"].value == pytest.approx(24.65e-3, abs=1e-5)
    assert dream.figures["fpd"].error == pytest.approx(1.03e-3, abs=1e-5)
    assert ("cuda", 10_000) not in dream.times
    assert inn.times["cuda", 100].value == pytest.approx(1.18, abs=0.005)
    assert inn.times["cpu", 1].value == pytest.approx(388, abs=0.5)
    with pytest.raises(UserError, match="no published results of 'ild': choose one of ds1_photons"):
        published_runs("ild")


def test_published_pixel_generators_are_rows_of_other_data(tmp_path: Path) -> None:
    """Distances between published histograms: no figure but those that we computed is printed."""
    rows = {run.name: run for run in published_runs("pxd")}
    assert list(rows) == ["IEA-GAN", "ContraGAN", "PE-GAN", "BigGAN-deep"]
    best = rows["IEA-GAN"].figures
    assert set(best) == {
        "w1/pixel_charge", "separation/pixel_charge", "sensor_occupancy", "separation/sensor_occupancy"
    }  # fmt: skip
    assert best["w1/pixel_charge"].value == pytest.approx(2.80, abs=0.005)
    assert best["sensor_occupancy"].value == pytest.approx(0.117, abs=0.0005)
    assert all(figure.floor is None for run in rows.values() for figure in run.figures.values())
    own = toy("mine", 0.7, 1.0, data="pxd")
    found = groups([own, *rows.values()])
    assert [group.published for group in found] == [False, True]
    assert {"sensor_occupancy", "w1/pixel_charge"} <= set(found[1].headlines)
    text = write_compare(tmp_path / "report.html", found, ["here"]).read_text(encoding="utf-8")
    assert found[1].mark in text
    assert "other data than the runs above" in found[1].mark
    assert MARK not in text, "that of the CaloChallenge"
    assert "FID" not in text


def test_the_table_of_values_holds_every_figure(tmp_path: Path) -> None:
    run = read_run(write_run(tmp_path / "a", ms={1: 9.0}), "a")
    rows = list(
        csv.DictReader(
            write_csv(tmp_path / "compare.csv", groups([run, *published_runs("ds2")]))
            .read_text()
            .splitlines()
        )
    )
    assert len(rows) == 1 + len(published_runs("ds2"))
    mine, truth = rows[0], rows[1]
    assert float(mine["fpd"]) == 0.0039
    assert float(mine["fpd/floor"]) == 0.0012
    assert float(mine["fpd/z"]) == 5.5
    assert float(mine["kpd"]) == -0.0001
    assert float(mine["ms_cpu_1"]) == 9.0
    assert (mine["published"], truth["published"]) == ("False", "True")
    assert mine["classifier/high/auc"] == ""
    assert float(truth["classifier/high/auc"]) == pytest.approx(0.49927)
    assert [item.name for item in tmp_path.iterdir() if item.is_file()] == ["compare.csv"]


def test_the_page_marks_published_results_and_needs_no_network(tmp_path: Path) -> None:
    run = read_run(write_run(tmp_path / "a<b>", ms={1: 9.0}), "a<b>")
    path = write_compare(tmp_path / "report.html", groups([run, *published_runs("ds2")]), ["here"])
    text = path.read_text(encoding="utf-8")
    assert "<h1>Comparison of 1 run</h1>" in text
    assert MARK in text
    assert "a&lt;b&gt;" in text
    assert "a<b>" not in text
    assert "http" not in text.replace("http-equiv", "")
    assert (
        "<td class='q3' data-v='0.0039'>0.00390 ± 0.00020<small>0.00120 · z 5.5</small></td>"
        in text
    )
    assert (
        text.count("<svg") == 2
    )  # FPD against time and against parameters: one run alone has no plot
    assert "data-column='ms_cpu_10000'" in text


def test_runs_judged_in_another_way_are_ranked_neither_in_the_table_nor_in_a_plot() -> None:
    usual = {"level": "quick", "events": 3000}
    runs = [toy("a", 0.7, 2.0, **usual), toy("b", 0.8, 1.0, **usual)]
    standard = toy("best", 0.5, 0.1, level="standard", events=3000)
    more = toy("better", 0.51, 0.2, level="quick", events=9000)
    (group,) = groups([*runs, standard, more])
    assert group.front == (True, True, False, False)
    (against_time, *_) = plots([group])
    assert {point.label: point.front for point in against_time.points} == {
        "a": True,
        "b": True,
        "best": False,
        "better": False,
    }
    (pair,) = groups([runs[0], standard])  # two evaluations of one model
    assert pair.front == (False, False)
    assert not any(point.front for plot in plots([pair]) for point in plot.points)


def test_other_hardware_counts_where_time_does() -> None:
    machines = [{"cpu": "A"}, {"cpu": "A"}, {"cpu": "B"}]
    runs = [
        toy(
            str(i),
            0.6 + 0.1 * i,
            1.0,
            machines=machine,
            times={("cpu", 1): Figure(3.0 - i)},
            parameters={"generation": 300 - 100 * i},
        )
        for i, machine in enumerate(machines)
    ]
    (group,) = groups(runs)
    assert group.front == (True, True, False)
    found = {plot.name: [point.front for point in plot.points] for plot in plots([group])}
    assert found["ds2_classifier-boosted-auc_ms_cpu_1"] == [True, True, False]
    assert found["ds2_classifier-boosted-auc_size"] == [True, True, True]


def test_published_models_are_drawn_against_time_without_a_benchmark_of_ones_own() -> None:
    own = replace(
        toy("mine", 0.6, 1.0), figures={"fpd": Figure(0.01), "time_per_event_ms": Figure(1)}
    )
    found = groups([own, *published_runs("ds2")])
    drawn = [plot for plot in plots(found) if "time per event on" in plot.x_label]
    assert drawn
    for plot in drawn:
        assert {point.kind for point in plot.points} == {"published"}
        assert len(plot.points) > 5


def test_jobs_of_a_sweep_are_named_by_what_was_asked_of_them() -> None:
    jobs = [
        toy("x/0", 0.6, 1.0, model="caloinn", overrides=("seed=0",)),
        toy("x/1", 0.6, 1.0, model="caloinn", overrides=("seed=1",)),
        toy("y/1", 0.6, 1.0, model="caloinn", overrides=("seed=1",)),
        toy("y/mine", 0.6, 1.0, model="caloinn", overrides=("seed=1",)),
        toy("3", 0.6, 1.0),
    ]
    assert [run.name for run in told_apart(jobs)] == [
        "caloinn seed=0",
        "caloinn seed=1 (x/1)",
        "caloinn seed=1 (y/1)",
        "y/mine",
        "3",
    ]


def test_long_overrides_are_folded_so_that_rows_stay_low(tmp_path: Path) -> None:
    long = tuple(f"model.part_{i}.setting=12345" for i in range(9))
    runs = [toy("a", 0.6, 1.0, overrides=long), toy("b", 0.7, 1.0, overrides=("seed=1",))]
    text = write_compare(tmp_path / "c.html", groups(runs), []).read_text()
    assert f"<details><summary>overrides</summary><small>{' '.join(long)}</small></details>" in text
    assert "<small>seed=1</small>" in text
    assert "<details><summary>overrides</summary><small>seed=1" not in text
