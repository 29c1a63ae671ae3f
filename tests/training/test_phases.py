"""Phases, accumulation and hooks of objectives, against plain loops that step by hand."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.strategies import DDPStrategy
from torch.optim.lr_scheduler import LambdaLR, OneCycleLR

from phase_toys import (
    SGD,
    Keep,
    Line,
    Loader,
    Make,
    assert_same,
    by_hand,
    events,
    fit,
    objective,
    two_phases,
)
from simulacra.core import UserError
from simulacra.training.objective import Objective
from simulacra.training.optim import Optim, one_cycle

pytestmark = pytest.mark.filterwarnings("ignore:.*no `val_dataloader`")


def test_phases_begin_and_end_exactly_and_may_share_parameters(tmp_path: Path) -> None:
    module, plain = Line(two_phases(1 / 3)), Line(two_phases(1 / 3))
    fit(module, tmp_path, max_epochs=3)
    by_hand(plain, [[batch] for _ in range(3) for batch in events()])
    assert_same(module, plain)
    turns = {name: [turn for key, turn in module.calls if key == name] for name, _ in module.calls}
    assert turns == {
        "first1": list(range(8)),
        "first2": list(range(8, 24)),
        "second3": list(range(24)),
    }


@pytest.mark.parametrize("steps", [1, 2])
def test_each_step_is_taken_on_the_whole_accumulated_group(steps: int, tmp_path: Path) -> None:
    make = two_phases(0.5, steps=steps)
    module, plain = Line(make), Line(make)
    module.accumulate = 3
    fit(module, tmp_path, max_epochs=2)
    groups = [events()[i : i + 3] for i in (0, 3, 6)]
    by_hand(plain, [*groups, *groups])
    assert_same(module, plain, exact=False)
    hooks = {name: sum(key == name for key, _ in module.calls) for name, _ in module.calls}
    assert hooks == {"first1": 3 * steps, "first2": 3 * steps, "second3": 6}


def single(**options: object) -> Make:
    optim = Optim(SGD, partial(one_cycle, max_lr=0.05))
    return lambda module: {"only": objective(module, "first", 1.0, optim, **options)}


def test_a_single_objective_is_stepped_by_lightning_and_its_hook_after_each_step(
    tmp_path: Path,
) -> None:
    module = Line(single())
    runner = fit(module, tmp_path, max_epochs=2, accumulate_grad_batches=3)
    assert module.automatic_optimization
    assert runner.global_step == len(module.calls) == 6


@pytest.mark.parametrize("make", [single(), two_phases(0.5)])
def test_objectives_are_made_once_for_a_training(make: Make, tmp_path: Path) -> None:
    def counted(module: Line) -> dict[str, Objective]:
        made[-1] += 1
        return make(module)

    made = []
    for epochs in (1, 3):
        made.append(0)
        fit(Line(counted), tmp_path, max_epochs=epochs)
    assert made[0] == made[1]


def test_a_single_objective_may_take_several_steps_on_some_turns(tmp_path: Path) -> None:
    make = single(every=3, steps=2)
    module = Line(make)
    runner = fit(module, tmp_path, max_epochs=1, limit_train_batches=7)
    assert [turn for _, turn in module.calls] == [0, 0, 3, 3, 6, 6]
    scheduler = runner.lr_scheduler_configs[0].scheduler
    assert isinstance(scheduler, OneCycleLR)
    assert scheduler.total_steps == scheduler.last_epoch == 6
    logged = {key for key in runner.callback_metrics if key.startswith("train")}
    assert logged == {"train/loss", "train/grad_norm"}


def test_turns_are_counted_from_the_beginning_of_the_phase(tmp_path: Path) -> None:
    def make(module: Line) -> dict[str, Objective]:
        return {
            "early": objective(module, "first", 1.0, Optim(SGD), end=0.375),
            "late": objective(module, "first", 2.0, Optim(SGD), begin=0.375, every=2),
        }

    module = Line(make)
    fit(module, tmp_path, max_epochs=1)
    assert [turn for key, turn in module.calls if key == "first2"] == [3, 5, 7]


def test_schedules_are_as_long_as_their_phases(tmp_path: Path) -> None:
    seen = []

    def constant(optimizer: torch.optim.Optimizer, total_steps: int) -> LambdaLR:
        seen.append(total_steps)
        return LambdaLR(optimizer, lambda _: 1.0)

    def make(module: Line) -> dict[str, Objective]:
        optim = Optim(SGD, constant)
        return {
            "early": objective(module, "first", 1.0, optim, end=0.25, steps=3),
            "late": objective(module, "first", 2.0, optim, begin=0.25),
        }

    runner = fit(Line(make), tmp_path, max_epochs=3)
    assert seen == [18, 18]
    assert [item.scheduler.last_epoch for item in runner.lr_scheduler_configs] == [18, 18]
    runner = fit(Line(make), tmp_path, max_epochs=-1, max_steps=35)
    assert runner.global_step in (35, 36)
    assert sum(seen[2:]) == 36, "24 turns: six of three steps, eighteen of one"


def test_rounded_borders_leave_no_turns_without_an_objective(tmp_path: Path) -> None:
    def make(module: Line) -> dict[str, Objective]:
        return {
            "early": objective(module, "first", 1.0, Optim(SGD), end=0.5),
            "late": objective(module, "first", 2.0, Optim(SGD), begin=0.5, steps=3),
        }

    # three turns would be enough on average, but the border falls so that they make five steps
    assert fit(Line(make), tmp_path, max_epochs=3, max_steps=6).global_step == 2 + 2 * 3


@pytest.mark.parametrize("accumulate", [1, 3])
@pytest.mark.parametrize("border", [0.4, 0.5, 0.75])
def test_a_run_resumed_within_a_phase_or_at_its_border_is_the_same_bit_for_bit(
    border: float, accumulate: int, tmp_path: Path
) -> None:
    make = two_phases(border, scheduled=True, steps=2)
    whole = Line(make)
    whole.accumulate = accumulate
    runner = fit(whole, tmp_path, max_epochs=4, callbacks=[Keep(tmp_path)])
    for epoch in range(3):
        again = Line(make)
        again.accumulate = accumulate
        resumed = fit(again, tmp_path, tmp_path / f"{epoch}.ckpt", max_epochs=4)
        assert_same(whole, again)
        assert again.calls == whole.calls[-len(again.calls) :]
        for one, other in zip(runner.optimizers, resumed.optimizers, strict=True):
            assert one.param_groups[0]["lr"] == other.param_groups[0]["lr"]
            assert one.state_dict()["state"].keys() == other.state_dict()["state"].keys()


class Watch(pl.Callback):
    """Notes progress in training and validation, and which losses are validated."""

    def __init__(self) -> None:
        self.training: list[float] = []
        self.validation: list[tuple[float, set[str]]] = []

    def on_train_batch_start(self, trainer: pl.Trainer, module: Line, *_: object) -> None:
        self.training.append(module.progress)

    def on_validation_end(self, trainer: pl.Trainer, module: Line) -> None:
        self.validation.append((module.progress, set(module.current_objectives())))


@pytest.mark.parametrize("several", [False, True])
def test_progress_is_the_share_of_the_turns_that_are_done(several: bool, tmp_path: Path) -> None:
    watch = Watch()
    module = Line(two_phases(0.5) if several else single())
    assert module.progress == 0
    module.accumulate = 3 if several else 1
    options = {} if several else {"accumulate_grad_batches": 3}
    kept = Keep(tmp_path)
    fit(module, tmp_path, max_epochs=2, callbacks=[watch, kept], **options)
    turns = [0, 0, 0, 1, 1, 1, 2, 2]
    expected = [turn / 6 for turn in (*turns, *(3 + turn for turn in turns))]
    assert watch.training == expected
    assert module.progress == 1
    watch.training.clear()
    again = Line(two_phases(0.5) if several else single())
    again.accumulate = module.accumulate
    fit(again, tmp_path, tmp_path / "0.ckpt", max_epochs=2, callbacks=[watch], **options)
    assert watch.training == expected[8:]


def test_losses_of_the_present_phase_are_validated(tmp_path: Path) -> None:
    watch, module = Watch(), Line(two_phases(0.5))
    runner = pl.Trainer(
        default_root_dir=tmp_path, max_epochs=4, callbacks=[watch], logger=False, accelerator="cpu",
        enable_progress_bar=False, enable_model_summary=False, enable_checkpointing=False,
    )  # fmt: skip
    runner.fit(module, Loader(), Loader())
    early, late = {"early", "all"}, {"late", "all"}
    assert watch.validation[1:] == [(0.25, early), (0.5, early), (0.75, late), (1.0, late)]
    assert watch.validation[0] == (0.0, early), "the check before training"
    found = runner.validate(module, Loader(), verbose=False)
    assert set(found[0]) == {"val/late/loss", "val/all/loss"}
    assert set(Line(two_phases(0.5)).current_objectives()) == late


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"begin": 0.5, "end": 0.5}, "0 <= begin < end <= 1, got begin=0.5, end=0.5"),
        ({"begin": 0.7, "end": 0.2}, "0 <= begin < end <= 1"),
        ({"begin": -0.1}, "0 <= begin"),
        ({"end": 1.5}, "end <= 1"),
        ({"every": 0}, "every >= 1"),
        ({"steps": 0}, "steps >= 1"),
        ({"begin": 0.3}, "nothing is trained between 0 and 0.3 of the run"),
        ({"end": 0.8}, "nothing is trained between 0.8 and 1 of the run"),
    ],
)
def test_phases_that_are_none_or_leave_a_gap_are_refused(
    options: dict[str, float], sentence: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=sentence):
        fit(Line(single(**options)), tmp_path, max_epochs=1)


@pytest.mark.slow
@pytest.mark.filterwarnings(
    "ignore:torch.distributed.nn.functional.* is deprecated:FutureWarning"
)  # Lightning's
@pytest.mark.parametrize("accumulate", [1, 3])
def test_two_processes_train_as_one_does(accumulate: int, tmp_path: Path) -> None:
    make = two_phases(0.4, scheduled=True, steps=2)
    alone, shared = Line(make), Line(make)
    alone.accumulate = shared.accumulate = accumulate
    fit(alone, tmp_path, max_epochs=2)
    strategy = DDPStrategy(
        start_method="fork", process_group_backend="gloo", find_unused_parameters=True
    )
    fit(shared, tmp_path, max_epochs=2, devices=2, strategy=strategy)
    assert not torch.equal(alone.first.weight, Line(make).first.weight)
    assert_same(alone, shared, exact=False)
