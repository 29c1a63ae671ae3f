"""Scale-invariant auto-encoder: images come back, coarse ones are kept, weights know no size."""

from __future__ import annotations

import pytest
import torch

from simulacra.core import Batch, IncompatibleError, Spec
from simulacra.formats.pxd import pxd
from simulacra.models.images.scale_invariant_ae import ScaleInvariantAE
from support import made

SPEC = Spec("toy", "image", (1, 10, 13), "GeV", threshold=1e-3, cut=1e-3, sample_batch=64)


def images(n: int = 40, seed: int = 0) -> Batch:
    """A bright spot near the middle and a few others."""
    source = torch.Generator().manual_seed(seed)
    x = torch.rand(n, 1, 10, 13, generator=source)
    x = torch.where(x < 0.8, 0.0, x)
    x[:, 0, 4:6, 5:8] += 5 * torch.rand(n, 2, 3, generator=source)
    return Batch(x)


def model(spec: Spec = SPEC) -> ScaleInvariantAE:
    module: ScaleInvariantAE = made("scale_invariant_ae", spec)
    return module


def test_images_come_back_from_content_and_shares() -> None:
    module = model().fit_transform([images()]).eval()
    batch = images(8, 1)
    latent = module.encode(batch)
    assert latent.x["shares"].shape == (8, 16, 16)
    assert torch.allclose(latent.x["shares"].sum((1, 2)), torch.ones(8))
    back = module.decode(latent, batch.conditions())
    assert torch.allclose(back.x, batch.x, rtol=1e-5, atol=1e-6)


def test_an_empty_image_is_finite() -> None:
    module = model().fit_transform([images()])
    empty = Batch(torch.zeros(2, 1, 10, 13))
    assert bool(torch.isfinite(module.loss(module.encode(empty))["loss"]))


def test_coarse_images_are_kept_and_finer_ones_drawn() -> None:
    module = model().fit_transform([images()])
    batch = images(8, 1)
    one, two = (module.regenerate(batch, 4, torch.Generator().manual_seed(s)) for s in (0, 1))
    assert not torch.equal(one.x, two.x)
    cells = [module.transform.padding(b.x[:, 0]).unflatten(2, (4, 4)).unflatten(1, (4, 4)).sum((2, 4))
             for b in (batch, one, two)]  # fmt: skip
    assert torch.allclose(cells[0], cells[1], rtol=1e-4, atol=1e-4)
    assert torch.allclose(cells[0], cells[2], rtol=1e-4, atol=1e-4)


def test_images_of_another_size_have_as_many_weights() -> None:
    counts = {
        sum(p.numel() for p in model(SPEC.with_(shape=(1, side, side))).parameters())
        for side in (5, 25, 60)
    }
    assert len(counts) == 1


def test_stacks_of_whole_numbers_are_refused() -> None:
    with pytest.raises(IncompatibleError, match="single images"):
        model(pxd(["1.1.1", "2.1.1"]))
