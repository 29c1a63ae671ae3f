"""Clouds in mixed precision: losses are those of single precision up to rounding, and jets are complete."""

from __future__ import annotations

import pytest
import torch

from jet_toys import generator, jet_spec, jets
from support import made

MODELS = ("epic_fm", "epic_gan", "gapt", "igapt", "mdma", "mpgan", "pc_droid", "pc_jedi")


@pytest.mark.parametrize("model", MODELS)
def test_bfloat16_changes_losses_by_its_rounding_and_keeps_weights_in_single_precision(
    model: str,
) -> None:
    module, events = made(model, jet_spec(16)), jets(0, 30, 16)
    module.fit_transform([events])
    losses = {}
    for half in (False, True):
        module.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            latent = module.encode(events, generator(1))
            for name, objective in module.objectives().items():
                value = objective.loss(latent, generator(2))["loss"]
                value.backward()
                losses[half, name] = float(value.detach())
    assert all(p.grad is None or p.grad.dtype == torch.float32 for p in module.parameters())
    for name in module.objectives():
        assert losses[True, name] == pytest.approx(losses[False, name], rel=0.02)
    assert any(losses[True, name] != losses[False, name] for name in module.objectives())
    with torch.autocast("cpu", torch.bfloat16):
        sample = module.sample(events.conditions(module.given), generator=generator(3))
    assert sample.x.dtype == torch.float32
    module.spec.validate(sample)
