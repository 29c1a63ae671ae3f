"""Studies: stages that are done once, whatever happens in between."""

from __future__ import annotations

import importlib
import json
import logging
import os
import random
import re
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from simulacra.cli.main import main
from simulacra.cli.study import study
from simulacra.core import UserError
from simulacra.core.signals import Interrupted
from simulacra.evaluation import saved
from simulacra.evaluation.config import compose, register
from simulacra.evaluation.schema import Study
from simulacra.studies.settings import Settings
from simulacra.studies.stages import MARKER
from simulacra.training import checkpoint

Run = Callable[..., tuple[Path, dict[str, float]]]
ALLOW = "allow=[toy_plugin,toy_study]"
STAGES = ["split", "generator", "made/events", "weigher", "made/weighed", "judged", "mean"]


@pytest.fixture
def run_study(project: Path) -> Iterator[Run]:
    """Run the toy study in this process; returns the run directory and the figures."""
    loaded = sys.modules.pop("toy_study", None)

    def run(name: str, *overrides: str) -> tuple[Path, dict[str, float]]:
        folder = project / "outputs" / name
        asked = ["study=toy", "data=toy", ALLOW, "evaluation.events=64"]
        return folder, study(
            compose("study", [*asked, "logger=csv", f"paths.run={folder}", *overrides])
        )

    yield run
    sys.modules.pop("toy_study", None)
    if loaded is not None:
        sys.modules["toy_study"] = loaded


def markers(run: Path) -> dict[str, tuple[str, int]]:
    """Text of each marker, and when it was written."""
    found = {str(path.parent.relative_to(run)): path for path in run.rglob(MARKER)}
    return {name: (path.read_text(), path.stat().st_mtime_ns) for name, path in found.items()}


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return checkpoint.read(folder / "checkpoints" / "last.ckpt")["state_dict"]


def left_behind() -> tuple[object, ...]:
    """What a run might leave in the process."""
    levels = {
        name: logging.getLogger(name).level for name in ("", "simulacra", "pytorch_lightning")
    }
    filters = [handler.filters for handler in logging.getLogger().handlers]
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    numbers = random.getstate(), str(np.random.get_state()), torch.get_rng_state().tolist()  # noqa: NPY002
    chosen = torch.are_deterministic_algorithms_enabled(), torch.get_num_threads()
    return dict(os.environ), levels, filters, handlers, numbers, chosen


def test_a_study_is_done_once_and_leaves_what_it_found(
    run_study: Run, caplog: pytest.LogCaptureFixture
) -> None:
    before = left_behind()
    with caplog.at_level(logging.INFO):
        run, figures = run_study("whole", "data.limit=256")
    assert left_behind() == before
    said = [record.getMessage() for record in caplog.records if record.name.startswith("simulacra")]
    assert [line.split()[0] for line in said] == STAGES
    assert set(markers(run)) == set(STAGES)
    assert set(figures) == {"study/w1", "study/w1/floor", "study/mean", "study/seconds"}
    assert json.loads((run / "metrics.json").read_text()) == figures
    page = (run / "report.html").read_text()
    assert all(f"<summary>{name}</summary>" in page for name in STAGES)
    assert not re.search(r"https?://(?!www\.w3\.org)", page)
    first, text = markers(run), (run / "metrics.json").read_text()
    caplog.clear()
    with caplog.at_level(logging.INFO):
        _, again = run_study("whole", "data.limit=256")
    assert again == figures
    assert markers(run) == first
    assert (run / "metrics.json").read_text() == text
    assert {record.getMessage().partition(" ")[2].strip() for record in caplog.records} == {
        "there already"
    }
    with pytest.raises(UserError, match="whole/split was made from other inputs"):
        run_study("whole", "data.limit=9")
    assert markers(run) == first


@pytest.mark.smoke
def test_a_stage_that_fails_leaves_the_others(run_study: Run, project: Path) -> None:
    with pytest.raises(UserError, match="the last stage fails"):
        run_study("failed", "study.fails=true")
    run = project / "outputs" / "failed"
    first = markers(run)
    assert set(first) == set(STAGES) - {"mean"}
    assert not (run / "metrics.json").exists()
    run_study("failed")
    assert {name: entry for name, entry in markers(run).items() if name != "mean"} == first
    assert (run / "metrics.json").is_file()


