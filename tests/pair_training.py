"""A short training of a task without a trainer: what its objectives ask for, on batches drawn at random."""

from __future__ import annotations

import torch

from simulacra.core import Batch
from simulacra.training.module import Module


def train(module: Module, batch: Batch, turns: int, size: int, seed: int = 0) -> None:
    """Fit the transform and train for a number of turns."""
    module.fit_transform([batch])
    module.train()
    generator = torch.Generator().manual_seed(seed)
    objectives = module.objectives()
    optimizers = {name: item.optim.start(item.parameters) for name, item in objectives.items()}
    schedules = {
        name: item.optim.schedule(optimizers[name], turns * item.steps)
        for name, item in objectives.items()
    }
    for _ in range(turns):
        rows = torch.randint(len(batch), (size,), generator=generator)
        latent = module.encode(batch[rows], generator)
        for name, objective in objectives.items():
            for _ in range(objective.steps):
                optimizers[name].zero_grad()
                objective.loss(latent, generator)["loss"].backward()
                optimizers[name].step()
                schedule = schedules[name]
                if schedule is not None:
                    schedule.step()
    module.eval()
