"""Modules of one or two lines whose phases can be counted, and runs of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytorch_lightning as pl
import torch
from torch import Tensor, distributed, nn

from simulacra.core import Batch, Latent, Spec, regular_grid
from simulacra.training.module import Module
from simulacra.training.objective import Objective
from simulacra.training.optim import Optim, one_cycle

SPEC = Spec("toy", "grid", (1, 2, 2), "MeV", geometry=regular_grid(1, (range(3), range(3))))
BATCHES, SIZE = 8, 6
SGD, ADAM = partial(torch.optim.SGD, lr=0.05), partial(torch.optim.Adam, lr=0.02)

Make = Callable[["Line"], dict[str, Objective]]


class Identity(nn.Module):
    fitted = True

    def digest(self) -> str:
        return "0" * 64

    def forward(self, batch: Batch, generator: torch.Generator | None = None) -> Latent:
        return Latent({"x": batch.x.flatten(1)})


class Line(Module):
    """Two straight lines; ``make`` says what is minimised."""

    def __init__(self, make: Make) -> None:
        super().__init__(SPEC)
        torch.manual_seed(0)
        self.transform = Identity()  # type: ignore[assignment]
        self.first, self.second = nn.Linear(4, 1), nn.Linear(4, 1)
        self.make, self.calls = make, []

    @classmethod
    def accepts(cls, spec: Spec) -> str | None:
        return None

    def objectives(self) -> dict[str, Objective]:
        return self.make(self)

    def judged(self, batch: Batch, **_: object) -> Batch:
        return batch

    def called(self, name: str) -> Callable[[], None]:
        """A hook that notes the turn in which it is called."""
        return lambda: self.calls.append((name, self._turn()[0]))


def squares(net: nn.Module, target: float, latent: Latent, generator: object) -> dict[str, Tensor]:
    return {"loss": (net(latent.x["x"]) - target).square().mean()}


def objective(module: Line, name: str, target: float, optim: Optim, **options: object) -> Objective:
    net, after = getattr(module, name), module.called(f"{name}{target:g}")
    loss = partial(squares, net, target)
    return Objective(loss, list(net.parameters()), optim, after=after, **options)  # type: ignore[arg-type]


def two_phases(border: float, scheduled: bool = False, **options: int) -> Make:
    """The first line towards 1 with SGD, from ``border`` on towards 2 with Adam; the second line always."""
    schedule = partial(one_cycle, max_lr=0.05) if scheduled else None
    late = partial(one_cycle, max_lr=0.02) if scheduled else None

    def make(module: Line) -> dict[str, Objective]:
        return {
            "early": objective(module, "first", 1.0, Optim(SGD, schedule), end=border, **options),
            "late": objective(module, "first", 2.0, Optim(ADAM, late), begin=border, **options),
            "all": objective(module, "second", 3.0, Optim(SGD, schedule)),
        }

    return make


def events() -> list[Batch]:
    x = torch.rand(BATCHES * SIZE, 1, 2, 2, generator=torch.Generator().manual_seed(1))
    return [Batch(x[i : i + SIZE]) for i in range(0, len(x), SIZE)]


class Loader:
    """Batches in a fixed order, of which each of several processes has its share."""

    def __iter__(self) -> Iterator[Batch]:
        rank, world = 0, 1
        if distributed.is_initialized():
            rank, world = distributed.get_rank(), distributed.get_world_size()
        return iter([batch[list(range(rank, SIZE, world))] for batch in events()])

    def __len__(self) -> int:
        return BATCHES


def fit(module: Line, folder: Path, start: Path | None = None, **options: object) -> pl.Trainer:
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    fixed = {"accelerator": "cpu", "enable_checkpointing": False, "use_distributed_sampler": False}
    runner = pl.Trainer(default_root_dir=folder, **{**quiet, **fixed, **options})  # type: ignore[arg-type]
    runner.fit(module, Loader(), ckpt_path=start, weights_only=True)
    return runner


def by_hand(module: Line, turns: list[list[Batch]]) -> None:
    """The same training as a plain loop: every objective takes its turns of all of them."""
    made = module.objectives().values()
    optimizers = [item.optim.optimizer(item.parameters) for item in made]
    for turn, group in enumerate(turns):
        for item, optimizer in zip(made, optimizers, strict=True):
            if turn not in range(
                round(item.begin * len(turns)), round(item.end * len(turns)), item.every
            ):
                continue
            for _ in range(item.steps):
                optimizer.zero_grad()
                latents = [module.encode(batch) for batch in group]
                loss = sum(item.loss(latent, None)["loss"] / len(group) for latent in latents)
                torch.autograd.backward(loss, inputs=list(item.parameters))
                optimizer.step()


def assert_same(first: nn.Module, second: nn.Module, exact: bool = True) -> None:
    for (name, one), other in zip(
        first.state_dict().items(), second.state_dict().values(), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=0, atol=0 if exact else 1e-6, msg=name)


class Keep(pl.Callback):
    """Saves a checkpoint after each epoch."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        trainer.save_checkpoint(self.folder / f"{trainer.current_epoch}.ckpt")
