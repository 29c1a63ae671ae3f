"""Losses and gradients that are not finite: the end of the training, or steps that leave no trace."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn, optim

from simulacra.callbacks.checkpoint import AtomicCheckpointIO
from simulacra.callbacks.ema import EMA
from simulacra.core import Batch, Latent, Spec, UserError, regular_grid
from simulacra.training.module import Module
from simulacra.training.objective import Objective
from simulacra.training.optim import Optim, warmup_cosine

pytestmark = pytest.mark.filterwarnings("ignore:.*no `val_dataloader`")

SPEC = Spec("toy", "grid", (1, 2, 2), "MeV", geometry=regular_grid(1, (range(3), range(3))))
ADAM = partial(optim.AdamW, lr=0.02, weight_decay=0.1)  # moves weights without a gradient, too
KINDS = {"automatic": 1, "by hand": 2}


class Identity(nn.Module):
    fitted = True

    def digest(self) -> str:
        return "0" * 64

    def forward(self, batch: Batch, generator: torch.Generator | None = None) -> Latent:
        return Latent({"x": batch.x.flatten(1)})


class Nets(Module):
    """Small networks with running means, an objective each; ``spoil`` is called with each gradient."""

    def __init__(self, number: int, accumulate: int = 1) -> None:
        super().__init__(SPEC)
        torch.manual_seed(0)
        self.transform = Identity()  # type: ignore[assignment]
        self.nets = nn.ModuleList(
            nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 1)) for _ in range(number)
        )
        self.accumulate, self.after = accumulate, 0

    @classmethod
    def accepts(cls, spec: Spec) -> str | None:
        return None

    def judged(self, batch: Batch, **_: object) -> Batch:
        return batch

    def objectives(self) -> dict[str, Objective]:
        schedule = partial(warmup_cosine, warmup=0.5)
        return {
            f"net{i}": Objective(
                partial(self._loss, net),
                list(net.parameters()),
                Optim(ADAM, schedule),
                after=self._count,
            )
            for i, net in enumerate(self.nets)
        }

    def _count(self) -> None:
        self.after += 1

    @staticmethod
    def _loss(net: nn.Module, latent: Latent, generator: object) -> dict[str, Tensor]:
        return {"loss": (net(latent.x["x"]) - 1.0).square().mean()}


def events(
    bad: tuple[int, ...] = (), value: float = float("nan"), left_out: bool = False
) -> list[Batch]:
    x = torch.rand(8, 6, 1, 2, 2, generator=torch.Generator().manual_seed(1))
    for number in bad:
        x[number, 0] = value
    return [Batch(part) for number, part in enumerate(x) if not (left_out and number in bad)]


class Loader:
    """Batches in a fixed order."""

    def __init__(self, batches: list[Batch]) -> None:
        self.batches = batches

    def __iter__(self) -> Iterator[Batch]:
        return iter(self.batches)

    def __len__(self) -> int:
        return len(self.batches)


def fit(
    module: Nets, batches: list[Batch], folder: Path, turns: int = 8, **options: object
) -> pl.Trainer:
    average = EMA(0.9, 1.0)
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = pl.Trainer(
        default_root_dir=folder,
        accelerator="cpu",
        max_epochs=1,
        callbacks=[average],
        enable_checkpointing=False,
        **quiet,
        **options,  # type: ignore[arg-type]
    )
    module._count_turns = lambda: turns  # type: ignore[method-assign]  # one plan for runs of both lengths
    trainer.fit(module, Loader(batches))
    return trainer


def state(module: Nets, trainer: pl.Trainer) -> dict[str, object]:
    return {
        "averages": {k: v.clone() for k, v in module.state_dict().items()},
        "optimizers": [o.state_dict()["state"] for o in trainer.optimizers],
        "schedules": [c.scheduler.last_epoch for c in trainer.lr_scheduler_configs],
        "after": module.after,
    }


def assert_same(one: object, other: object) -> None:
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            assert_same(one[key], other[key])
    elif isinstance(one, list):
        for a, b in zip(one, other, strict=True):
            assert_same(a, b)
    elif isinstance(one, Tensor):
        assert torch.equal(one, other)
    else:
        assert one == other


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("kind", KINDS)
def test_a_skipped_step_is_as_if_its_batch_had_not_been_there(
    kind: str, value: float, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    without = Nets(KINDS[kind])
    expected = state(without, fit(without, events((2, 5), left_out=True), tmp_path))
    module = Nets(KINDS[kind])
    module.skips.allowed = 2 * KINDS[kind]
    found = state(module, fit(module, events((2, 5), value), tmp_path))
    assert_same(expected, found)
    assert module.skips.done == 2 * KINDS[kind]
    assert "not finite: skipped" in caplog.text


@pytest.mark.parametrize("kind", KINDS)
def test_a_group_of_batches_is_skipped_as_one(kind: str, tmp_path: Path) -> None:
    hand = KINDS[kind] > 1
    options = {} if hand else {"accumulate_grad_batches": 2}
    runs = []
    for batches, allowed in ((events()[:4] + events()[6:], 0), (events((5,)), KINDS[kind])):
        module = Nets(KINDS[kind], accumulate=2 if hand else 1)
        module.skips.allowed = allowed
        runs.append(state(module, fit(module, batches, tmp_path, 4, **options)))
    assert_same(*runs)


@pytest.mark.parametrize("kind", KINDS)
def test_training_stops_at_the_first_step_that_may_not_be_skipped(
    kind: str, tmp_path: Path
) -> None:
    module = Nets(KINDS[kind])
    module.skips.allowed = KINDS[kind]
    with pytest.raises(
        UserError, match=r"after \d skipped.*loss nan.*'net0'.*skip_nonfinite=\d+"
    ) as stopped:
        fit(module, events((2, 5)), tmp_path)
    assert "\n" not in str(stopped.value)
    assert all(bool(p.isfinite().all()) for p in module.parameters())


def test_a_gradient_that_is_not_finite_is_found_though_the_loss_is(tmp_path: Path) -> None:
    module = Nets(1)
    module.nets[0][1].weight.register_hook(lambda gradient: gradient * float("inf"))
    with pytest.raises(UserError, match=r"gradient of norm (inf|nan)"):
        fit(module, events(), tmp_path)


def test_weights_that_are_not_finite_are_not_saved(tmp_path: Path) -> None:
    plugin, path = AtomicCheckpointIO(), tmp_path / "best.ckpt"
    good = {"state_dict": {"a": torch.ones(3), "b": torch.tensor([1])}}
    plugin.save_checkpoint(good, path)
    for part in ("state_dict", "current_model_state"):
        bad = {**good, part: {"a": torch.tensor([1.0, float("nan"), 2.0])}}
        with pytest.raises(UserError, match=r"best.ckpt was not written: 1 tensors.*'a'"):
            plugin.save_checkpoint(bad, path)
    assert torch.equal(torch.load(path, weights_only=True)["state_dict"]["a"], torch.ones(3))
    assert [item.name for item in tmp_path.iterdir()] == ["best.ckpt"]
