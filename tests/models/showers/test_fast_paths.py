"""What is meant for graphics cards, as far as a CPU goes: half precision, memory layouts, compilation."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from simulacra.core import UserError
from simulacra.models.showers.shower_model import ShowerModel
from support import made
from toy_showers import TOY, toy

MODELS = ("vit", "calodream", "calodit", "caloart", "calodiffusion", "caloscore", "caloscore2")


def ready(model: str) -> ShowerModel:
    """A model with noise in all weights, so that none of its parts is still the identity."""
    module: ShowerModel = made(model, TOY).fit_transform([toy(32, 0)])
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in module.parameters():
            p.add_(0.02 * torch.randn(p.shape, generator=generator))
    return module.train()


def loss_and_gradients(module: ShowerModel) -> tuple[float, Tensor]:
    """Of one batch with fixed noise."""
    module.zero_grad()
    (objective,) = module.objectives().values()
    latent = module.encode(toy(32, 0), torch.Generator().manual_seed(2))
    loss = objective.loss(latent, torch.Generator().manual_seed(3))["loss"]
    loss.backward()
    found = [p.grad.flatten() for p in module.parameters() if p.grad is not None]
    return loss.item(), torch.cat(found)


def direction(a: Tensor, b: Tensor) -> float:
    """Cosine of the angle between two gradients."""
    return float(torch.cosine_similarity(a.double(), b.double(), dim=0))


@pytest.mark.parametrize("model", MODELS)
def test_half_precision_changes_losses_and_gradients_little(model: str) -> None:
    module = ready(model)
    loss, gradient = loss_and_gradients(module)
    with torch.autocast("cpu", torch.bfloat16):
        rough, other = loss_and_gradients(module)
    assert rough == pytest.approx(loss, rel=0.02)
    assert rough != loss
    assert direction(gradient, other) > 0.98


@pytest.mark.parametrize("model", ["calodiffusion", "caloscore"])
def test_channels_last_are_another_layout_and_the_same_numbers(model: str) -> None:
    module = ready(model)
    loss, gradient = loss_and_gradients(module)
    module.channels_last()
    weights = [p for p in module.parameters() if p.dim() == 5 and min(p.shape) > 1]
    assert weights
    assert all(p.stride(1) == 1 for p in weights)
    last, other = loss_and_gradients(module)
    assert last == pytest.approx(loss, rel=1e-5)
    torch.testing.assert_close(other, gradient, rtol=1e-3, atol=1e-5)


def test_channels_last_without_convolutions_are_refused() -> None:
    with pytest.raises(UserError, match=r"no network of ViT has conv.*channels_last=false"):
        made("vit", TOY).channels_last()


@pytest.mark.grid
@pytest.mark.filterwarnings(
    "ignore:The .grad attribute of a Tensor that is not a leaf"
)  # by torch itself
@pytest.mark.parametrize("model", MODELS)
def test_networks_that_are_called_are_compiled(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[nn.Module] = []

    def traced(part: nn.Module) -> None:
        compiled.append(part)
        part._compiled_call_impl = torch.compile(part._call_impl, backend="aot_eager")

    module = ready(model)
    loss, gradient = loss_and_gradients(module)
    monkeypatch.setattr(nn.Module, "compile", traced)
    module.compile_nets()
    assert any(part is module.cells.net for part in compiled)
    again, other = loss_and_gradients(module)
    assert again == pytest.approx(loss, rel=1e-4)
    torch.testing.assert_close(other, gradient, rtol=1e-2, atol=1e-4)
