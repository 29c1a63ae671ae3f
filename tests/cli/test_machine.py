"""What the machine refuses is one sentence, and what the program does wrong keeps its traceback."""

from __future__ import annotations

import errno
import logging
import os
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from simulacra.cli.errors import one_sentence
from simulacra.cli.machine import as_sentences, told, whole_folder
from simulacra.cli.main import main
from simulacra.core import UserError
from simulacra.running import sample as command
from simulacra.running.train import finished


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ENOSPC, "x", "a/b"), "cannot use a/b: no space is left on the disk"),
        (OSError(errno.EROFS, "x", "a/b"), "cannot use a/b: the disk can only be read"),
        (OSError(errno.ENAMETOOLONG, "x", "a" * 300), "the name is too long"),
        (PermissionError(errno.EACCES, "x", "a"), "the permission is missing"),
        (IsADirectoryError(errno.EISDIR, "x", "a"), "it is a folder, not a file"),
        (NotADirectoryError(errno.ENOTDIR, "x", "a"), "a part of it is a file"),
        (OSError(errno.ELOOP, "x", "a"), "its links go in a circle"),
        (OSError(errno.ENOMEM, "x"), "batch_size"),
        (MemoryError("Unable to allocate 7.28 TiB for an array"), "batch_size"),
        (
            OSError(errno.EROFS, "x", "m/.o.hdf5.5bce98-13225-b386f359.part"),
            "use m/o.hdf5: the disk",
        ),
        (OSError(errno.EROFS, "x", "m/.o.hdf5.13225-b386f359.part"), "use m/o.hdf5: the disk"),
        (MemoryError(), "batch_size"),
        (RuntimeError("std::bad_alloc"), "batch_size"),
        (RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"), "batch_size"),
    ],
)
def test_a_failure_of_the_machine_is_one_sentence(error: BaseException, words: str) -> None:
    with pytest.raises(UserError) as found, as_sentences():
        raise error
    assert words in str(found.value)
    assert "\n" not in str(found.value)
    assert len(str(found.value)) < 500


@pytest.mark.parametrize(
    "error", [OSError("odd"), RuntimeError("shapes differ"), ValueError("no"), KeyError("a")]
)
def test_an_error_of_the_program_stays_what_it_is(error: Exception) -> None:
    assert told(error) is None
    with pytest.raises(type(error)) as found, as_sentences():
        raise error
    assert found.value is error


def test_what_torch_says_without_memory_is_understood() -> None:
    for size in (2**45, 2**62):
        with pytest.raises(UserError, match="batch_size"), as_sentences():
            torch.zeros(size)


def test_paths_that_cannot_be_are_one_sentence_of_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    os.symlink("loop", "loop")
    Path("file").write_text("x")
    for path in ("a" * 300, "loop", "file/x.hdf5", ".", "/proc/self/mem"):
        with pytest.raises(SystemExit) as stopped:
            main(["evaluate", "data=ds1_photons", f"reference={path}"])
        assert stopped.value.code == 1
        assert capsys.readouterr().err.count("\n") == 1, path


def test_memory_that_ends_in_a_command_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def much(config: object) -> None:
        torch.zeros(2**45)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(command, "load", much)
    with pytest.raises(SystemExit) as stopped:
        main(["sample", "checkpoint=a", "output=b.hdf5", "n=5"])
    assert stopped.value.code == 1
    assert "batch_size" in capsys.readouterr().err


def test_a_thread_that_finds_no_room_leaves_no_traceback(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    shown: list[BaseException | None] = []
    monkeypatch.setattr(threading, "excepthook", lambda ended: shown.append(ended.exc_value))

    def run(error: Exception) -> None:
        def work() -> None:
            raise error

        thread = threading.Thread(target=work)
        with one_sentence():
            thread.start()
            thread.join()

    fault = KeyError("a fault of the program")
    for error in (OSError(errno.ENOSPC, "x"), fault):
        run(error)
    assert shown == [fault]
    assert caplog.messages == ["a thread has stopped: cannot write: no space is left on the disk"]


def test_a_folder_is_filled_or_not_there(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"

    def half() -> None:
        folder.mkdir(parents=True)
        (folder / "half").write_text("x")
        raise UserError("full")

    with pytest.raises(UserError), whole_folder(folder):
        half()
    assert not (tmp_path / "a").exists()
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "kept").write_text("x")
    with pytest.raises(UserError), whole_folder(tmp_path / "old"):
        raise UserError("full")
    assert (tmp_path / "old" / "kept").is_file()


def test_a_tracker_that_fails_at_the_end_does_not_hide_why_the_run_failed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def full(status: str) -> None:
        raise OSError(errno.ENOSPC, "full", "metrics.csv")

    ended: list[str] = []
    loggers = [SimpleNamespace(finalize=full), SimpleNamespace(finalize=ended.append)]
    with pytest.raises(UserError, match="the first cause"), finished(loggers):  # type: ignore[arg-type]
        raise UserError("the first cause")
    assert ended == ["failed"]
    assert "metrics.csv" in caplog.text
    with pytest.raises(OSError, match="full"), finished(loggers):  # type: ignore[arg-type]
        logging.getLogger(__name__).info("nothing fails before the end")


def test_a_command_that_fails_at_its_start_leaves_no_run_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for words in (["reproduce"], ["train", "data.root=nowhere"]):
        with pytest.raises(SystemExit):
            main(words)
    assert not list(tmp_path.rglob(".hydra"))
