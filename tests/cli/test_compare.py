from __future__ import annotations

import csv
from pathlib import Path

import pytest

from simulacra.cli.compare import compare, names
from simulacra.core import UserError
from simulacra.evaluation.config import compose
from toy_runs import write_run


def asked(tmp_path: Path, *overrides: str) -> dict:
    return compare(compose("compare", [f"output={tmp_path / 'out'}", *overrides]))


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    folder = tmp_path / "outputs" / "train"
    write_run(folder / "day" / "a", {"test/classifier/boosted/auc": 0.6}, ms={1: 20.0, 100: 9.0})
    write_run(folder / "day" / "b", {"test/classifier/boosted/auc": 0.7}, ms={1: 10.0, 100: 1.0})
    write_run(folder / "day" / "c", {"test/classifier/boosted/auc": 0.8}, ms={1: 10.0, 100: 3.0})
    write_run(folder / "other" / "d", data="ild", model="wgan3d")
    (folder / "day" / "crashed").mkdir()
    return folder


def test_one_table_and_page_over_all_runs(
    tmp_path: Path, runs: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    outcome = asked(tmp_path, f"runs={runs}/*/*", "published=ds2")
    assert (outcome["runs"], outcome["front"]) == (4, 2)
    assert sorted(item.name for item in (tmp_path / "out").iterdir()) == [
        "compare.csv",
        "figures",
        "report.html",
    ]
    drawn = {item.name for item in (tmp_path / "out" / "figures").iterdir()}
    assert {"ds2_classifier-boosted-auc_ms_cpu_100.png", "ds2_fpd_ms_cpu_100.png"} <= drawn
    rows = list(csv.DictReader((tmp_path / "out" / "compare.csv").read_text().splitlines()))
    own = {row["run"]: row["pareto_front"] for row in rows if row["published"] == "False"}
    assert own == {"day/a": "True", "day/b": "True", "day/c": "False", "other/d": "False"}
    assert "1 directories without metrics.json left out" in caplog.text
    text = capsys.readouterr().out
    assert "day/b ★" in text
    assert "0.700 ± 0.011" in text
    assert "measured by the CaloChallenge on the public data" in " ".join(text.split())
    assert text.splitlines()[-1] == (
        f"wrote {tmp_path / 'out'}: 4 runs, on the Pareto front: day/a, day/b"
    )


def test_runs_are_named_by_what_tells_them_apart(tmp_path: Path) -> None:
    assert names([tmp_path / "x" / "a"]) == ["a"]
    assert names([tmp_path / "x" / "a", tmp_path / "x" / "b"]) == ["a", "b"]
    assert names([tmp_path / "x" / "a", tmp_path / "y" / "a"]) == ["x/a", "y/a"]
    assert names([tmp_path / "x", tmp_path / "x" / "sub"]) == ["x", "x/sub"]


def test_lists_hold_directories_and_patterns_each_run_once(tmp_path: Path, runs: Path) -> None:
    assert asked(tmp_path, f"runs=[{runs}/day/a,{runs}/*/*]")["runs"] == 4
    assert asked(tmp_path, f"runs={runs}/**")["runs"] == 4


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ([], "comparing needs runs=DIRECTORIES"),
        (["runs=nowhere"], "there is no directory nowhere"),
        (["runs=nowhere/*"], "no run matches nowhere/.*: nothing is there"),
        (["runs={runs}/day/crash*"], "no run matches .*: 1 directories hold no metrics.json"),
        (["runs={runs}/day/crashed"], "crashed holds no metrics.json"),
        (["runs={runs}/day/a", "published=ild"], "no published results of 'ild'"),
    ],
)
def test_bad_requests_are_refused(
    tmp_path: Path, runs: Path, overrides: list[str], message: str
) -> None:
    with pytest.raises(UserError, match=message) as found:
        asked(tmp_path, *(item.format(runs=runs) for item in overrides))
    assert "\n" not in str(found.value)
    assert not (tmp_path / "out").exists()
