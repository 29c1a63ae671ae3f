"""The table of logged figures: it grows at its end, and survives what may happen to it."""

from __future__ import annotations

import csv
import errno
import os
from pathlib import Path

import pytest

from simulacra.core import UserError
from simulacra.tracking import growing
from simulacra.tracking.csv import CSVTracker


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_table_has_one_row_per_step_and_all_columns(tmp_path: Path) -> None:
    tracker = CSVTracker(str(tmp_path))
    tracker.log_metrics({"train/loss": 1.5}, step=0)
    tracker.log_metrics({"val/w1_mean": 0.25}, step=0)
    tracker.log_metrics({"train/loss": 0.5}, step=10)
    tracker.finalize("success")
    assert rows(tmp_path) == [
        {"step": "0", "train/loss": "1.5", "val/w1_mean": "0.25"},
        {"step": "10", "train/loss": "0.5", "val/w1_mean": ""},
    ]


def test_a_resumed_table_forgets_what_came_after_the_checkpoint(tmp_path: Path) -> None:
    first = CSVTracker(str(tmp_path))
    for step in (0, 10, 20):
        first.log_metrics({"train/loss": float(step)}, step=step)
    first.save()
    second = CSVTracker(str(tmp_path))
    second.begin(tmp_path, 10)
    second.log_metrics({"train/loss": -1.0}, step=11)
    second.save()
    assert [(row["step"], row["train/loss"]) for row in rows(tmp_path)] == [
        ("0", "0.0"),
        ("10", "10.0"),
        ("11", "-1.0"),
    ]


def test_a_table_is_a_file_of_its_own(tmp_path: Path) -> None:
    CSVTracker(str(tmp_path)).table("test/observables", ["observable", "w1"], [["e_tot", 0.5]])
    with (tmp_path / "tables" / "test_observables.csv").open(newline="") as file:
        assert list(csv.DictReader(file)) == [{"observable": "e_tot", "w1": "0.5"}]


def log(tracker: CSVTracker, step: int, **values: float) -> None:
    tracker.log_metrics(values, step)
    tracker.save()


def steps(folder: Path) -> list[int]:
    return [int(row["step"]) for row in rows(folder)]


def test_figures_of_one_step_share_a_row_while_it_is_written(tmp_path: Path) -> None:
    tracker = CSVTracker(str(tmp_path))
    log(tracker, 0, loss=1.25, val=0.5)
    log(tracker, 9, loss=100.0)
    log(tracker, 9, loss=2.0, val=3.0)  # shorter than what it replaces
    log(tracker, 19, loss=3.0)
    assert rows(tmp_path) == [
        {"step": "0", "loss": "1.25", "val": "0.5"},
        {"step": "9", "loss": "2.0", "val": "3.0"},
        {"step": "19", "loss": "3.0", "val": ""},
    ]


def test_late_figures_find_their_row(tmp_path: Path) -> None:
    tracker = CSVTracker(str(tmp_path))
    for step in (0, 10, 20):
        log(tracker, step, a=float(step), b=-1.0)
    log(tracker, 10, a=-2.0)
    log(tracker, 5, late=-3.0)
    log(tracker, 30, a=4.0)
    assert [tuple(row.values()) for row in rows(tmp_path)] == [
        ("0", "0.0", "-1.0", ""),
        ("5", "", "", "-3.0"),
        ("10", "-2.0", "-1.0", ""),
        ("20", "20.0", "-1.0", ""),
        ("30", "4.0", "", ""),
    ]


