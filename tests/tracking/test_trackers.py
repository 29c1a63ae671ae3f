from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import wandb

from simulacra.core import UserError
from simulacra.tracking.identity import as_typed, git_commit, identity, typed
from simulacra.tracking.runs import earlier, remember
from simulacra.tracking.wandb import WandbTracker, chosen, has_key, offline_because, server


def test_without_a_key_the_run_is_offline(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("WANDB_MODE", "")
    with caplog.at_level("INFO"):
        assert chosen("auto") == "offline"
    assert caplog.messages == [f"W&B keeps this run offline, there is no API key for {server()}"]
    with pytest.raises(
        UserError, match=r"logger\.wandb\.mode is online .* no API key .* 'wandb login'"
    ):
        chosen("online")
    monkeypatch.setenv("WANDB_MODE", "online")
    with pytest.raises(UserError, match=r"variable WANDB_MODE is online .* no API key"):
        chosen("offline")


def test_a_key_without_a_network_is_offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    assert offline_because() == "http://127.0.0.1:9 does not answer"


@pytest.mark.parametrize(
    ("host", "url", "found"),
    [
        (None, None, True),
        ("api.wandb.ai", None, True),
        ("elsewhere.org", None, False),
        ("my.server:8080", "https://my.server:8080", True),
        ("api.wandb.ai", "https://my.server", False),
    ],
)
def test_a_key_is_looked_for_under_the_host_that_wandb_would_ask(
    host: str | None, url: str | None, found: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.delenv("NETRC", raising=False)
    monkeypatch.delenv("WANDB_BASE_URL", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    if url is not None:
        monkeypatch.setenv("WANDB_BASE_URL", url)
    machine = host or urlsplit(wandb.Settings().base_url).hostname
    (tmp_path / ".netrc").write_text(f"machine {machine}\n  login user\n  password {'0' * 40}\n")
    (tmp_path / ".netrc").chmod(0o600)
    assert has_key() is found


def test_a_run_that_wandb_refuses_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**_: object) -> None:
        raise wandb.errors.AuthenticationError("the key\nis not valid")

    monkeypatch.setattr(wandb, "init", refuse)
    with pytest.raises(UserError, match=r"did not start a run \(the key is not valid\)"):
        tracker(tmp_path).log_metrics({"a": 1.0}, 0)


def test_an_unknown_mode_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "on")
    with pytest.raises(UserError, match=r"WANDB_MODE is one of online, offline, .* got 'on'"):
        tracker(tmp_path)
    monkeypatch.delenv("WANDB_MODE")
    with pytest.raises(UserError, match=r"mode is one of online, offline, .* got 'of'"):
        tracker(tmp_path, mode="of")


def tracker(folder: Path, mode: str = "auto") -> WandbTracker:
    return WandbTracker(
        folder=str(folder),
        project="test",
        entity=None,
        group="sweep",
        job_type="train",
        name="run",
        tags=["a"],
        mode=mode,
        artifacts=True,
    )


@pytest.mark.slow
def test_an_offline_run_shows_images_table_and_auc(tmp_path: Path) -> None:
    image = Path(__file__).parent / "pixel.png"
    first = tracker(tmp_path)
    first.log_hyperparams({"model": {"width": 3}})
    first.log_metrics({"val/boosted_auc": 0.7}, step=4)
    first.image("val/observables", image, 4)
    first.table("test/observables", ["observable", "w1"], [["e_tot", 0.5]])
    first.details({"val/w1/e_tot": 0.2, "test/classifier/boosted/auc": 0.6}, step=5)
    assert first.where() == f"offline: wandb leet {tmp_path / 'wandb'}"
    first.attach(image, "model")
    (tmp_path / "run").mkdir()
    first.begin(tmp_path / "run", None)
    name = first.version
    first.finish(failed=False)
    assert wandb.run is None
    assert earlier(tmp_path / "run") == {"wandb": name}
    assert earlier(tmp_path) == {}
    command = shutil.which("wandb", path=str(Path(sys.executable).parent))
    assert command is not None
    found, *_ = inspected(command, tmp_path / "wandb", "--summary")
    assert found["summary"]["test/classifier/boosted/auc"] == 0.6
    assert found["summary"]["val/observables"]["_type"].startswith("image")
    assert found["summary"]["test/observables"]["_type"].startswith("table")
    assert found["config"]["model"] == {"width": 3}
    assert found["summary"]["val/w1/e_tot"] == 0.2
    assert found["exit_code"] == 0
    # only what is followed over the steps is a chart
    records = inspected(command, tmp_path / "wandb")
    drawn = [json.dumps(record) for record in records if record.get("type") == "history"]
    assert any("val/boosted_auc" in record for record in drawn)
    assert not any("val/w1/e_tot" in record or "test/classifier" in record for record in drawn)


def inspected(command: str, folder: Path, *options: str) -> list[dict]:
    """What W&B finds in the latest run of a folder."""
    done = subprocess.run(
        [command, "leet", "inspect", "--json", *options, str(folder)],
        capture_output=True,
        text=True,
        check=True,
        timeout=100,
    )
    if options:
        return [json.loads(done.stdout)]
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_every_tracker_finds_its_own_run_again(tmp_path: Path) -> None:
    remember(tmp_path, "wandb", {"id": "a1"})
    remember(tmp_path, "mlflow", {"id": "b2"})
    remember(tmp_path, "wandb", {"id": "a3", "mode": "offline"})
    assert earlier(tmp_path) == {"wandb": "a3", "mlflow": "b2"}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "7",
        "{",
        "[" * 10**6,
        '{"wandb": null}',
        '{"wandb": {}}',
        '{"wandb": {"id": 7}}',
        '{"wandb": {"id": ""}}',
        '{"wandb": {"id": "../../etc"}}',
    ],
)
def test_a_damaged_file_of_tracked_runs_is_one_sentence(text: str, tmp_path: Path) -> None:
    (tmp_path / "tracker.json").write_text(text)
    with pytest.raises(UserError, match=r"tracker\.json does not name the tracked run .* move it"):
        earlier(tmp_path)


def test_the_command_is_what_was_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/x/simulacra", "train", "a=1", "hydra.mode=RUN"])
    with typed(["train", "-m", "a=1,2", "data.root=/a b"]):
        assert identity()["command"] == "simulacra train -m a=1,2 'data.root=/a b'"
        with as_typed():  # what W&B notes of the command line
            assert sys.argv == ["/x/simulacra", "train", "-m", "a=1,2", "data.root=/a b"]
        assert sys.argv[1:] == ["train", "a=1", "hydra.mode=RUN"]
    assert identity()["command"] == "/x/simulacra train a=1 hydra.mode=RUN"


def test_the_identity_names_versions_and_the_commit(tmp_path: Path) -> None:
    assert identity()["python"] == ".".join(map(str, sys.version_info[:3]))
    assert git_commit(tmp_path) is None
    for arguments in (
        ["init", "-q"],
        ["-c", "user.name=a", "-c", "user.email=b@c", "commit", "-q", "--allow-empty", "-m", "x"],
    ):
        subprocess.run(["git", "-C", str(tmp_path), *arguments], check=True)
    commit = git_commit(tmp_path)
    assert commit is not None
    assert len(commit) == 40
