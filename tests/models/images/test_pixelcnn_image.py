"""PixelCNN of images: what it accepts, its likelihood, weights, and a network in the place of its own."""

from __future__ import annotations

import math

import pytest
import torch

from simulacra.core import Batch, Field, IncompatibleError, Spec, regular_grid
from simulacra.models.images.pixelcnn_image import PixelCNNImage
from simulacra.training.checkpoint import build
from support import composed, made, spec_of

IMAGE = Spec(
    "toy", "image", (1, 6, 5), "", conditions=(Field("size", low=0.0, high=1.0),),
    geometry=regular_grid(1, (range(7), range(6)), ("eta", "phi")), threshold=1e-3, cut=1e-3,
)  # fmt: skip


def images(n: int, seed: int = 0) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    size = torch.rand(n, 1, generator=generator)
    x = 1e-3 * torch.exp(6 * size[..., None, None] * torch.rand(n, 1, 6, 5, generator=generator))
    empty = torch.rand(n, 1, 6, 5, generator=generator) < 0.4
    return Batch(torch.where(empty, 0.0, x), {"size": size})


def fitted() -> PixelCNNImage:
    module = made("pixelcnn_image", IMAGE)
    module.fit_transform([images(300)])
    return module.eval()


def test_it_accepts_one_image_with_a_threshold_and_nothing_beside_it() -> None:
    assert PixelCNNImage.accepts(spec_of("jetnet30", "image")) is None
    outside = IMAGE.with_(event=(Field("outside", low=0.0),))
    for spec, reason in (
        (spec_of("pxd_small", None), "one image"),
        (spec_of("ds2", None), "one image"),
        (IMAGE.with_(threshold=0.0), "threshold"),
        (outside, "outside"),
    ):
        with pytest.raises(IncompatibleError, match=reason):
            made("pixelcnn_image", spec)


def test_the_density_of_an_image_is_what_training_minimises() -> None:
    module, batch = fitted(), images(200, 3)
    with torch.no_grad():
        values = module.objectives()["pixels"].loss(module.encode(batch), None)
    x = batch.x.flatten(1)
    logs = module.log_prob(batch) + torch.where(x > 0, x.clamp(min=1e-9).log(), 0.0).sum(1)
    torch.testing.assert_close(-logs.mean() / (30 * math.log(2)), values["bits_per_dim"])
    width = float(module.transform.reach(None, 1)) / 7  # eight levels
    share = float((x > 0).float().mean())
    bits = (float(values["loss"]) + share * math.log(width)) / math.log(2)
    assert float(values["bits_per_dim"]) == pytest.approx(bits, rel=1e-4)


def test_events_of_no_weight_do_not_count() -> None:
    module, batch = fitted(), images(20, 3)
    weight = torch.ones(20)
    weight[10:] = 0
    loss = module.objectives()["pixels"].loss
    with torch.no_grad():
        some = loss(module.encode(Batch(batch.x, batch.cond, weight=weight)), None)
        first = loss(module.encode(batch[:10]), None)
    for name, value in some.items():
        torch.testing.assert_close(value, first[name])


def test_empty_pixels_of_samples_are_empty_and_others_lie_within_the_levels() -> None:
    module = fitted()
    made_ = module.sample(images(300, 5).conditions(), generator=torch.Generator().manual_seed(0))
    hit = made_.x[made_.x > 0]
    assert float(hit.min()) >= IMAGE.threshold
    assert float(hit.max()) <= float(module.transform.largest) * 1.0001
    assert float((made_.x > 0).float().mean()) == pytest.approx(0.6, abs=0.04)


def test_the_network_of_pixelcnn_pp_takes_the_place_of_the_gated_one() -> None:
    choice = "model/base@model.pixels=residual_pixels"
    module = build(composed("model", "model=pixelcnn_image", "model/size=tiny", choice), IMAGE)
    module.fit_transform([images(50)])
    assert module.pixels.head.outputs == 7
    assert bool(module.log_prob(images(4)).isfinite().all())
