"""Auto-encoder of images: what it learns comes back, other images less well, and conditions play no part."""

from __future__ import annotations

import pytest
import torch

from simulacra.core import Batch, Field, IncompatibleError, Spec
from simulacra.evaluation.anomaly import anomaly_score
from simulacra.formats.pxd import pxd
from simulacra.models.images.image_autoencoder import ImageAutoencoder
from support import made

KIND = Field("kind", classes=("a", "b"), role="class")
SPEC = Spec("toy", "image", (1, 6, 7), "GeV", conditions=(KIND,), threshold=1e-3, cut=1e-3)


def spots(n: int, column: int, seed: int = 0) -> Batch:
    """A spot in one column, at any row, of any content."""
    source = torch.Generator().manual_seed(seed)
    x = torch.zeros(n, 1, 6, 7)
    row = torch.randint(6, (n,), generator=source)
    x[torch.arange(n), 0, row, column] = 1 + torch.rand(n, generator=source)
    kind = torch.randint(2, (n, 1), generator=source)
    return Batch(x, {"kind": kind})


def model() -> ImageAutoencoder:
    module: ImageAutoencoder = made("image_autoencoder", SPEC)
    return module.fit_transform([spots(200, 2)])


def test_what_is_learnt_comes_back_and_other_images_do_not() -> None:
    torch.manual_seed(0)
    module = model()
    latent = module.encode(spots(200, 2))
    optimizer = torch.optim.Adam(module.parameters(), 3e-2)
    for _ in range(80):
        optimizer.zero_grad()
        module.loss(latent)["loss"].backward()
        optimizer.step()
    usual, other = (anomaly_score(module, spots(100, column, 1)) for column in (2, 5))
    assert float(usual.mean()) < 0.1
    assert float(other.min()) > 5 * float(usual.mean())


def test_an_error_knows_neither_content_nor_conditions() -> None:
    module, batch = model(), spots(20, 2)
    found = module.surprise(batch)
    assert torch.equal(found, module.surprise(Batch(batch.x, {"kind": 1 - batch.cond["kind"]})))
    torch.testing.assert_close(found, module.surprise(Batch(3 * batch.x, batch.cond)))
    code = module.code(module._shares(module.encode(batch).x["shares"]))
    repeated = module.repeated(code)
    shares = batch.x.flatten(1) / batch.x.flatten(1).sum(1, keepdim=True)
    torch.testing.assert_close(found, (shares - repeated).square().sum(1).detach())
    torch.testing.assert_close(repeated.sum(1), torch.ones(20))


def test_the_flow_of_codes_moves_nothing_of_the_autoencoder() -> None:
    module = model()
    module.loss(module.encode(spots(20, 2)))["numbers"].backward()
    for part in (module.encoder, module.decoder):
        assert all(p.grad is None or not bool(p.grad.any()) for p in part.parameters())
    assert any(p.grad is not None and bool(p.grad.any()) for p in module.numbers.parameters())


def test_stacks_of_whole_numbers_are_refused() -> None:
    with pytest.raises(IncompatibleError, match="single images"):
        made("image_autoencoder", pxd(["1.1.1", "2.1.1"]))