@pytest.mark.smoke
def test_an_interrupted_training_of_a_study_goes_on_bit_for_bit(
    run_study: Run, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    register()
    plugin = importlib.import_module("toy_plugin")
    stop = "+callbacks.stop={_target_: toy_plugin.Signal, number: 15, epoch: 1, batch: 3}"
    more = f"study.more=[{stop!r}]"
    run = project / "outputs" / "stopped"
    with pytest.raises(Interrupted, match=f"simulacra study resume={run}"):
        run_study("stopped", more)
    first = markers(run)
    assert set(first) == {"split"}
    begun = (run / "generator" / "checkpoints" / "last.ckpt").stat().st_mtime_ns
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    monkeypatch.setattr(plugin.Signal, "send", lambda self, place: None)
    _, figures = run_study("stopped", more)
    whole, expected = run_study("whole", more)
    assert (run / "generator" / "checkpoints" / "last.ckpt").stat().st_mtime_ns != begun
    assert markers(run)["split"] == first["split"]
    found, wanted = weights(run / "generator"), weights(whole / "generator")
    assert all(torch.equal(found[name], value) for name, value in wanted.items())
    assert {k: v for k, v in figures.items() if k != "study/seconds"} == {
        k: v for k, v in expected.items() if k != "study/seconds"
    }


def test_trackers_know_the_trainings_of_a_study_as_a_group(project: Path) -> None:
    asked = ["study=counted", "data=toy", "logger.wandb.mode=offline", "tags=[a]"]
    config = compose("study", [*asked, f"paths.run={project / 'outputs' / 'day' / 'one'}"])
    settings = Settings.of(saved.resolve(config, Study))
    own, training = settings.own_trackers(), settings.trackers(Path("/x/stage"), "stage")
    assert own["wandb"]["group"] == training["wandb"]["group"] == "counted-day-one"
    assert (own["wandb"]["job_type"], training["wandb"]["job_type"]) == ("study", "train")
    assert (own["wandb"]["name"], training["wandb"]["name"]) == ("toy-counted-0", "stage")
    assert own["csv"]["folder"] == str(project / "outputs" / "day" / "one")
    assert training["csv"]["folder"] == "/x/stage"


@pytest.mark.smoke
def test_a_multirun_of_studies_has_a_table(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(
        ["study", "-m", "study=counted", "data=toy", "logger=none", "seed=1,2", "study.number=3,5"]
    )
    (sweep,) = (project / "outputs" / "sweeps" / "multirun").iterdir()
    rows = json.loads((sweep / "table.json").read_text())
    assert [row["setting"] for row in rows] == [["study.number=3"], ["study.number=5"]]
    assert [row["figures"]["study/number"]["mean"] for row in rows] == [3, 5]
    assert all(row["figures"]["study/seed"]["mean"] == 1.5 for row in rows)
    table = (sweep / "table.md").read_text()
    assert "study/number" in table
    assert "study/number/error" not in table
    assert {path.name for path in sweep.iterdir() if path.is_dir()} == {
        f"{2 * k + n}_seed-{k + 1}_number-{3 + 2 * n}" for k in range(2) for n in range(2)
    }


def test_a_study_goes_on_from_the_command_line(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = project / "outputs" / "run"
    main(["study", "study=counted", "data=toy", "logger=none", f"hydra.run.dir={run}"])
    first = markers(run)
    assert capsys.readouterr().out.startswith(f"wrote {run}/report.html")
    main(["study", f"resume={run}", ALLOW])
    assert markers(run) == first
    with pytest.raises(SystemExit, match="1"):
        main(["study", f"resume={run}"])
    assert "names 'toy_study.Counted'" in capsys.readouterr().err


@pytest.mark.smoke
@pytest.mark.parametrize(
    ("line", "said"),
    [
        (["resume=."], "is no run directory of a study"),
        (["data=toy"], "say which study=NAME"),
        (["study=counted", "data=toy", "trainer=ddp_cpu"], "in one process"),
        (["study=refinement"], "say what is refined"),
        (
            ["study=refinement", "study.generated=x.hdf5", "study.checkpoint=y.ckpt"],
            "say what is refined",
        ),
    ],
)
def test_a_mistake_is_one_sentence(
    line: list[str], said: str, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="1"):
        main(["study", *line])
    err = capsys.readouterr().err
    assert err.startswith("simulacra: ")
    assert said in err
    assert err.count("\n") == 1
