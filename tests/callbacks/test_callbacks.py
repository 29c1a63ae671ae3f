from __future__ import annotations

import random
import re
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from simulacra.callbacks.checkpoint import AtomicCheckpointIO
from simulacra.callbacks.determinism import Determinism
from simulacra.callbacks.look import due
from simulacra.callbacks.physics import PhysicsValidation
from simulacra.callbacks.throughput import Throughput, peak_memory_gib
from simulacra.core import Batch, UserError
from simulacra.models.showers.caloinn import CaloINN
from simulacra.training.record import Record


def trainer(epoch: int = 0, rank: int = 0) -> types.SimpleNamespace:
    return types.SimpleNamespace(
        current_epoch=epoch,
        global_rank=rank,
        world_size=2,
        optimizers=[],
        sanity_checking=False,
        strategy=types.SimpleNamespace(model=None),
    )


def draws(seed: int, epoch: int, rank: int, batch: int = 0) -> tuple[float, float, float]:
    Determinism(seed).on_train_batch_start(trainer(epoch, rank), None, None, batch)
    legacy = float(np.random.rand())  # noqa: NPY002  # the generator that is seeded
    return random.random(), legacy, float(torch.rand(()))


def test_noise_is_a_function_of_seed_epoch_batch_and_rank() -> None:
    first = draws(1, 2, 3)
    assert draws(1, 2, 3) == first
    for other in ((2, 2, 3), (1, 3, 3), (1, 2, 4), (1, 2, 3, 1)):
        assert all(a != b for a, b in zip(first, draws(*other), strict=True))


def test_throughput_counts_events_of_all_ranks_and_the_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = iter([0.0, 3.0, 4.0, 7.0])  # begin and end of two steps of 3 s with 1 s between
    monkeypatch.setattr("time.perf_counter", lambda: next(clock) + 1.0)
    logged: dict[str, float] = {}
    module = types.SimpleNamespace(log_dict=lambda values, **_: logged.update(values))
    callback, batch = Throughput(every=2), Batch(torch.zeros(14, 1))
    callback.on_train_epoch_start(trainer(), module)
    for number in range(2):
        running = trainer()
        running.fit_loop = types.SimpleNamespace(total_batch_idx=number)
        callback.on_train_batch_start(running, module, batch, number)
        callback.on_train_batch_end(running, module, None, batch, number)
    assert logged["perf/events_per_s"] == pytest.approx(2 * 2 * 14 / 7)
    assert logged["perf/step_ms"] == pytest.approx(3000)
    assert logged["perf/loader_fraction"] == pytest.approx(1 / 7)


@pytest.mark.skipif(sys.platform != "linux", reason="compares with what Linux says")
def test_peak_memory_is_that_of_this_process() -> None:
    said = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert said is not None
    assert peak_memory_gib() == pytest.approx(int(said[1]) / 2**20, rel=0.01)


def test_looks_are_due_at_the_first_validation_and_every_so_often() -> None:
    assert [number for number in range(1, 8) if due(trainer(), number, 3)] == [1, 4, 7]
    checking = trainer()
    checking.sanity_checking = True
    assert not due(checking, 1, 1)


def test_a_checkpoint_that_cannot_be_written_leaves_the_old_one(tmp_path, monkeypatch) -> None:
    plugin, path = AtomicCheckpointIO(), tmp_path / "last.ckpt"
    plugin.save_checkpoint({"value": 1}, path)

    def full(contents: object, target: object) -> None:
        target.write(b"half")
        raise RuntimeError(
            "[enforce fail at inline_container.cc] . unexpected pos: file write failed"
        )

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(UserError, match="cannot write the checkpoint"):
        plugin.save_checkpoint({"value": 2}, path)
    assert [item.name for item in tmp_path.iterdir()] == ["last.ckpt"]
    assert torch.load(path, weights_only=True) == {"value": 1}


def test_equal_trainings_give_equal_files_that_are_their_owners(tmp_path) -> None:
    plugin, paths = AtomicCheckpointIO(), [tmp_path / "best.ckpt", tmp_path / "x" / "last.ckpt"]
    for path in paths:
        plugin.save_checkpoint({"state_dict": {"w": torch.arange(3.0)}}, path)
        assert path.stat().st_mode & 0o777 == 0o600
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_infinity_may_mark_what_a_transform_does_not_use(tmp_path) -> None:
    plugin, path = AtomicCheckpointIO(), tmp_path / "last.ckpt"
    marked = {"transform.depths": torch.tensor([1.0, torch.inf])}
    plugin.save_checkpoint({"state_dict": marked}, path)
    for wrong in ({"transform.depths": torch.tensor(torch.nan)}, {"net": torch.tensor(torch.inf)}):
        with pytest.raises(UserError, match="not finite"):
            plugin.save_checkpoint({"state_dict": {**marked, **wrong}}, path)


def test_looks_draw_two_pages_and_the_end_of_a_training_the_others(tmp_path, monkeypatch) -> None:
    def few(result, model, *, chosen_pages):  # type: ignore[no-untyped-def]
        names = "observables_1", "observables_2", "response", "images"
        return {name: Figure() for name in names if chosen_pages(name)}

    monkeypatch.setattr("simulacra.callbacks.physics.figures", few)
    looking, module = trainer(), CaloINN.__new__(CaloINN)
    object.__setattr__(module, "record", Record())
    looking.lightning_module, looking.loggers, looking.global_step = module, [], 7
    callback = PhysicsValidation(1, 10, 0, str(tmp_path), draw=True)
    callback._evaluator = lambda *_: types.SimpleNamespace(metrics={"val/w1_mean": 0.5})
    found = types.SimpleNamespace(generated=None, networks=())
    drawn = lambda: {path.stem for path in tmp_path.iterdir()}  # noqa: E731
    callback.on_train_end(looking, module)
    assert drawn() == set()  # nothing was looked at
    assert callback.judge(looking, found) == {"val/w1_mean": 0.5}
    assert drawn() == {"val_observables_1", "val_response"}
    callback.on_train_end(looking, module)
    assert drawn() == {"val_observables_1", "val_observables_2", "val_response", "val_images"}
