"""Public files from a server that cuts, lies, and tells no length; the server is on this machine."""

from __future__ import annotations

import fcntl
import hashlib
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from record_server import RecordServer, serving
from simulacra import data as datasets
from simulacra.cli.download import download
from simulacra.core import UserError
from simulacra.core.signals import Interrupted, interrupt
from simulacra.data.fetching import BLOCK, Patience, fetch
from simulacra.data.file_data import FileDataModule
from simulacra.data.files import Published
from simulacra.data.records import Listing, Remote, Zenodo, parted
from simulacra.evaluation.config import compose
from support import data_configs

pytest.importorskip("pooch")
NAME = "dataset_1_photons_1.hdf5"
TEXT = os.urandom(3_000_000)
QUICK = Patience(timeout=5, retries=2, pause=0)


@pytest.fixture
def server() -> Iterator[RecordServer]:
    with serving() as found:
        found.files = {NAME: TEXT, "dataset_1_photons_2.hdf5": b"two", "other.txt": b"3"}
        yield found


def remote(server: RecordServer, **changes: Any) -> Remote:
    found = Zenodo(server.address, 5).listing("7").matching([NAME])[0]
    return Remote(**{**vars(found), **changes})


def asked(server: RecordServer, root: Path | None, *more: str) -> Any:
    servers = [f"servers.{name}={server.address}" for name in ("zenodo", "mendeley")]
    folder = "null" if root is None else str(root)
    return compose("download", ["ds1_photons", f"data.root={folder}", *servers, "retries=1", *more])


def test_a_record_says_what_it_holds(server: RecordServer) -> None:
    found = Zenodo(server.address, 5).listing("7")
    first = found.files[0]
    assert first.size == len(TEXT)
    assert first.checksum == f"md5:{hashlib.md5(TEXT).hexdigest()}"
    assert (
        first.url == f"{server.address}/records/8/files/{NAME}?download=1"
    )  # of the newest version
    assert (found.doi, found.licence) == ("doi:10.5281/zenodo.8", "cc-by-4.0")
    assert found.citation == "Doe, Jane (2022) Showers"


def test_a_file_arrives_whole_with_its_checksum(server: RecordServer, tmp_path: Path) -> None:
    seen: list[int] = []
    path = tmp_path / "new" / NAME
    digest = fetch(remote(server), path, QUICK, seen.append)
    assert path.read_bytes() == TEXT
    assert digest == hashlib.sha256(TEXT).hexdigest()
    assert seen == sorted(seen)
    assert seen[-1] == len(TEXT)
    assert os.listdir(path.parent) == [NAME]


@pytest.mark.parametrize("lengths", [True, False])
@pytest.mark.parametrize("checksum", [True, False])
def test_after_a_cut_the_rest_alone_is_asked_for(
    server: RecordServer, tmp_path: Path, lengths: bool, checksum: bool
) -> None:
    server.cuts, server.lengths = [20 * BLOCK, 10 * BLOCK + 7], lengths
    told = remote(server) if checksum else remote(server, checksum=None)
    fetch(told, tmp_path / NAME, QUICK)
    assert (tmp_path / NAME).read_bytes() == TEXT
    second = 30 * BLOCK + (0 if lengths else 7)  # a cut block is lost where it is known to be cut
    assert server.asked == [None, f"bytes={20 * BLOCK}-", f"bytes={second}-"]


def test_a_later_command_goes_on_where_an_earlier_one_gave_up(
    server: RecordServer, tmp_path: Path
) -> None:
    server.cuts = [20 * BLOCK, 0, 0, 0]
    path = tmp_path / NAME
    with pytest.raises(UserError, match=r"cut after 655,360 bytes of 3,000,000 .* goes on"):
        fetch(remote(server), path, QUICK)
    assert not path.exists()
    assert (tmp_path / f".{NAME}.part").read_bytes() == TEXT[: 20 * BLOCK]
    server.asked.clear()
    fetch(remote(server), path, QUICK)
    assert server.asked == [f"bytes={20 * BLOCK}-"]
    assert path.read_bytes() == TEXT
    assert os.listdir(tmp_path) == [NAME]


def test_a_server_that_gives_no_parts_is_asked_for_all_again(
    server: RecordServer, tmp_path: Path
) -> None:
    server.cuts, server.ranges = [20 * BLOCK], False
    fetch(remote(server), tmp_path / NAME, QUICK)
    assert (tmp_path / NAME).read_bytes() == TEXT
    assert server.asked == [None, f"bytes={20 * BLOCK}-"]


