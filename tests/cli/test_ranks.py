"""Processes that watch each other, without a training."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from simulacra.cli.errors import stopped
from simulacra.core import UserError
from simulacra.running.distributed import LostRankError
from simulacra.running.ranks import FIRST, note

QUICK = """
import os, signal, subprocess, sys, time
from pathlib import Path
from simulacra.running import ranks
ranks.GRACE, ranks.PERIOD, ranks.PATIENCE = 0.4, 0.05, 0.4
def start(code, *more):
    return subprocess.Popen([sys.executable, "-c", code, *more])
family = ranks.Family(Path(sys.argv[1]), lambda: "go on")
"""


def run(folder: Path, code: str, *more: str) -> subprocess.CompletedProcess[str]:
    """Run code after the lines above; returns when no process is left that writes to its streams."""
    command = [sys.executable, "-c", QUICK + code, str(folder), *more]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("raise SystemExit(7)", "process 1 with exit code 7"),
        ("import os; os.kill(os.getpid(), 9)", "process 1 by SIGKILL"),
        ("raise SystemExit(143)", "process 1 by SIGTERM"),
    ],
)
def test_a_parent_that_is_busy_ends_soon_after_its_child(
    code: str, reason: str, tmp_path: Path
) -> None:
    done = run(tmp_path, "family.watch([start(sys.argv[2])]); time.sleep(60)", code)
    assert done.returncode == 1
    died = f"training stopped: another of its processes has died ({reason}); go on"
    assert done.stderr == f"simulacra: {died}\n"


def test_a_child_that_is_busy_ends_soon_after_its_parent(tmp_path: Path) -> None:
    busy = (
        "from simulacra.running import ranks; import time; ranks.GRACE, ranks.PERIOD = 0.4, 0.05; "
        "ranks.First.of_this_process().watch(); print('busy', flush=True); time.sleep(60)"
    )
    code = (
        "os.environ['LOCAL_RANK'] = '1'\n"
        "with family.starting():\n"
        "    child = subprocess.Popen([sys.executable, '-c', sys.argv[2]], stdout=subprocess.PIPE)\n"
        "child.send_signal(signal.SIGTERM); child.stdout.readline(); child.send_signal(signal.SIGINT)\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = run(tmp_path, code, busy)
    assert done.stderr == "simulacra: training stopped: the first of its processes has died\n"


@pytest.mark.parametrize("success", [True, False])
def test_no_child_is_left_behind_nor_what_it_wrote(success: bool, tmp_path: Path) -> None:
    note(tmp_path, 1).write_text("a reason")
    deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(); time.sleep(60)"
    code = (
        "child = subprocess.Popen([sys.executable, '-c', sys.argv[2]], stdout=subprocess.PIPE)\n"
        "child.stdout.readline()\n"
        f"family.watch([child]); family.end({success}); print(child.returncode)"
    )
    done = run(tmp_path, code, deaf)
    assert done.stdout == "-9\n", done.stderr
    assert not list(tmp_path.iterdir())


def test_a_child_leaves_its_sentence_to_its_parent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setenv(FIRST, f"{os.getppid()}:{tmp_path}")
    stopped(LostRankError("the parent has died"))  # which knows better
    assert not list(tmp_path.iterdir())
    stopped(UserError("no memory is left"))
    assert note(tmp_path, 1).read_text() == "no memory is left"
    assert capfd.readouterr().err == ""
    monkeypatch.setenv(FIRST, f"{os.getppid()}:{tmp_path / 'gone'}")
    stopped(UserError("no space is left"))
    assert capfd.readouterr().err == "simulacra: no space is left\n"
    monkeypatch.setenv(
        FIRST, f"{os.getpid()}:{tmp_path}"
    )  # as if another had taken the parent's place
    stopped(LostRankError("the parent has died"))
    assert capfd.readouterr().err == "simulacra: the parent has died\n"
    monkeypatch.setenv("LOCAL_RANK", "2")
    stopped(LostRankError("the parent has died"))
    assert capfd.readouterr().err == ""
