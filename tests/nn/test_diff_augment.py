"""Changes of images: what they leave, what they move, and that gradients pass."""

from __future__ import annotations

import pytest
import torch

from simulacra.nn.diff_augment import Augment, Colour, Cutout, Translation


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(n: int = 64) -> torch.Tensor:
    return 2 * torch.rand(n, 8, 16, generator=generator()) - 1


def test_a_translation_moves_whole_images_and_leaves_empty_pixels() -> None:
    x = images()
    found = Translation(0.25)(x, generator(1))
    seen = set()
    for before, after in zip(x, found, strict=True):
        shifts = [
            (i, j)
            for i in range(-2, 3)
            for j in range(-4, 5)
            if torch.equal(
                after[max(0, -i) : 8 - max(0, i), max(0, -j) : 16 - max(0, j)],
                before[max(0, i) : 8 + min(0, i), max(0, j) : 16 + min(0, j)],
            )
        ]
        assert len(shifts) == 1
        i, j = shifts[0]
        assert int((after == -1).sum()) == 128 - (8 - abs(i)) * (16 - abs(j))
        seen.add(shifts[0])
    assert len(seen) > 20


def test_a_hole_is_a_rectangle_of_half_the_sides_somewhere() -> None:
    found = Cutout(0.5)(images(), generator(1))
    sizes = set()
    for image in found:
        rows, cols = ((image == -1).any(axis).sum() for axis in (1, 0))
        assert int((image == -1).sum()) == int(rows * cols)
        sizes.add((int(rows), int(cols)))
    assert max(sizes) == (4, 8)
    assert len(sizes) > 5


def test_colour_changes_mean_and_contrast_of_each_image_alone() -> None:
    x = images()
    found = Colour(1.0, 0.5)(x, generator(1))
    ratio = found.std((1, 2)) / x.std((1, 2))
    shift = found.mean((1, 2)) - x.mean((1, 2))
    assert 0.5 <= float(ratio.min()) < 0.6
    assert 1.4 < float(ratio.max()) <= 1.5
    assert -0.51 < float(shift.min()) < -0.4
    assert 0.4 < float(shift.max()) < 0.51
    assert abs(float(torch.corrcoef(torch.stack([ratio, shift]))[0, 1])) < 0.5


@pytest.mark.parametrize("change", [Colour(1.0, 0.5), Translation(0.25), Cutout(0.5)])
def test_changes_repeat_with_a_generator_and_let_gradients_through(change: Augment) -> None:
    x = images(4).requires_grad_(True)
    found = change(x, generator(2))
    assert torch.equal(found, change(x, generator(2)))
    assert not torch.equal(found, change(x, generator(3)))
    found.square().sum().backward()
    assert float(x.grad.abs().sum()) > 0