def test_a_part_that_is_whole_is_not_fetched_again(server: RecordServer, tmp_path: Path) -> None:
    (tmp_path / f".{NAME}.part").write_bytes(TEXT)
    fetch(remote(server), tmp_path / NAME, QUICK)
    assert server.asked == []
    assert (tmp_path / NAME).read_bytes() == TEXT


def test_a_part_that_is_longer_than_the_file_is_dropped(
    server: RecordServer, tmp_path: Path
) -> None:
    (tmp_path / f".{NAME}.part").write_bytes(TEXT + b"more")
    fetch(remote(server), tmp_path / NAME, QUICK)
    assert (tmp_path / NAME).read_bytes() == TEXT


def test_a_part_of_unknown_length_that_is_whole_is_taken(
    server: RecordServer, tmp_path: Path
) -> None:
    (tmp_path / f".{NAME}.part").write_bytes(TEXT)
    fetch(remote(server, size=None), tmp_path / NAME, QUICK)
    assert server.asked == [f"bytes={len(TEXT)}-"]
    assert (tmp_path / NAME).read_bytes() == TEXT


@pytest.mark.parametrize("part", [b"", b"of another file"])
def test_a_wrong_checksum_leaves_nothing(server: RecordServer, tmp_path: Path, part: bytes) -> None:
    (tmp_path / f".{NAME}.part").write_bytes(part)
    wrong = remote(server) if part else remote(server, checksum="md5:" + 32 * "0")
    with pytest.raises(UserError, match="does not have the checksum of its record"):
        fetch(wrong, tmp_path / NAME, QUICK)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(("status", "tries"), [(404, 1), (403, 1), (503, 3)])
def test_a_server_that_refuses_is_named(
    server: RecordServer, tmp_path: Path, status: int, tries: int
) -> None:
    told = remote(server)
    server.status = status
    with pytest.raises(UserError, match=f"the server answers {status}"):
        fetch(told, tmp_path / NAME, QUICK)
    assert len(server.asked) == tries
    assert not (tmp_path / NAME).exists()


def test_another_length_than_that_of_the_record_is_refused(
    server: RecordServer, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=r"gives 3,000,000 bytes .* its record says 5"):
        fetch(remote(server, size=5), tmp_path / NAME, QUICK)


