from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from simulacra.core import UserError
from simulacra.studies.stages import MARKER, Made, Stages


def work(calls: list[str], name: str, value: float = 1.0) -> Callable[[Path], Made]:
    """Leaves a file and a figure, and remembers that it was called."""

    def done(folder: Path) -> Made:
        calls.append(name)
        (folder / "out.txt").write_text(name)
        return Made({"value": value}, {"out": folder / "out.txt"})

    return done


def test_a_stage_whose_marker_fits_is_not_done_again(tmp_path: Path) -> None:
    calls: list[str] = []
    for _ in range(2):
        stages = Stages(tmp_path)
        first = stages("a", "compute", {"x": (1, 2)}, work(calls, "a"))
        second = stages("parts/b", "compute", {"y": None}, work(calls, "b", 2.5))
        assert first.outputs["out"].read_text() == "a"
        assert (first.figures, second.figures) == ({"value": 1.0}, {"value": 2.5})
        assert list(stages.done) == ["a", "parts/b"]
    assert calls == ["a", "b"]


def test_a_marker_of_other_inputs_is_refused_in_one_sentence(tmp_path: Path) -> None:
    calls: list[str] = []
    asked = {"overrides": ["model=a", "seed=0"], "files": {"a.hdf5": "1"}}
    Stages(tmp_path)("a", "train", asked, work(calls, "a"))
    changes = {
        "overrides: seed=0 became seed=1": {**asked, "overrides": ["model=a", "seed=1"]},
        "overrides: in another order": {**asked, "overrides": ["seed=0", "model=a"]},
        "files: a.hdf5: 1 became 2": {**asked, "files": {"a.hdf5": "2"}},
        "files: b.hdf5: nothing became 1": {**asked, "files": {"a.hdf5": "1", "b.hdf5": "1"}},
    }
    for text, inputs in changes.items():
        with pytest.raises(UserError, match="made from other inputs") as raised:
            Stages(tmp_path)("a", "train", inputs, work(calls, "a"))
        assert text in str(raised.value)
        assert "\n" not in str(raised.value)
    with pytest.raises(UserError, match="kind: train became apply"):
        Stages(tmp_path)("a", "apply", asked, work(calls, "a"))
    assert calls == ["a"]
    assert (tmp_path / "a" / "out.txt").read_text() == "a"


def test_a_stage_that_fails_leaves_no_marker_and_the_earlier_ones_as_they_are(
    tmp_path: Path,
) -> None:
    calls: list[str] = []

    def fail(folder: Path) -> Made:
        (folder / "half.txt").write_text("half")
        raise KeyboardInterrupt

    stages = Stages(tmp_path)
    before = stages("a", "compute", {}, work(calls, "a")).folder / MARKER
    text = before.read_text()
    with pytest.raises(KeyboardInterrupt):
        stages("b", "compute", {}, fail)
    assert not (tmp_path / "b" / MARKER).exists()
    assert before.read_text() == text
    again = Stages(tmp_path)
    again("a", "compute", {}, work(calls, "a"))
    again("b", "compute", {}, work(calls, "b"))
    assert calls == ["a", "b"]
    assert not (tmp_path / "b" / "half.txt").exists()


@pytest.mark.parametrize("useful", [True, False])
def test_what_an_interrupted_attempt_left_is_kept_where_it_is_of_use(
    useful: bool, tmp_path: Path
) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "half.txt").write_text("half")
    seen = []

    def done(folder: Path) -> Made:
        seen.append((folder / "half.txt").is_file())
        return Made({}, {})

    Stages(tmp_path)("a", "train", {}, done, lambda folder: useful)
    assert seen == [useful]


def test_a_stage_whose_files_are_gone_is_done_again(tmp_path: Path) -> None:
    calls: list[str] = []
    Stages(tmp_path)("a", "compute", {}, work(calls, "a"))
    (tmp_path / "a" / "out.txt").unlink()
    Stages(tmp_path)("a", "compute", {}, work(calls, "a"))
    assert calls == ["a", "a"]


def test_inputs_are_known_by_their_content(tmp_path: Path) -> None:
    run, file = tmp_path / "run", tmp_path / "run" / "a.bin"
    run.mkdir()
    file.write_bytes(b"1")
    stages = Stages(run)
    first = stages.fingerprint([file, 3, None, {"k": str(run / "x")}])
    assert first[0]["file"] == "RUN/a.bin"
    assert first[1:] == [3, None, {"k": "RUN/x"}]
    file.write_bytes(b"2")
    second = stages.fingerprint([file])
    assert first[0]["sha256"] != second[0]["sha256"]
    named = stages.overrides([f"reference={file}", "seed=3", f"data.files.train=[{file}]"])
    assert named["files"] == {"RUN/a.bin": second[0]["sha256"]}
    assert named["overrides"] == ["reference=RUN/a.bin", "seed=3", "data.files.train=[RUN/a.bin]"]
    with pytest.raises(UserError, match="is not there"):
        stages.fingerprint(run / "nothing")
    with pytest.raises(TypeError, match="plain values"):
        stages.fingerprint(object())


def test_a_study_may_be_moved(tmp_path: Path) -> None:
    calls: list[str] = []
    old, new = tmp_path / "old", tmp_path / "new"
    for run in (old, new):
        stages = Stages(run)
        inputs = stages.overrides([f"checkpoint={run}/a/best.ckpt"])
        assert stages("b", "apply", inputs, work(calls, "b")).outputs["out"].parent == run / "b"
        if run == old:
            old.rename(new)
    assert calls == ["b"]


@pytest.mark.parametrize("name", ["", "A", "../a", "a//b", "/a", "figures", "figures/a", "a/"])
def test_names_that_cannot_be_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no name of a stage"):
        Stages(tmp_path)(name, "compute", {}, work([], "a"))


@pytest.mark.parametrize("pair", [("a", "a"), ("a", "a/b"), ("a/b", "a")])
def test_no_stage_lies_in_another(pair: tuple[str, str], tmp_path: Path) -> None:
    stages = Stages(tmp_path)
    stages(pair[0], "compute", {}, work([], "a"))
    with pytest.raises(ValueError, match="would lie in the folder"):
        stages(pair[1], "compute", {}, work([], "a"))


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"inputs": 3, "figures": {}, "outputs": {}}'])
def test_a_damaged_marker_is_one_sentence(text: str, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / MARKER).write_text(text)
    with pytest.raises(UserError, match="is damaged") as raised:
        Stages(tmp_path)("a", "compute", {}, work([], "a"))
    assert "\n" not in str(raised.value)


def test_a_marker_says_what_was_found(tmp_path: Path) -> None:
    Stages(tmp_path)("a", "compute", {"x": 1}, work([], "a"))
    found = json.loads((tmp_path / "a" / MARKER).read_text())
    assert found["inputs"] == {"kind": "compute", "x": 1}
    assert found["figures"] == {"value": 1.0}
    assert found["outputs"] == {"out": "out.txt"}
    assert found["seconds"] >= 0
