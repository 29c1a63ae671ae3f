"""The examples of CONTRIBUTING.md, as they stand there, go through the real commands."""

from __future__ import annotations

import importlib
import json
import math
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import h5py
import pytest
import torch
from scipy.stats import ks_2samp

from simulacra import data
from simulacra.cli.apply import apply
from simulacra.cli.evaluate import evaluate
from simulacra.cli.sample import sample
from simulacra.cli.train import train
from simulacra.core import Batch, FormatError, UserError
from simulacra.data.base import EventDataModule
from simulacra.evaluation.config import compose, load_choice, register
from simulacra.metrics.engine.score import judged
from simulacra.training import checkpoint

GUIDE = (Path(__file__).parents[2] / "CONTRIBUTING.md").read_text()
EXAMPLES = dict(re.findall(r"^`(\S+)`:\n\n```(?:python|yaml)\n(.*?)^```$", GUIDE, re.M | re.S))
"""Text of each file of the guide by its path."""
MODULES = [Path(name).stem for name in EXAMPLES if name.endswith(".py")]
ALLOW = f"allow=[{','.join(MODULES)}]"
FAST = (
    "debug=fast", "callbacks=minimal", "trainer.max_epochs=1", "trainer.max_steps=2",
    "trainer.enable_progress_bar=false", "logger=none", "evaluation.draw=false",
)  # fmt: skip


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with all files of the guide and toy files of its data set, as the current folder."""
    folder = tmp_path_factory.mktemp("project")
    for name, text in EXAMPLES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    before = list(sys.path)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        register()
        for side in range(2):
            (folder / f"sample{side}").mkdir()
            prototype().write_toy(folder / f"sample{side}", 300, seed=side)
        yield folder
    sys.path[:] = before
    for name in MODULES:
        sys.modules.pop(name, None)


def prototype() -> EventDataModule:
    return data.build(load_choice("data", "prototype"))


def module_of(name: str) -> ModuleType:
    return importlib.import_module(name)


def trained(project: Path, name: str, *overrides: str) -> tuple[str, dict[str, float]]:
    """``checkpoint=FILE`` of two steps of training, and what ``metrics.json`` holds."""
    run = project / "outputs" / name
    train(compose("train", [*FAST, f"paths.run={run}", *overrides]))
    return f"checkpoint={run}/checkpoints/last.ckpt", json.loads((run / "metrics.json").read_text())


@pytest.fixture(scope="module")
def diffusion(project: Path) -> tuple[str, dict[str, float]]:
    """The model of the guide on its data set, judged with its metric."""
    sets = ("data=prototype", f"data.root={project / 'sample0'}")
    return trained(project, "diffusion", "model=voxel_diffusion", *sets, "evaluation=gap")


def test_the_guide_has_an_example_of_everything_that_can_be_added() -> None:
    groups = {Path(name).parent.name for name in EXAMPLES if name.endswith(".yaml")}
    assert groups == {"model", "data", "evaluation", "solver"}
    assert set(re.findall(r"^## Add a (.*)$", GUIDE, re.M)) == {
        "model", "file format", "data set", "metric", "solver", "transform", "task"
    }  # fmt: skip
    assert max(text.count("\n") for text in EXAMPLES.values()) <= 40


def test_the_model_makes_events_of_the_data_set(
    project: Path, diffusion: tuple[str, dict[str, float]]
) -> None:
    target = project / "made.h5"
    asked = [diffusion[0], "n=20", f"output={target}", ALLOW]
    sample(compose("sample", asked))
    made = prototype().format.read(target)
    assert made.x.shape == (20, 4, 5, 5)
    assert float(made.x.amax()) > 0.1
    assert 1 <= float(made.cond["incident_energy"].min()) < 20


def test_the_solver_samples_the_trained_model(
    project: Path, diffusion: tuple[str, dict[str, float]]
) -> None:
    events = []
    for steps in (40, 60):
        target = project / f"steps{steps}.h5"
        asked = ["n=20", f"output={target}", "solver=ralston", f"solver.steps={steps}", ALLOW]
        sample(compose("sample", [diffusion[0], *asked]))
        events.append(prototype().format.read(target).x)
    assert not torch.equal(*events)
    assert float((events[0] - events[1]).abs().mean()) < 0.02 * float(events[0].mean())


def test_the_solver_is_of_second_order(project: Path) -> None:
    solver = module_of("ralston").Ralston
    found = [float(solver(n)(torch.ones(1), lambda x, t: x * t)) for n in (8, 16)]
    errors = [abs(value - math.exp(0.5)) for value in found]
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.2)


def test_the_metric_is_in_the_results_with_its_floor(
    project: Path, diffusion: tuple[str, dict[str, float]]
) -> None:
    key = "test/largest_gap/e_tot"
    assert 0 < diffusion[1][f"{key}/floor"] < 0.5
    assert 0 < diffusion[1][key] < 0.5
    files = [str(next((project / f"sample{side}").iterdir())) for side in range(2)]
    asked = ["data=prototype", f"reference={files[0]}", f"generated={files[1]}", "evaluation=gap"]
    found = evaluate(compose("evaluate", [*asked, "evaluation.draw=false", f"output={project}/e"]))
    sums = [prototype().format.read(file).x.sum((1, 2, 3)).numpy() for file in files]
    assert found[key] == pytest.approx(ks_2samp(*sums).statistic, abs=0.01)


def test_the_metric_counts_events_by_their_weights(project: Path) -> None:
    module, gap = prototype(), module_of("largest_gap").largest_gap
    first, second = (module.format.read(next((project / f"sample{i}").iterdir())) for i in (0, 1))
    weight = 1.0 + (torch.arange(len(second)) < 100)
    weighed = Batch(second.x, second.cond, weight=weight)
    repeated = Batch.cat([second, second[:100]])
    values = [
        gap(judged(first, module.observables), judged(batch, module.observables), 0, "e_tot")
        for batch in (weighed, repeated, second)
    ]
    a, b, c = (found["largest_gap/e_tot"].value for found in values)
    assert a == pytest.approx(b, abs=1e-6)
    assert abs(a - c) > 1e-3


def test_the_format_writes_what_it_reads_and_refuses_other_files(
    project: Path, tmp_path: Path
) -> None:
    form = prototype().format
    events = form.read(next((project / "sample0").iterdir()), 0, 10)
    form.write(tmp_path / "a.h5", Batch(events.x, events.cond, weight=torch.arange(10.0)))
    back = form.read(tmp_path / "a.h5")
    assert torch.equal(back.x, events.x)
    assert torch.equal(back.cond["incident_energy"], events.cond["incident_energy"])
    assert torch.equal(back.weight, torch.arange(10.0))
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        file.move("adc", "cells")
    with pytest.raises(FormatError, match="'adc' is missing"):
        form.read(tmp_path / "a.h5")


def test_the_transform_is_undone_by_its_inverse_and_takes_part_in_a_training(
    project: Path,
) -> None:
    asked = re.search(r"`simulacra train (data=table .*?)`", GUIDE, re.S)
    assert asked is not None
    given, figures = trained(project, "plain", *shlex.split(asked[1]))
    assert figures["test/classifier/boosted/auc"] > 0.5
    module = checkpoint.load(given.removeprefix("checkpoint="), allow=MODULES)
    batch = data.build(load_choice("data", "table")).batch(200)
    with torch.no_grad():
        latent = module.encode(batch)
        back = module.decode(latent, batch.conditions())
    assert float(latent.x["table"].std(0).max()) < 2
    torch.testing.assert_close(back.x, batch.x, rtol=1e-4, atol=1e-4)


def test_the_task_writes_weights_for_a_file(project: Path) -> None:
    sets = [f"data.{name}.root={project}/sample{i}" for i, name in enumerate(("first", "second"))]
    pair = ("data=pair", "data/first=prototype", "data/second=prototype", *sets)
    given, figures = trained(project, "ratio", "model=layer_ratio", *pair)
    assert figures["test/weight/effective"] > 0.5
    source, target = project / "new.h5", project / "weighted.h5"
    learnt = next((project / "sample1").iterdir())
    with pytest.raises(
        UserError, match="events are among those that this LayerRatio was trained on"
    ):
        apply(compose("apply", [given, f"input={learnt}", f"output={target}", ALLOW]))
    prototype().format.toy(source, 100, 9)
    apply(compose("apply", [given, f"input={source}", f"output={target}", ALLOW]))
    events, weighted = prototype().format.read(source), prototype().format.read(target)
    assert torch.equal(weighted.x, events.x)
    assert float(weighted.weight.std()) > 0
    module = checkpoint.load(given.removeprefix("checkpoint="), allow=MODULES)
    assert torch.equal(weighted.weight, module.weights(events))