def test_what_would_not_fit_on_the_disk_is_not_begun(
    server: RecordServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full:
        free = 10

    monkeypatch.setattr("shutil.disk_usage", lambda path: Full)
    with pytest.raises(UserError, match=r"needs 0\.0 GB"):
        fetch(remote(server), tmp_path / NAME, QUICK)
    assert (tmp_path / f".{NAME}.part").stat().st_size == 0


def test_two_commands_do_not_write_one_part(server: RecordServer, tmp_path: Path) -> None:
    part = tmp_path / f".{NAME}.part"
    with part.open("a+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(UserError, match="is being written by another process"):
            fetch(remote(server), tmp_path / NAME, QUICK)
    assert server.asked == []


def test_an_interrupt_keeps_what_has_arrived(server: RecordServer, tmp_path: Path) -> None:
    def stop(there: int) -> None:
        interrupt(signal.SIGTERM)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("simulacra.core.signals.Pending.number", None)
        with pytest.raises(Interrupted):
            fetch(remote(server), tmp_path / NAME, QUICK, stop)
    assert not (tmp_path / NAME).exists()
    arrived = (tmp_path / f".{NAME}.part").read_bytes()
    assert arrived
    assert TEXT.startswith(arrived)
    fetch(remote(server), tmp_path / NAME, QUICK)
    assert (tmp_path / NAME).read_bytes() == TEXT


def test_a_right_file_stays_and_a_wrong_one_is_refused(
    server: RecordServer, tmp_path: Path
) -> None:
    path = tmp_path / NAME
    path.write_bytes(TEXT)
    told = remote(server)
    assert fetch(told, path, QUICK) is None
    assert server.asked == []
    path.write_bytes(TEXT[:-1] + bytes([TEXT[-1] ^ 1]))
    before = path.read_bytes()
    with pytest.raises(UserError, match=r"is not the file of the record \(its checksum differs\)"):
        fetch(told, path, QUICK)
    path.write_bytes(TEXT[:-1])
    with pytest.raises(UserError, match=r"2,999,999 bytes of 3,000,000"):
        fetch(told, path, QUICK)
    assert path.read_bytes() == before[:-1]


def test_the_command_puts_files_where_the_data_set_finds_them(
    server: RecordServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    elsewhere = tmp_path / "mine" / "dataset_1_photons_2.hdf5"
    elsewhere.parent.mkdir()
    elsewhere.write_bytes(b"two")
    found = download(asked(server, tmp_path))
    assert Path(found[NAME]) == tmp_path / "ds1_photons" / NAME
    assert found[elsewhere.name] == str(elsewhere)
    text = capsys.readouterr().out
    assert "1 files of ds1_photons, 1 were there already" in text
    assert "licence: cc-by-4.0" in text
    assert "cite Doe, Jane (2022) Showers, doi:10.5281/zenodo." in text
    config = {**data_configs()["ds1_photons"], "root": str(tmp_path)}
    module = datasets.build(config)
    assert isinstance(module, FileDataModule)
    assert module.found.train == (tmp_path / "ds1_photons" / NAME,)


def test_a_dry_run_lists_and_fetches_nothing(
    server: RecordServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = download(asked(server, None, "dry=true"))
    assert found == {NAME: len(TEXT), "dataset_1_photons_2.hdf5": 3}
    text = capsys.readouterr().out
    assert "3 MB" in text
    assert hashlib.md5(TEXT).hexdigest() in text
    assert server.asked == []


def test_where_a_record_gives_no_checksum_the_one_found_is_told(
    server: RecordServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server.about = {"checksum": None}
    download(asked(server, tmp_path, f"files=[{NAME}]"))
    assert hashlib.sha256(TEXT).hexdigest() in caplog.text


def test_without_a_name_it_lists_every_data_set_that_has_a_record(
    server: RecordServer, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    servers = [f"servers.{name}={server.address}" for name in ("zenodo", "mendeley")]
    sizes = download(compose("download", servers))
    text = capsys.readouterr().out
    for name in sizes:
        assert name in text
    assert sizes["ds1_photons"] == len(TEXT) + 3
    assert "has no file like 'dataset_2_1.hdf5'" in caplog.text
    assert {"ds1_pions", "calogan", "jetnet30", "jetclass"} <= sizes.keys()


def test_a_server_that_cannot_be_reached_is_named_once(capsys: pytest.CaptureFixture[str]) -> None:
    servers = [f"servers.{name}=http://127.0.0.1:9" for name in ("zenodo", "mendeley")]
    sizes = download(compose("download", servers))
    assert not any(sizes.values())
    assert capsys.readouterr().out.count("cannot be reached") == 1


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (["pxd"], "read from no public files"),
        (["ild_angles"], "no record that could be downloaded, its files are to be had: on request"),
        (["ds1_photons", "files=[nothing*]"], "has no file like 'nothing.*', it holds dataset_1"),
        (["ds1_photons", "data.root=null"], "needs data.root=FOLDER"),
    ],
)  # fmt: skip
def test_what_cannot_be_downloaded_is_said(
    server: RecordServer, line: list[str], said: str
) -> None:
    servers = [f"servers.{name}={server.address}" for name in ("zenodo", "mendeley")]
    with pytest.raises(UserError, match=said):
        download(compose("download", [*line, *servers]))


@pytest.mark.parametrize("record", ["page", "nothing"])
def test_a_record_that_is_none_is_refused(server: RecordServer, record: str) -> None:
    with pytest.raises(
        UserError, match=rf"(no list of the files of|answers 404 .*) Zenodo record {record}|404"
    ):
        Zenodo(server.address, 5).listing(record)


@pytest.mark.parametrize("name", ["../../up.h5", "a/b", "", ".."])
def test_a_name_that_leads_out_of_the_folder_is_refused(server: RecordServer, name: str) -> None:
    server.files = {name: b"x"}
    with pytest.raises(UserError, match="gives no list"):
        Zenodo(server.address, 5).listing("7")


@pytest.mark.parametrize("record", ["8099322", "zenodo:", "zenodo:../up", "elsewhere:3"])
def test_a_record_is_named_by_its_repository_and_number(record: str) -> None:
    with pytest.raises(UserError, match="a record is named like"):
        Published(["a"], [], record=record)


def test_mendeley_data_come_with_their_checksum(server: RecordServer, tmp_path: Path) -> None:
    server.files = {"eplus.hdf5": b"positrons"}
    servers = [f"servers.{name}={server.address}" for name in ("zenodo", "mendeley")]
    found = download(compose("download", ["calogan", f"data.root={tmp_path}", *servers]))
    assert Path(found["eplus.hdf5"]).read_bytes() == b"positrons"


def test_patterns_that_match_nothing_name_what_there_is() -> None:
    listing = Listing((Remote("a.h5", "x", None, None),), "doi:1")
    with pytest.raises(UserError, match=r"holds a\.h5"):
        listing.matching(["b*"])
    assert parted("zenodo:8") == ("zenodo", "8")


def test_without_the_extra_its_name_is_said(
    server: RecordServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = remote(server)
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(UserError, match=r"simulacra\[download\]"):
        fetch(told, tmp_path / NAME, QUICK)
    assert os.listdir(tmp_path) == []