def test_a_save_writes_no_more_the_longer_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[Path] = []
    whole = growing.write_table

    def counted(path: Path, *arguments: object) -> None:
        written.append(path)
        whole(path, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(growing, "write_table", counted)
    tracker = CSVTracker(str(tmp_path))
    sizes = []
    for step in range(400):
        before = tracker.path.stat().st_size if step else 0
        log(tracker, step, loss=0.5)
        if step % 50 == 49:
            log(tracker, step, val=0.25)
        sizes.append(tracker.path.stat().st_size - before)
    assert len(written) == 2  # the first row, and the first validation
    assert max(sizes[60:]) < 20
    assert steps(tmp_path) == list(range(400))


def test_names_that_spreadsheets_would_run_stay_the_same_column(tmp_path: Path) -> None:
    tracker = CSVTracker(str(tmp_path))
    tracker.log_metrics({"=1+1": 1.0}, 0)
    tracker.save()
    again = CSVTracker(str(tmp_path))
    again.begin(tmp_path, 0)
    again.log_metrics({"=1+1": -2.0}, 1)
    again.save()
    assert rows(tmp_path) == [{"step": "0", "'=1+1": "1.0"}, {"step": "1", "'=1+1": "-2.0"}]


@pytest.mark.parametrize("cut", [1, 3, 7])
def test_a_half_written_last_row_is_dropped_on_resume(cut: int, tmp_path: Path) -> None:
    tracker = CSVTracker(str(tmp_path))
    for step in (0, 10, 20):
        log(tracker, step, loss=step / 8)
    whole = tracker.path.read_bytes()
    tracker.path.write_bytes(whole[:-cut])
    again = CSVTracker(str(tmp_path))
    again.begin(tmp_path, 20)
    assert steps(tmp_path) == [0, 10]
    log(again, 20, loss=2.5)
    log(again, 30, loss=-0.5, val=1.0)
    assert [row["loss"] for row in rows(tmp_path)] == ["0.0", "1.25", "2.5", "-0.5"]


def test_nothing_is_lost_or_twice_wherever_a_run_was_killed(tmp_path: Path) -> None:
    """The file after every possible number of bytes of its last entries, resumed from step 20."""
    tracker = CSVTracker(str(tmp_path / "whole"))
    for step in (0, 10, 20):
        log(tracker, step, loss=step / 8, val=1.0)
    safe = tracker.path.stat().st_size
    for step in (30, 40):
        log(tracker, step, loss=step / 8)
    expected, data = rows(tmp_path / "whole"), tracker.path.read_bytes()
    for end in range(safe, len(data) + 1):
        folder = tmp_path / str(end)
        folder.mkdir()
        (folder / "metrics.csv").write_bytes(data[:end])
        again = CSVTracker(str(folder))
        again.begin(folder, 20)
        for step in (30, 40):
            log(again, step, loss=step / 8)
        assert rows(folder) == expected


@pytest.mark.parametrize("text", ["", "st", "step,lo"])
def test_a_table_that_was_hardly_begun_is_begun_again(text: str, tmp_path: Path) -> None:
    (tmp_path / "metrics.csv").write_text(text)
    tracker = CSVTracker(str(tmp_path))
    tracker.begin(tmp_path, 5)
    log(tracker, 6, loss=1.0)
    assert rows(tmp_path) == [{"step": "6", "loss": "1.0"}]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("epoch,loss\n1,2\n", "line 1: a head that begins with 'step'"),
        ("step,loss,loss\n1,2,3\n", "line 1"),
        ("\n1,2\n", "line 1"),
        ("step,loss\n0,1\n1,2,3\n4,5\n", "line 3: 2 cells are expected, it has 3"),
        ("step,loss\n0,1\n\n2,1\n", "line 3"),
        ("step,loss\n0,one\n", "line 2: could not convert .*'one'"),
        ("step,loss\n1.5,1\n", "line 2"),
        ("step,loss\n5,1\n5,1\n", "line 3: step 5 comes after step 5"),
        ("\x00\x00\x00\n", "line 1"),
    ],
)
def test_what_is_no_table_of_figures_is_refused(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "metrics.csv").write_text(text)
    with pytest.raises(UserError, match=rf"metrics\.csv is no table of figures \({said}.*move it"):
        CSVTracker(str(tmp_path)).begin(tmp_path, 9)
    assert (tmp_path / "metrics.csv").read_text() == text


def test_a_table_that_is_deleted_while_it_grows_is_begun_again(tmp_path: Path) -> None:
    tracker = CSVTracker(str(tmp_path))
    log(tracker, 0, loss=1.0)
    tracker.path.unlink()
    log(tracker, 1, loss=2.0)
    assert steps(tmp_path) == [1]


def test_a_full_disk_leaves_whole_rows_and_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracker = CSVTracker(str(tmp_path))
    for step in (0, 10):
        log(tracker, step, loss=1.0)
    opened = Path.open

    class Full:
        def __init__(self, path: Path) -> None:
            self.file = opened(path, "r+b", buffering=0)

        def __enter__(self) -> Full:
            return self

        def __exit__(self, *_: object) -> None:
            self.file.close()

        def seek(self, place: int) -> None:
            self.file.seek(place)

        def write(self, data: bytes) -> int:
            self.file.write(data[:3])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", lambda path, *_, **__: Full(path))
        with pytest.raises(UserError, match=r"cannot write .*metrics\.csv: No space left"):
            log(tracker, 20, loss=2.0)
    assert steps(tmp_path) == [0, 10]
    tracker.save()
    assert steps(tmp_path) == [0, 10, 20]
