"""Real jets of the package's sample for short trainings, and how far the masses of generated ones are off."""

from __future__ import annotations

from importlib.resources import files

import h5py
import torch
from torch import Tensor

from simulacra.core import Batch, Spec
from simulacra.formats.jetnet import jetnet
from simulacra.training.generative import GenerativeModule

CLASSES = ("q", "t")


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def jets(first: int, last: int, particles: int = 30) -> Batch:
    """Events ``first`` to ``last`` of both classes, their hardest particles, shuffled."""
    parts = []
    for number, name in enumerate(CLASSES):
        path = files("simulacra.data") / "embedded" / "jetnet30" / f"{name}.hdf5"
        with path.open("rb") as stream, h5py.File(stream) as file:
            points = torch.from_numpy(file["particle_features"][first:last, :particles])
            jet = torch.from_numpy(file["jet_features"][first:last])
        mask = points[..., 3] > 0
        event = {key: jet[:, i : i + 1] for i, key in enumerate(("pt", "eta", "mass"))}
        event["num_particles"] = mask.sum(1, keepdim=True).float()
        cond = {"jet_class": torch.full((len(jet), 1), number)}
        parts.append(Batch(points[..., :3] * mask[..., None], cond, event, mask))
    whole = Batch.cat(parts)
    return whole[torch.randperm(len(whole), generator=generator())]


def jet_spec(particles: int = 30) -> Spec:
    spec = jetnet(30, CLASSES)
    return spec.with_(shape=(particles, 3))


def relative_mass(events: Batch) -> Tensor:
    """Mass over transverse momentum of the sum of massless particles, ``(B,)``."""
    eta, phi, pt = events.x.double().unbind(-1)
    energy, along = (pt * eta.cosh()).sum(1), (pt * eta.sinh()).sum(1)
    across = (pt * phi.cos()).sum(1).square() + (pt * phi.sin()).sum(1).square()
    return (energy.square() - along.square() - across).clamp_min(0).sqrt()


def wasserstein(first: Tensor, second: Tensor) -> float:
    """W1 of two samples of equal size."""
    return float(
        (first.flatten().double().sort().values - second.flatten().double().sort().values)
        .abs()
        .mean()
    )


def mass_distances(events: Batch, truth: Batch, wanted: Tensor) -> list[float]:
    """W1 of the relative mass for each class, in units of 1e-3."""
    classes = truth.cond["jet_class"][:, 0]
    return [
        1e3 * wasserstein(relative_mass(events)[wanted == c], relative_mass(truth)[classes == c])
        for c in (0, 1)
    ]


def train(
    module: GenerativeModule, events: Batch, steps: int, batch_size: int, decay: float = 0.0
) -> None:
    """Plain loop over the module's objectives, in their order on each batch.

    Args:
        module: What is trained; it ends with a moving average of the generator's weights.
        events: The training sample.
        steps: Batches.
        batch_size: Events per batch.
        decay: Share of the old average that is kept per batch, from the second half on; 0: no average.
    """
    stepped = []
    for objective in module.objectives().values():
        optimizer = objective.optim.optimizer(objective.parameters)
        assert objective.optim.scheduler is not None
        stepped.append(
            (objective, optimizer, objective.optim.scheduler(optimizer, total_steps=steps))
        )
    g = generator(3)
    mean = [parameter.detach().clone() for parameter in module.used_parameters()]
    module.train()
    for step in range(steps):
        chosen = torch.randint(0, len(events), (batch_size,), generator=g)
        latent = module.encode(events[chosen], g)
        for objective, optimizer, schedule in stepped:
            optimizer.zero_grad()
            objective.loss(latent, g)["loss"].backward()
            torch.nn.utils.clip_grad_norm_(objective.parameters, 1.0)
            optimizer.step()
            schedule.step()
        with torch.no_grad():
            kept = decay if 2 * step > steps else 0.0
            torch._foreach_lerp_(mean, list(module.used_parameters()), 1.0 - kept)
    with torch.no_grad():
        torch._foreach_copy_(list(module.used_parameters()), mean)
