from __future__ import annotations

import csv
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from simulacra.core import UserError
from simulacra.core.files import beside, private_folder, put, whole, write_table, write_text


def test_a_file_appears_when_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    with whole(path) as part:
        part.write_text("new")
        assert not path.exists()
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def _fail_half_way(path: Path, failure: type[BaseException]) -> None:
    with whole(path) as part:
        part.write_text("half")
        raise failure


@pytest.mark.parametrize("failure", [ValueError, KeyboardInterrupt, OSError])
def test_a_failure_leaves_the_earlier_file_and_nothing_else(tmp_path: Path, failure: type) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with pytest.raises((failure, UserError)):
        _fail_half_way(path, failure)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot write .*a.txt: No such file or directory"):
        write_text(tmp_path / "none" / "a.txt", "text")


def test_a_table_has_empty_cells_where_a_row_lacks_a_column(tmp_path: Path) -> None:
    write_table(tmp_path / "t.csv", ["a", "b"], [{"a": 1}, {"a": 2, "b": "x,y"}])
    assert (tmp_path / "t.csv").read_text().splitlines() == ["a,b", "1,", '2,"x,y"']


FORMULAS = [
    "=1+1",
    "+cmd|' /C calc'!A0",
    "-2+3",
    "@SUM(A1)",
    "\tx",
    "\rx",
    "\nx",
    "-",
    "+x",
    "＝1",
    "-1-1",
]


def test_a_spreadsheet_runs_no_cell_of_a_table(tmp_path: Path) -> None:
    plain = ["run", "a=b", "-1.5", "3e+7", "-.5", "", "2-3", "x@y", "'quoted"]
    rows = [{"=name": text} for text in (*FORMULAS, *plain)]
    write_table(tmp_path / "t.csv", ["=name"], rows)
    with (tmp_path / "t.csv").open(newline="", encoding="utf-8") as file:
        cells = [row[0] for row in csv.reader(file) if row]
    assert cells[0] == "'=name"
    assert cells[1 : len(FORMULAS) + 1] == [f"'{text}" for text in FORMULAS]
    assert cells[len(FORMULAS) + 1 :] == plain


def test_numbers_keep_their_signs(tmp_path: Path) -> None:
    write_table(tmp_path / "t.csv", ["a", "b", "c"], [{"a": -1, "b": -2.5, "c": float("-inf")}])
    assert (tmp_path / "t.csv").read_text().splitlines()[1] == "-1,-2.5,-inf"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_what_is_private_is_its_owners_from_the_first_byte_on(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        with whole(tmp_path / "a", private=True) as part:
            assert mode(part) == 0o600
            part.write_text("secret")
        write_text(tmp_path / "b", "public")
        private_folder(tmp_path / "x" / "y")
    finally:
        os.umask(before)
    assert mode(tmp_path / "a") == 0o600
    assert mode(tmp_path / "b") == 0o644
    assert mode(tmp_path / "x") == mode(tmp_path / "x" / "y") == 0o700


def test_files_and_the_names_of_files_are_on_disk_before_and_after_they_are_moved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[tuple[str, str]] = []
    fsync, replace = os.fsync, os.replace

    def synced(handle: int) -> None:
        done.append(("sync", os.path.basename(os.readlink(f"/proc/self/fd/{handle}"))))
        fsync(handle)

    def moved(old: Path, new: Path) -> None:
        done.append(("move", Path(old).name))
        replace(old, new)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", moved)
    write_text(tmp_path / "a.txt", "text")
    (first, part), (second, same), (third, folder) = done
    assert (first, second, third) == ("sync", "move", "sync")
    assert part == same != folder
    assert folder == tmp_path.name


def test_what_a_killed_process_left_of_a_file_goes_with_the_next(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys; from pathlib import Path; from simulacra.core.files import beside\n"
        "for name in ('a.txt', 'b.txt'):\n"
        "    beside(Path(sys.argv[1]) / name).write_text('half')\n"
        "folder = beside(Path(sys.argv[1]) / 'a.txt')\n"
        "folder.mkdir(); (folder / 'x').write_text('half')\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    assert len(list(tmp_path.iterdir())) == 3
    alive = beside(tmp_path / "a.txt")
    alive.write_text("of this process")
    elsewhere = tmp_path / alive.name.replace(alive.name.split(".")[3], "000000-1-00000000")
    elsewhere.write_text("of another machine")
    write_text(tmp_path / "a.txt", "text")
    left = {path.name for path in tmp_path.iterdir()}
    assert {alive.name, elsewhere.name, "a.txt"} < left
    assert len(left) == 4
    assert any(name.startswith(".b.txt.") for name in left)
    put(alive, tmp_path / "b.txt")
    assert {path.name for path in tmp_path.iterdir()} == {elsewhere.name, "a.txt", "b.txt"}
