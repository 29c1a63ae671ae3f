"""LAGAN: published size, images of any size, exact zeros, and a short training on images of a known law."""

from __future__ import annotations

import pytest
import torch

from simulacra.core import Batch, Field, IncompatibleError, Prior, Spec
from simulacra.formats.pxd import pxd
from simulacra.models.images.lagan import LAGAN
from support import made

CLASSES = Field("jet_class", classes=("q", "t"), role="class")


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def spec(rows: int = 12, cols: int = 12) -> Spec:
    return Spec(
        "toy", "image", (1, rows, cols), "", conditions=(CLASSES,),
        prior=(Prior("jet_class", "discrete", (0.0, 1.0)),),
    )  # fmt: skip


def jets(n: int, seed: int) -> Batch:
    """A core in the middle and, in the second class, a second one above it; few pixels around are hit."""
    source = generator(seed)
    classes = torch.randint(2, (n, 1), generator=source)
    axis = torch.arange(12) - 5.5
    core = torch.exp(-(axis[:, None].square() + axis[None].square()) / 3)
    above = torch.exp(-((axis[:, None] + 3.5).square() + axis[None].square()) / 3)
    share = torch.rand(n, 1, 1, generator=source)
    mean = torch.where(classes[..., None] > 0, share * core + (1 - share) * above, core)
    mean = mean * (0.6 + 0.8 * torch.rand(n, 1, 1, generator=source))
    x = mean * torch.empty(n, 12, 12).exponential_(generator=source)
    hit = torch.rand(n, 12, 12, generator=source) < mean.clamp(0.05, 0.9)
    return Batch(torch.where(hit, x, 0.0)[:, None], {"jet_class": classes})


def test_the_published_generator_has_the_published_number_of_parameters() -> None:
    with torch.device("meta"):
        module = made("lagan", spec(25, 25), size="published")
    assert sum(p.numel() for p in module.net.parameters()) == 3_586_932
    assert module.net.latent.width == 200


@pytest.mark.parametrize("size", [(25, 25), (12, 12), (9, 14), (1, 6)])
def test_images_of_any_size_hold_exact_zeros_and_nothing_negative(size: tuple[int, int]) -> None:
    x = torch.rand(8, 1, *size, generator=generator())
    batch = Batch(torch.where(x > 0.8, x, 0.0), {"jet_class": torch.arange(8)[:, None] % 2})
    module = made("lagan", spec(*size)).fit_transform([batch])
    module.critic_loss(module.encode(batch), generator())["loss"].backward()
    events = module.sample(batch.conditions(), generator=generator())
    assert events.x.shape == (8, 1, *size)
    assert bool((events.x >= 0).all())
    assert 0 < float((events.x == 0).float().mean()) < 1
    back = module.transform.inverse(module.encode(batch), batch.conditions()).x
    assert torch.equal(back == 0, batch.x == 0)
    torch.testing.assert_close(back, batch.x)


def test_the_last_layer_is_the_relu() -> None:
    """A normalisation after it would fill the empty pixels."""
    module = made("lagan", spec())
    assert isinstance(module.net.last[-1], torch.nn.ReLU)
    assert module.net.last[-2].bias is None


def test_stacks_of_images_and_other_kinds_are_refused() -> None:
    assert LAGAN.accepts(spec()) is None
    assert "one channel" in str(LAGAN.accepts(pxd()))
    with pytest.raises(IncompatibleError, match="one channel"):
        made("lagan", spec().with_(kind="grid"))


def scores(seed: int, steps: int = 160) -> dict[str, float]:
    """What generated images have in common with true ones after a training."""
    events, truth = jets(3000, 1), jets(1000, 2)
    module = made(
        "lagan", spec(), "net.latent.latent=32", "net.channels=[32,16,6,6]",
        "critic.features.channels=[8,8,8,8]", "critic.kernels=8", "critic.dim=4", seed=seed,
    ).fit_transform([events])  # fmt: skip
    objectives = module.objectives()
    optimizers = {name: o.optim.optimizer(o.parameters) for name, o in objectives.items()}
    source = generator(seed)
    for _ in range(steps // 2):  # two steps of the generator each
        chosen = torch.randint(len(events), (64,), generator=source)
        latent = module.encode(events[chosen])
        for name, objective in objectives.items():
            for _ in range(objective.steps):
                objective.loss(latent, source)["loss"].backward()
                optimizers[name].step()
                module.zero_grad()
    sample = module.sample(truth.conditions(), generator=generator(4))

    def total(batch: Batch) -> torch.Tensor:
        return batch.x.sum((1, 2, 3))

    return {
        "sparsity": float((sample.x == 0).float().mean() - (truth.x == 0).float().mean()),
        "spread": float(total(sample).std() / total(truth).std()),
        "mean": float(total(sample).mean() / total(truth).mean()),
    }


@pytest.mark.smoke
def test_a_short_training_leaves_pixels_empty_and_does_not_collapse() -> None:
    """Three seeds: sparsity off by 0.10, 0.06 and 0.05, spread 0.97, 1.01 and 0.93 of truth, mean 1.30, 1.13
    and 0.75 of it; untrained: 0.39, 0.04 and 0.09.
    """
    found = scores(seed=0)
    assert abs(found["sparsity"]) < 0.15
    assert found["spread"] > 0.3
    assert 0.5 < found["mean"] < 2.0
