"""Networks that start anew on schedule: their optimizer, their turns, resumed runs, several processes."""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.strategies import DDPStrategy
from torch import Tensor, nn

from phase_toys import ADAM, Keep, Line, Make, assert_same, fit, objective
from simulacra.core import Batch, UserError
from simulacra.training.objective import Objective, Renewal
from simulacra.training.optim import Optim, one_cycle

pytestmark = pytest.mark.filterwarnings("ignore:.*no `val_dataloader`")


def renewed(turns: int, **options: object) -> Make:
    """The first line starts anew, beside the second, which goes on."""

    def make(module: Line) -> dict[str, Objective]:
        renewal = Renewal(module.first, partial(nn.Linear, 4, 1), turns)
        optim = Optim(ADAM, partial(one_cycle, max_lr=0.05))
        return {
            "renewed": objective(module, "first", 1.0, optim, renewal=renewal, **options),
            "other": objective(module, "second", 1.0, Optim(ADAM)),
        }

    return make


class Seeded(pl.Callback):
    """Random numbers are a function of batch and rank, as in every training of the package."""

    def on_train_batch_start(
        self, trainer: pl.Trainer, module: pl.LightningModule, batch: Batch, batch_idx: int
    ) -> None:
        place = 10**6 * trainer.global_rank + 1000 * trainer.current_epoch + batch_idx
        torch.manual_seed(place)


class Starts(pl.Callback):
    """Notes how often the optimizer of the first objective has stepped since it saw nothing."""

    def __init__(self) -> None:
        self.steps: list[int] = []
        self.weights: list[Tensor] = []

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: pl.LightningModule, *_: object
    ) -> None:
        (state, *_) = trainer.optimizers[0].state.values()
        self.steps.append(int(state["step"]))
        self.weights.append(module.first.weight.detach().clone())


def test_a_network_starts_anew_on_schedule_and_its_optimizer_with_it(tmp_path: Path) -> None:
    seen, module = Starts(), Line(renewed(5))
    runner = fit(module, tmp_path, max_epochs=2, callbacks=[Seeded(), seen])
    assert seen.steps == [1, 2, 3, 4, 5] * 3 + [1]
    moved = [float((b - a).abs().max()) for a, b in pairwise(seen.weights)]
    anew = [turn for turn, size in enumerate(moved, 1) if size > 0.06]
    assert anew == [5, 10, 15], "steps of Adam are no longer than the rate, 0.05 at most"
    torch.manual_seed(1000 + 2)  # turn 10 is the third of the second epoch
    fresh = nn.Linear(4, 1)
    assert float((seen.weights[10] - fresh.weight.detach()).abs().max()) <= 0.0501
    assert runner.optimizers[1].state[module.second.weight]["step"] == 16
    assert runner.lr_scheduler_configs[0].scheduler.last_epoch == 16, "the schedule goes on"


def test_starts_are_counted_in_the_turns_of_the_objective(tmp_path: Path) -> None:
    seen = Starts()
    fit(Line(renewed(2, every=3)), tmp_path, max_epochs=2, callbacks=[Seeded(), seen])
    assert seen.steps == [1, 1, 1, 2, 2, 2, 1, 1, 1, 2, 2, 2, 1, 1, 1, 2]


def test_a_single_objective_whose_network_starts_anew_is_stepped_by_hand(tmp_path: Path) -> None:
    def make(module: Line) -> dict[str, Objective]:
        return {"renewed": renewed(5)(module)["renewed"]}

    seen = Starts()
    fit(Line(make), tmp_path, max_epochs=1, callbacks=[Seeded(), seen])
    assert seen.steps == [1, 2, 3, 4, 5, 1, 2, 3]


@pytest.mark.parametrize("every", [3, 8])
def test_a_run_resumed_between_two_starts_is_the_same_bit_for_bit(
    every: int, tmp_path: Path
) -> None:
    whole = Line(renewed(every))
    fit(whole, tmp_path, max_epochs=3, callbacks=[Keep(tmp_path), Seeded()])
    for epoch in range(2):
        again = Line(renewed(every))
        fit(again, tmp_path, tmp_path / f"{epoch}.ckpt", max_epochs=3, callbacks=[Seeded()])
        assert_same(whole, again)


class Alike(pl.Callback):
    """Both processes have the same weights after each batch."""

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: pl.LightningModule, *_: object
    ) -> None:
        first, second = module.all_gather(module.first.weight.detach())
        assert torch.equal(first, second)


@pytest.mark.slow
@pytest.mark.filterwarnings(
    "ignore:torch.distributed.nn.functional.* is deprecated:FutureWarning"
)  # Lightning's
def test_a_network_starts_anew_with_the_same_weights_in_all_processes(tmp_path: Path) -> None:
    module = Line(renewed(3))
    strategy = DDPStrategy(
        start_method="fork", process_group_backend="gloo", find_unused_parameters=True
    )
    watching = [Seeded(), Alike()]
    fit(module, tmp_path, max_epochs=1, devices=2, strategy=strategy, callbacks=watching)
    assert not torch.equal(module.first.weight, Line(renewed(3)).first.weight)


def test_a_network_starts_anew_at_least_every_turn() -> None:
    with pytest.raises(UserError, match="every 1 or more turns, got 0"):
        Renewal(nn.Linear(1, 1), partial(nn.Linear, 1, 1), 0)
