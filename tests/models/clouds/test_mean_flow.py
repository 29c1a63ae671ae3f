"""Any model of flow matching learns mean velocities: by its configuration, from its own plain checkpoint."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from jet_toys import generator, jet_spec, jets
from simulacra.core import IncompatibleError
from simulacra.evaluation.build import build_model
from simulacra.models.clouds.cloud_diffusion import CloudDiffusion
from simulacra.training.checkpoint import load
from simulacra.training.fine_tuning import fine_tune
from support import composed, save

ASKED = ("model=epic_fm", "model/size=tiny")
MEAN = ("model/process=mean_flow", "+solver@model.solver=mean")


def built(*changes: str, seed: int = 0) -> tuple[CloudDiffusion, dict]:
    settings = composed("model", *ASKED, *changes)
    torch.manual_seed(seed)
    module = build_model({"model": settings}, jet_spec(8)).fit_transform([jets(0, 40, 8)])
    assert isinstance(module, CloudDiffusion)
    return module, settings


@pytest.mark.parametrize("process", ["mean_flow", "split_mean_flow"])
def test_a_model_of_mean_velocities_learns_and_samples_in_one_step(process: str) -> None:
    module, _ = built(f"model/process={process}", "+solver@model.solver=mean")
    events = jets(0, 40, 8)
    (objective,) = module.objectives().values()
    losses = []
    optimizer = torch.optim.Adam(module.parameters(), 1e-3)
    for _ in range(2):  # the second step starts from lengths that matter
        optimizer.zero_grad()
        loss = objective.loss(module.encode(events, generator()), generator())["loss"]
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in module.parameters())
    assert losses[1] < losses[0]
    made = module.eval().sample(events[:6].conditions(), generator=generator(1))
    assert bool(made.x.isfinite().all())
    assert module.solver.evaluations == 1
    with torch.inference_mode():  # as in validation
        seen = objective.loss(module.encode(events, generator()), generator())["loss"]
    again = objective.loss(module.encode(events, generator()), generator())["loss"]
    torch.testing.assert_close(seen, again.detach())


def test_a_plain_checkpoint_is_a_start_with_the_same_velocity(tmp_path: Path) -> None:
    plain, settings = built(seed=1)
    path = save(plain, settings, tmp_path)
    module, own = built(*MEAN)
    fine_tune(module, path)
    x, t = torch.randn(4, 8, 3, generator=generator()), torch.rand(4, generator=generator())
    mask = torch.arange(8) < torch.tensor([[8], [3], [1], [5]])
    context = torch.randn(4, module.context_width, generator=generator())
    velocities = [
        each.process.denoiser(each.network(context).at(mask)).velocity(x, t)
        for each in (plain, module)
    ]
    assert torch.equal(*velocities)
    with torch.no_grad():
        module.net.time.length.weight.add_(1.0)
    again = save(module, own, tmp_path)
    other, _ = built(*MEAN, seed=2)
    fine_tune(other, again)
    assert torch.equal(other.net.time.length.weight, module.net.time.length.weight)
    assert torch.equal(load(again).net.time.length.weight, module.net.time.length.weight)
    with pytest.raises(IncompatibleError, match=r"entries differ.*time\.length\.weight"):
        fine_tune(built()[0], again)
