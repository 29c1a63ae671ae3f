from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from faults.case import GOOD, OUTCOMES, SECRET, VARIABLE, Ended, Job
from faults.stock import Stock

HERE = Path(__file__).parent


class Warm:
    """The warm process, which forks once per job.

    Args:
        folder: For its log.
    """

    def __init__(self, folder: Path) -> None:
        paths = [str(HERE.parents[1] / "src"), str(HERE.parent)]
        self.log = (folder / "warm.log").open("w")
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "warm.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
            cwd=folder,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"},
        )
        assert self._answer() == "ready"

    def run(self, job: Job, folder: Path, work: Path) -> Ended:
        """Run a job; its streams go to files in ``folder``."""
        home = folder / "home"
        home.mkdir(exist_ok=True)
        environment = {
            "HOME": str(home),
            "TMPDIR": str(home),
            "SIMULACRA_CACHE": str(folder / "cache"),
            VARIABLE: SECRET,
            **job.environment,
        }
        request = {
            "folder": str(folder),
            "work": str(job.work or work),
            "environment": environment,
            "arguments": job.arguments,
            "call": job.call,
            "memory": job.memory,
            "file_size": job.file_size,
            "user": job.user,
            "stop": job.stop,
            "seconds": job.seconds,
        }
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        streams = {}
        answer = json.loads(self._answer())
        for name in ("stdout", "stderr"):
            streams[name] = (folder / name).read_text(errors="replace")
        return Ended(**answer, **streams)

    def close(self) -> None:
        """End it."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait(30)
        self.process.stdout.close()
        self.log.close()

    def _answer(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, f"the warm process ended: {Path(self.log.name).read_text()[-2000:]}"
        return line.strip()


@pytest.fixture(scope="session")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warm]:
    process = Warm(tmp_path_factory.mktemp("warm"))
    yield process
    process.close()


@pytest.fixture(scope="session")
def stock(tmp_path_factory: pytest.TempPathFactory, warm: Warm) -> Stock:
    return Stock(tmp_path_factory.mktemp("stock"), warm)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The counts by family and outcome, and every offender."""
    found = [
        dict(report.user_properties)
        for reports in terminalreporter.stats.values()
        for report in reports
        if isinstance(report, pytest.TestReport) and report.when == "call"
    ]
    rows = [row for row in found if "outcome" in row]
    if not rows:
        return
    families = sorted({row["family"] for row in rows})
    counts = {f: Counter(r["outcome"] for r in rows if r["family"] == f) for f in families}
    counts["all"] = Counter(row["outcome"] for row in rows)
    write = terminalreporter.write_line
    write(" ".join([f"{'family':<14}", *(f"{name:>11}" for name in OUTCOMES), f"{'cases':>7}"]))
    for family, count in counts.items():
        cells = (f"{count[name]:>11}" for name in OUTCOMES)
        write(" ".join([f"{family:<14}", *cells, f"{count.total():>7}"]))
    offenders = sorted((r for r in rows if r["outcome"] not in GOOD), key=lambda row: row["id"])
    for row in offenders:
        write(f"{row['outcome']}: pytest tests/faults -m faults -k '{row['id']}'")
    path = terminalreporter.config.getoption("--faults-report")
    if path:
        report = {"counts": counts, "offenders": offenders, "cases": rows}
        Path(path).write_text(json.dumps(report, indent=1))
