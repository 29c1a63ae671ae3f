"""Events that are generated for a judge: the conditions, the weights and the order of the true ones."""

from __future__ import annotations

import types

import pytest
import torch

from metrics.engine.test_suite import TABLE, Toy, events
from metrics.engine.test_weighted import weighted, weights
from simulacra.callbacks.classifier import ClassifierTest
from simulacra.callbacks.look import Pair, pair
from simulacra.core import Batch, Conditions
from simulacra.evaluation.scans import Generator
from simulacra.training.generative import GenerativeModule, NonFiniteEventsError


class Copier:
    """A generator of events that are made of their conditions alone."""

    given = ("incident_energy",)
    device = torch.device("cpu")
    judged = GenerativeModule.judged
    truth = GenerativeModule.truth

    def sample(self, asked: Conditions, **_: object) -> Batch:
        return Batch(asked.values["incident_energy"].expand(-1, 4).clone(), dict(asked.values))


class Copies:
    """Its data set."""

    judged = Toy(TABLE)
    view = None

    def __init__(self, batch: Batch) -> None:
        self.batch = batch
        self.format, self.written = self, []

    def part(self, name: str) -> Batch:
        return self.batch

    def native(self, batch: Batch) -> Batch:
        return batch

    shown = native

    def header(self, path: str) -> types.SimpleNamespace:
        return types.SimpleNamespace(n=len(self.batch))

    def iterate(self, path: str, size: int) -> list[Batch]:
        return [self.batch[i : i + size] for i in range(0, len(self.batch), size)]

    def writer(self, path: str, notes: dict) -> Copies:  # type: ignore[type-arg]
        return self

    def append(self, batch: Batch) -> None:
        self.written.append(batch)

    def __enter__(self) -> Copies:
        return self

    def __exit__(self, *_: object) -> None: ...


def test_generated_events_have_the_weights_of_the_events_whose_conditions_they_have() -> None:
    truth = weighted(events(90, 0), weights(90))
    copier, copies = Copier(), Copies(truth)
    assert torch.equal(copier.judged(truth).weight, truth.weight)
    assert copier.judged(events(10, 0)).weight is None
    found = pair(copier, copies, "val", 50, 0)
    assert torch.equal(found.generated.weight, truth.weight[:50])
    assert torch.equal(found.generated.x[:, :1], truth.cond["incident_energy"][:50])
    Generator(copier, copies, 32).write("truth", 70, "made", 0)
    written = Batch.cat(copies.written)
    assert torch.equal(written.weight, truth.weight[:70])
    assert torch.equal(written.cond["incident_energy"], truth.cond["incident_energy"][:70])


def test_the_judge_during_training_weighs_its_events() -> None:
    truth, made = events(800, 0), events(800, 1)
    tilt = torch.exp(2 * made.x[:, 0])
    trainer = types.SimpleNamespace(datamodule=None)
    callback = ClassifierTest(1, 800, 0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("simulacra.callbacks.classifier.data_of", lambda _: Copies(truth))
        plain, found = (
            callback.judge(trainer, Pair(truth, batch, len(truth), 0.0))["val/boosted_auc"]
            for batch in (made, weighted(made, tilt))
        )
    assert plain == pytest.approx(0.5, abs=0.06)
    assert found > 0.75


class Failing(Copier):
    """A generator three of whose events are not finite."""

    def __init__(self) -> None:
        self.logged: list[object] = []

    def sample(self, asked: Conditions, **_: object) -> Batch:
        raise NonFiniteEventsError(3, len(asked))

    def log_dict(self, values: object, **_: object) -> None:
        self.logged.append(values)


def test_events_that_are_not_finite_are_not_judged(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    truth, module = Copies(events(30, 0)), Failing()
    monkeypatch.setattr("simulacra.callbacks.judge.Module", Failing)
    monkeypatch.setattr("simulacra.callbacks.look.data_of", lambda _: truth)
    monkeypatch.setattr("simulacra.callbacks.look._LAST", {})
    trainer = type("Run", (), {"sanity_checking": False, "global_step": 1})()
    ClassifierTest(1, 30, 0).on_validation_epoch_end(trainer, module)
    assert not module.logged
    assert "3 of 30 generated events" in caplog.text
