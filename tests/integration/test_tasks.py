"""A reweighter goes through the commands of a training as a generator does."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from simulacra.cli.reproduce import reproduce
from simulacra.cli.train import train
from simulacra.core import Batch, Conditions, Latent
from simulacra.evaluation.config import compose, register
from simulacra.training import checkpoint

Run = Callable[..., tuple[Path, dict[str, float]]]
SMALL = (
    "model=dctrgan",
    "data=pair",
    "model/size=tiny",
    "data.limit=512",
    "data.batch_size=128",
    "evaluation.events=200",
)


def weights(run: Path) -> dict[str, torch.Tensor]:
    return checkpoint.read(run / "checkpoints" / "last.ckpt")["state_dict"]


@pytest.fixture
def run_pair(run_toy: Run) -> Run:
    """Train a small reweighter in this process."""
    return lambda name, *overrides: run_toy(name, *SMALL, *overrides)


def test_a_reweighter_is_trained_judged_and_remembered(run_pair: Run) -> None:
    run, figures = run_pair("whole", "trainer.max_epochs=2", "callbacks.best.monitor=val/loss")
    assert figures["test/events"] == 100
    # both samples are the same events, so that the calibration finds nothing that holds on others
    for name in ("mean", "effective", "largest"):
        assert figures[f"test/weight/{name}"] == pytest.approx(1, abs=1e-3)
    assert abs(figures["test/classifier/boosted/auc"] - 0.5) < 0.25
    assert math.isfinite(figures["best/val/loss"])
    assert not [key for key in figures if "closure" in key]
    text = (run / "metrics.csv").read_text().splitlines()[0].split(",")
    assert {"val/loss", "val/accuracy", "val/boosted_auc", "val/w1_mean", "train/loss"} <= set(text)
    module = checkpoint.load(run / "checkpoints" / "best.ckpt")
    first, second = (module.record.learnt[side] for side in ("first", "second"))
    assert torch.equal(first, second)
    assert len(first) > 256  # half of the limit, and the events of validation
    assert float(module.calibration.slope) < 1e-3
    assert module.record.provenance["second/source"] == "embedded sample"


@pytest.mark.grid
def test_a_reweighter_is_reproduced_bit_for_bit(run_pair: Run, project: Path) -> None:
    run, _ = run_pair("original", "trainer.max_epochs=2")
    asked = [f"run={run}", f"paths.run={project / 'again'}", "allow=[toy_plugin]"]
    assert reproduce(compose("reproduce", asked))["verdict"] == "equal"


def test_a_reweighter_resumes_bit_for_bit(run_pair: Run) -> None:
    quiet = ("trainer.max_epochs=3", "callbacks.physics=null", "callbacks.classifier=null")
    whole, _ = run_pair("whole", *quiet)
    stop = "+callbacks.stop={_target_: toy_plugin.Signal, number: null, epoch: 2, batch: 0}"
    with pytest.raises(SystemExit):
        run_pair("stopped", *quiet, stop)
    run = whole.parent / "stopped"
    text = (run / "config.yaml").read_text()
    (run / "config.yaml").write_text(text.replace("epoch: 2", "epoch: 99"))
    train(compose("train", [f"resume={run}", "allow=[toy_plugin]", f"paths.run={run}"]))
    expected, found = weights(whole), weights(run)
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[name], found[name]) for name in expected)


def test_the_closure_of_a_transform_that_loses_something_is_judged(
    run_toy: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    register()
    toy_plugin = importlib.import_module("toy_plugin")
    short = ("callbacks=minimal", "trainer.max_epochs=1", "evaluation.events=null")
    monkeypatch.setattr(toy_plugin.ToyTransform, "exact", False)
    _, kept = run_toy("kept", *short)
    inverse = toy_plugin.ToyTransform.inverse

    def lossy(self: object, latent: Latent, cond: Conditions, generator: object = None) -> Batch:
        back = inverse(self, latent, cond)
        return Batch(back.x.clamp(max=0.4 * float(back.x.max())).sqrt(), back.cond)

    monkeypatch.setattr(toy_plugin.ToyTransform, "inverse", lossy)
    _, lost = run_toy("lost", *short)
    for name in ("w1_mean", "boosted_auc"):
        assert f"test/closure/{name}/floor" in kept
        assert lost[f"test/closure/{name}"] > kept[f"test/closure/{name}"] + 0.2
    assert kept["test/closure/w1_mean"] < 1e-5
    assert abs(kept["test/closure/boosted_auc"] - 0.5) < 0.05
