"""Signals while a file is written: the writer stops when it can, and leaves nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from simulacra.core import signals
from simulacra.core.signals import Interrupted
from simulacra.data.base import EventDataModule
from simulacra.formats import hdf5_writer
from simulacra.formats.base import Writer
from simulacra.running.signals import interruptible

PLACES = {
    "ds1_photons": "out.hdf5",
    "ild_cloud": "out.h5",
    "jetnet30": "jets.hdf5",
    "jetclass": "jets.root",
    "pxd_small": "hits.h5",
    "pxd": "images",
    "table": "rows.hdf5",
    "table csv": "rows.csv",
    "table parquet": "rows.parquet",
}
LARGE = {place: [pytest.mark.grid] if place in ("pxd", "jetclass") else [] for place in PLACES}
"""Marks of places whose files take long to make."""


@pytest.fixture(autouse=True)
def listening() -> Iterator[None]:
    """Python's own answer to Ctrl-C, which a process started in the background does not have."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def write(writer: Writer, events: EventDataModule, times: int) -> None:
    with interruptible(), writer:
        for _ in range(times):
            writer.append(events.native(events.batch(3)))


def send(number: int) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize(
    ("place", "method"),
    [
        pytest.param(place, method, marks=LARGE[place] if method != "_append" else [])
        for place in PLACES
        for method in ("_open", "_append", "_close")
    ],
)
def test_nothing_is_left_of_a_file_whose_writing_is_interrupted(
    place: str,
    method: str,
    toy: Callable[..., EventDataModule],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    events = toy(place.split()[0], None)
    writer = events.format.writer(tmp_path / PLACES[place], {"made": "here"})
    seen: list[str] = []
    inner = getattr(type(writer), method)

    def interrupted(self: Writer, *arguments: Any) -> None:
        if not seen:
            send(signal.SIGTERM)
        inner(self, *arguments)  # what is being done is done to its end
        seen.append(method)

    monkeypatch.setattr(type(writer), method, interrupted)
    with pytest.raises(Interrupted) as stopped:
        write(writer, events, 2)
    assert stopped.value.code == 128 + signal.SIGTERM
    assert seen == [method]
    left = sorted(item.name for item in tmp_path.iterdir())
    assert not [name for name in left if name.startswith(".")]
    assert bool(left) == (method == "_close")  # a file that is complete appears


@pytest.mark.parametrize("place", [pytest.param(place, marks=LARGE[place]) for place in PLACES])
def test_what_a_killed_writer_left_goes_with_the_next_file_of_that_name(
    place: str,
    toy: Callable[..., EventDataModule],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    events = toy(place.split()[0], None)
    ended = subprocess.Popen(["true"])
    ended.wait()
    with monkeypatch.context() as patch:  # as if that process had written
        patch.setattr(os, "getpid", lambda: ended.pid)
        killed = events.format.writer(tmp_path / PLACES[place]).__enter__()
        killed.append(events.native(events.batch(3)))
    with suppress(OSError, RuntimeError, AttributeError):
        killed._discard()
    assert [item for item in tmp_path.iterdir() if item.name.endswith(".part")]
    write(events.format.writer(tmp_path / PLACES[place]), events, 1)
    left = [item.name for item in tmp_path.iterdir()]
    assert left
    assert not [name for name in left if name.endswith(".part")]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("call", ["write", "seek", "truncate"])
def test_hdf5_never_sees_the_signal(
    call: str,
    number: int,
    toy: Callable[..., EventDataModule],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    events, calls = toy("ds1_photons", None), 0
    inner = getattr(hdf5_writer._Sink, call)

    def interrupted(self: object, *arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 2:
            send(number)
        return inner(self, *arguments)

    monkeypatch.setattr(hdf5_writer._Sink, call, interrupted)
    with pytest.raises(Interrupted) as stopped:
        write(events.format.writer(tmp_path / "out.hdf5"), events, 20)
    assert calls >= 2
    assert stopped.value.code == 128 + number
    assert not [item for item in tmp_path.iterdir() if item.name.startswith(".")]


def test_a_signal_whose_exception_was_swallowed_is_not_lost(
    toy: Callable[..., EventDataModule], tmp_path: Path
) -> None:
    events = toy("ds1_photons", None)
    swallowed = False

    def swallow() -> None:  # as a library does that calls back into Python
        nonlocal swallowed
        with suppress(Interrupted):
            send(signal.SIGTERM)
        swallowed = True

    def write_on() -> None:
        with interruptible(), events.format.writer(tmp_path / "out.hdf5") as writer:
            swallow()
            writer.append(events.native(events.batch(3)))

    def end() -> None:
        with interruptible():
            swallow()

    for stopped in (write_on, end):
        swallowed = False
        with pytest.raises(Interrupted):
            stopped()
        assert swallowed
        assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("error", [SystemExit(1), ValueError("no buffer"), None])
def test_a_signal_of_which_a_library_makes_something_else_is_still_that_signal(
    error: BaseException | None,
) -> None:
    def run() -> None:
        with interruptible():
            with suppress(Interrupted):
                send(signal.SIGTERM)
            with interruptible():  # what a command does within the one block of the command line
                pass
            if error is not None:
                raise error

    with pytest.raises(Interrupted) as stopped:
        run()
    assert stopped.value.code == 143
    with interruptible():
        signals.check()


def test_the_answers_of_before_are_back_afterwards() -> None:
    with interruptible(), interruptible():
        assert signal.getsignal(signal.SIGINT) is signals.interrupt
        with signals.held():
            assert signal.getsignal(signal.SIGINT) is not signals.interrupt
        assert signal.getsignal(signal.SIGTERM) is signals.interrupt
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_what_is_noted_at_the_end_stands_in_the_file(
    toy: Callable[..., EventDataModule], tmp_path: Path
) -> None:
    import h5py
    import pyarrow.parquet as parquet

    for name, place in (
        ("ds1_photons", "out.hdf5"),
        ("pxd_small", "hits.h5"),
        ("table", "r.parquet"),
    ):
        events = toy(name, None)
        with events.format.writer(tmp_path / place, {"first": "a"}) as writer:
            writer.append(events.native(events.batch(3)))
            writer.note({"redrawn": 2})
        if place.endswith("parquet"):
            found = parquet.read_metadata(tmp_path / place).metadata
            assert (found[b"first"], found[b"redrawn"]) == (b"a", b"2")
        else:
            with h5py.File(tmp_path / place) as file:
                assert (file.attrs["first"], file.attrs["redrawn"]) == ("a", 2)
