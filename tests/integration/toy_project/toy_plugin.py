"""A user's own data set and models, as plug-ins found in the current folder: showers of a few cells.

The energy of each of 48 cells is ``E exp(m + s n)`` with fixed ``m``, ``s`` and unit noise ``n``.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from simulacra.core import Batch, Conditions, Field, Latent, Prior, Spec, regular_grid
from simulacra.data.base import EventDataModule
from simulacra.data.source import MemorySource, Part
from simulacra.formats.ild import IldGrid
from simulacra.physics.base import ObservableSet
from simulacra.physics.ild import ILDObservables
from simulacra.training.generative import GenerativeModule
from simulacra.training.objective import Objective, frozen
from simulacra.training.optim import Optim
from simulacra.transforms.base import Batches, Transform

SHAPE = (3, 4, 4)
PARTS = {"train": 512, "val": 128, "test": 96}


def spec() -> Spec:
    edges = [float(i) for i in range(5)]
    return Spec(
        name="toy",
        kind="grid",
        shape=SHAPE,
        unit="MeV",
        conditions=(Field("incident_energy", "GeV", low=10.0, high=100.0, role="energy"),),
        geometry=regular_grid(3, (edges, edges)),
        prior=(Prior("incident_energy", "uniform", (10.0, 100.0)),),
        sample_batch=50,
    )


class ToyData(EventDataModule):
    @property
    def native_spec(self) -> Spec:
        return spec()

    @property
    def format(self) -> IldGrid:
        return IldGrid(self.native_spec, "toy")

    @property
    def observables(self) -> ObservableSet:
        return ILDObservables(self.native_spec, radial_bins=2)

    @property
    def provenance(self) -> dict[str, str]:
        return {"toy": "made up"}

    def write_toy(self, folder: Path, n: int, seed: int = 0) -> None:
        self.format.toy(folder / "toy.hdf5", n, seed)

    def load(self) -> Mapping[str, Part]:
        generator = torch.Generator().manual_seed(5)
        n = sum(PARTS.values())
        energy = 10 + 90 * torch.rand(n, 1, generator=generator)
        mean = torch.linspace(-2, 1, 48).view(SHAPE)
        x = energy.view(-1, 1, 1, 1) * torch.exp(
            mean + 0.3 * torch.randn(n, *SHAPE, generator=generator)
        )
        source = MemorySource(Batch(x, {"incident_energy": energy}))
        parts = torch.split(torch.arange(n), list(PARTS.values()))
        return {name: Part(source, index) for name, index in zip(PARTS, parts, strict=True)}


class ToyTransform(Transform):
    """Log of the energy fraction, standardised as a whole."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(()))
        self.register_buffer(
            "order", torch.tensor([3, 1, 0, 2])
        )  # an integer buffer, as a flow's permutation

    def fit_statistics(self, batches: Batches) -> None:
        self.mean.copy_(torch.stack([self._log(batch).mean() for batch in batches]).mean())

    def forward(self, batch: Batch, generator: torch.Generator | None = None) -> Latent:
        noise = 1e-3 * torch.randn(len(batch), 48, generator=generator) if self.training else 0.0
        return Latent(
            {"shower": self._log(batch) - self.mean + noise}, self.condition(batch.conditions())
        )

    def inverse(
        self, latent: Latent, cond: Conditions, generator: torch.Generator | None = None
    ) -> Batch:
        x = cond.values["incident_energy"] * torch.exp(latent.x["shower"] + self.mean)
        return Batch(x.view(-1, *SHAPE), cond.values)

    def condition(self, cond: Conditions) -> Tensor:
        return cond.values["incident_energy"] / 100

    @staticmethod
    def _log(batch: Batch) -> Tensor:
        return torch.log(batch.x.flatten(1) / batch.cond["incident_energy"])


class ToyFlow(GenerativeModule):
    """Independent Gaussians with learned means and widths: one objective, the exact likelihood."""

    def __init__(
        self,
        spec: Spec,
        given: Sequence[str] | None,
        width: int,
        optimizer: Callable,
        scheduler: Callable | None,
    ) -> None:
        super().__init__(spec, given)
        self.transform = ToyTransform()
        self.net = nn.Sequential(
            nn.Linear(1, width), nn.Tanh(), nn.Dropout(0.1), nn.Linear(width, 96)
        )
        self.running = nn.BatchNorm1d(48, affine=False)  # buffers that training changes
        self.optimizer, self.scheduler = optimizer, scheduler

    @classmethod
    def accepts(cls, spec: Spec) -> str | None:
        return None if spec.kind == "grid" else f"it needs a grid, not {spec.kind} data"

    def objectives(self) -> dict[str, Objective]:
        parameters = list(self.net.parameters())
        return {"flow": Objective(self._loss, parameters, Optim(self.optimizer, self.scheduler))}

    def generate(self, cond: Conditions, generator: torch.Generator | None = None) -> Latent:
        mean, log_width = self.net(self.transform.condition(cond)).chunk(2, 1)
        noise = torch.randn(len(cond), 48, generator=generator, device=mean.device)
        return Latent({"shower": mean + log_width.exp() * noise})

    def _loss(self, latent: Latent, generator: torch.Generator | None) -> dict[str, Tensor]:
        self.running(latent.x["shower"])
        mean, log_width = self.net(latent.cond).chunk(2, 1)
        z = (latent.x["shower"] - mean) / log_width.exp()
        return {"loss": (0.5 * z.square() + log_width).sum(1).mean()}


