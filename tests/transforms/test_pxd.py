from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from simulacra.core import Batch, Conditions, Field, IncompatibleError, Latent, Spec
from simulacra.transforms.pxd import CentredPadding, LogCharge, PixelScaling


def images(rows: int, cols: int, largest: float, threshold: float = 7.0, sensors: int = 2) -> Spec:
    return Spec(
        "pixels", "image", (sensors, rows, cols), "ADU",
        features=(Field("charge", "ADU", low=0.0, high=largest),), threshold=threshold, cut=threshold,
    )  # fmt: skip


@pytest.mark.parametrize("largest", [255, 4095])
def test_every_charge_comes_back_exactly(largest: int) -> None:
    scale = LogCharge(largest, threshold=7)
    charges = torch.tensor([0, *range(7, largest + 1)], dtype=torch.float32)
    latent = scale(charges)
    assert torch.equal(scale.inverse(latent), charges)
    assert float(latent[0]) == -1
    assert float(latent[-1]) == pytest.approx(1, abs=1e-6)


def test_the_map_is_the_published_one() -> None:
    scale = LogCharge(255, threshold=7)
    x = torch.tensor([0.0, 7.0, 22.0, 255.0])
    published = (torch.log(x + 1) / torch.log(torch.tensor(256.0)) - 0.5) / 0.5
    torch.testing.assert_close(scale(x), published)
    # the published cut in network units, -0.26, is 6.78 ADU; -0.28 is below 6.5 ADU
    assert scale.inverse(torch.tensor([-0.26, -0.28])).tolist() == [7, 0]


def test_values_beyond_the_range_of_tanh_stay_in_the_data() -> None:
    assert LogCharge(255, threshold=7).inverse(torch.tensor([-3.0, 1.2])).tolist() == [0, 255]


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 16))
def test_padding_is_centred_and_undone(rows: int, cols: int, stride: int) -> None:
    padding = CentredPadding((rows, cols), stride)
    x = torch.rand(2, 3, rows, cols) + 1
    padded = padding(x)
    assert tuple(padded.shape[-2:]) == padding.padded
    assert all(
        new % stride == 0 and 0 <= new - old < stride
        for new, old in zip(padding.padded, (rows, cols), strict=True)
    )
    assert float(padded.sum()) == pytest.approx(float(x.sum()), rel=1e-5)
    assert torch.equal(padding.inverse(padded), x)


def test_the_sensors_are_padded_by_three_rows_on_either_side() -> None:
    padded = CentredPadding((250, 768), 32)(torch.ones(1, 250, 768))
    assert padded.shape == (1, 256, 768)
    assert padded[0, :, 0].nonzero().squeeze().tolist() == list(range(3, 253))


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 3), st.integers(1, 20), st.integers(1, 20), st.sampled_from([1, 4, 8]),
    st.sampled_from([255, 1023, 4095]), st.integers(0, 2**31),
)  # fmt: skip
def test_the_transform_is_exact_on_its_domain(
    sensors: int, rows: int, cols: int, stride: int, largest: int, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    spec = images(rows, cols, largest, sensors=sensors)
    charge = torch.randint(7, largest + 1, (3, *spec.shape), generator=generator).float()
    batch = Batch(charge * (torch.rand(charge.shape, generator=generator) < 0.5))
    transform = PixelScaling(spec, stride=stride).eval()
    transform.fit([batch])
    latent = transform(batch)
    assert latent.x["image"].shape == (3, sensors, *transform.size)
    assert float(latent.x["image"].abs().max()) <= 1 + 1e-6
    assert torch.equal(transform.inverse(latent, Conditions(3)).x, batch.x)
    assert latent.cond is None


def test_noise_is_drawn_in_training_only_and_from_the_generator() -> None:
    spec = images(6, 8, 255)
    batch = Batch(torch.zeros(2, *spec.shape))
    transform = PixelScaling(spec)
    first, again, other = (
        transform(batch, torch.Generator().manual_seed(seed)).x["image"] for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert -1 <= float(first.min()) < float(first.max()) <= -1 + 2 * 4e-3
    assert torch.equal(transform.inverse(Latent({"image": first}), Conditions(2)).x, batch.x)
    transform.eval()
    assert float(transform(batch, torch.Generator()).x["image"].max()) == -1


def test_images_of_unknown_range_are_refused() -> None:
    spec = Spec("jets", "image", (1, 25, 25), "GeV")
    with pytest.raises(IncompatibleError, match="jets"):
        PixelScaling(spec)
