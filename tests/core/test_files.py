from __future__ import annotations

from pathlib import Path

import pytest

from simulacra.core import UserError
from simulacra.core.files import whole, write_table, write_text


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