class ToyGAN(ToyFlow):
    """The same generator against a critic: two objectives."""

    def __init__(
        self,
        spec: Spec,
        given: Sequence[str] | None,
        width: int,
        optimizer: Callable,
        scheduler: Callable | None,
    ) -> None:
        super().__init__(spec, given, width, optimizer, scheduler)
        self.critic = nn.Sequential(nn.Linear(49, width), nn.LeakyReLU(), nn.Linear(width, 1))

    def used_parameters(self) -> list[nn.Parameter]:
        return list(self.net.parameters())

    def objectives(self) -> dict[str, Objective]:
        critic, net = list(self.critic.parameters()), list(self.net.parameters())
        optim = Optim(self.optimizer, self.scheduler)
        return {
            "critic": Objective(self._critic_loss, critic, optim),
            "generator": Objective(self._generator_loss, net, optim, every=2),
        }

    def _fake(self, latent: Latent, generator: torch.Generator | None) -> Tensor:
        mean, log_width = self.net(latent.cond).chunk(2, 1)
        return mean + log_width.exp() * torch.randn(mean.shape, generator=generator)

    def _critic_loss(self, latent: Latent, generator: torch.Generator | None) -> dict[str, Tensor]:
        with torch.no_grad():
            fake = self._fake(latent, generator)
        true = self.critic(torch.cat([latent.x["shower"], latent.cond], 1))
        return {
            "loss": (self.critic(torch.cat([fake, latent.cond], 1)) - true).mean()
            + 0.1 * true.square().mean()
        }

    def _generator_loss(
        self, latent: Latent, generator: torch.Generator | None
    ) -> dict[str, Tensor]:
        with frozen(self.critic):
            return {
                "loss": -self.critic(
                    torch.cat([self._fake(latent, generator), latent.cond], 1)
                ).mean()
            }


class ToyPhases(ToyFlow):
    """The same generator, whose second half of the training has an optimizer of its own."""

    def objectives(self) -> dict[str, Objective]:
        parameters, optim = list(self.net.parameters()), Optim(self.optimizer, self.scheduler)
        return {
            "early": Objective(self._loss, parameters, optim, end=0.5),
            "late": Objective(self._loss, parameters, optim, begin=0.5),
        }


class Signal(pl.Callback):
    """Sends a signal to the process itself at a given batch, in the validation of an epoch (batch null) or
    when as many epochs have ended the training (batch end), so many times; without a number it just ends it.
    """

    def __init__(
        self, number: int | None, epoch: int, batch: int | str | None, times: int = 1
    ) -> None:
        self.number, self.at, self.times = number, (epoch, batch), times

    def on_train_batch_start(
        self, trainer: pl.Trainer, module: pl.LightningModule, batch: Batch, batch_idx: int
    ) -> None:
        self.send((trainer.current_epoch, batch_idx))

    def on_validation_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self.send((trainer.current_epoch, None))

    def on_train_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self.send((trainer.current_epoch, "end"))

    def send(self, place: tuple[int, int | str | None]) -> None:
        if place == self.at:
            if self.number is None:
                raise SystemExit(1)
            for _ in range(self.times):
                os.kill(os.getpid(), self.number)


class Silent(Signal):
    """Sends none, in its place."""

    def send(self, place: tuple[int, int | str | None]) -> None:
        """Nothing."""


class Fingerprint(pl.Callback):
    """Writes a digest of the weights of every rank, and how many validation events it has seen."""

    def __init__(self, folder: str) -> None:
        self.folder, self.seen = Path(folder), 0

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        module: pl.LightningModule,
        outputs: object,
        batch: Batch,
        *_: int,
    ) -> None:
        self.seen += len(batch)

    def on_train_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        weights = torch.cat([parameter.detach().flatten() for parameter in module.parameters()])
        digest = hashlib.sha256(weights.numpy().tobytes()).hexdigest()
        text = json.dumps({"digest": digest, "world": trainer.world_size, "seen": self.seen})
        (self.folder / f"rank{trainer.global_rank}.json").write_text(text)
