"""Networks of pixels: what each pixel rests on, and that drawing in steps sees what learning sees."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from simulacra.nn.gated_pixels import GatedPixels
from simulacra.nn.pixel_net import ColumnConv, PixelNet, RowConv
from simulacra.nn.residual_pixels import ResidualPixels

KNOWN, MAPS, ROWS, COLUMNS = 3, 2, 6, 7


def gated() -> PixelNet:
    return GatedPixels(5, 4, KNOWN, MAPS, channels=6, layers=2, first=3, kernel=3, head=6)


def residual() -> PixelNet:
    return ResidualPixels(5, 4, KNOWN, MAPS, channels=6, blocks=1)


NETS = pytest.mark.parametrize("make", [gated, residual])


def perturbed(make: Callable[[], PixelNet], seed: int = 0) -> PixelNet:
    torch.manual_seed(seed)
    net = make().double().eval()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return net


def inputs(net: PixelNet, n: int = 1) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    levels = torch.randint(5, (n, ROWS, COLUMNS), generator=generator)
    return {
        "x": net.embed(levels).detach(),
        "spent": normal(n, 1, ROWS, COLUMNS),
        "known": normal(n, KNOWN),
        "maps": normal(n, MAPS, ROWS, COLUMNS),
    }


def influence(net: PixelNet, closed: bool) -> torch.Tensor:
    """Largest gradient of the numbers of each pixel by each pixel: ``(H W, H W)``."""
    given = inputs(net)
    x = given.pop("x").requires_grad_()
    made = net(x, **given, closed=closed)[0].flatten(1)
    found = []
    for pixel in range(made.shape[1]):
        grads = [torch.autograd.grad(made[k, pixel], x, retain_graph=True)[0] for k in range(4)]
        found.append(torch.stack(grads).abs().amax((0, 1, 2)).flatten())
    return torch.stack(found)


@NETS
@pytest.mark.parametrize("closed", [False, True])
def test_no_pixel_rests_on_itself_or_a_later_one(make, closed: bool) -> None:
    found = influence(perturbed(make), closed)
    assert bool((found.triu() == 0).all())


@NETS
def test_no_pixel_of_the_window_above_and_to_the_left_is_blind(make) -> None:
    """Every layer of either network reaches a row further up and a column further to both sides: everything
    in a window of three rows above has a say, the pixels right above and above right, too.
    """
    found = influence(perturbed(make), closed=False).view(ROWS, COLUMNS, ROWS, COLUMNS)
    row, column = 4, 3
    own = found[row, column]
    assert bool((own[row - 3 : row] > 0).all()), (own > 0).int()  # all seven columns, no blind spot
    assert bool((own[row, :column] > 0).all())
    assert bool((found[1, 0, 0] > 0)[:4].all())  # a first pixel sees the row above


@NETS
def test_rows_that_close_on_themselves_are_seen_across_their_ends(make) -> None:
    net = perturbed(make)
    shape = (ROWS, COLUMNS, ROWS, COLUMNS)
    open_, closed = (influence(net, flag).view(shape) for flag in (False, True))
    assert float(open_[1, 0, 0, COLUMNS - 1]) == 0
    assert float(closed[1, 0, 0, COLUMNS - 1]) > 0
    assert float(closed[0, COLUMNS - 1, 0, COLUMNS - 2]) > 0  # to the left in the same row, as ever
    assert float(closed[0, 0, 0, COLUMNS - 1]) == 0


@NETS
def test_maps_are_seen_at_every_pixel_and_numbers_too(make) -> None:
    net, given = perturbed(make), inputs(perturbed(make))
    made = net(**given)
    for name in ("known", "maps", "spent"):
        other = {**given, name: given[name].clone()}
        other[name][(0, 0) if name == "known" else (0, 0, ROWS - 1, COLUMNS - 1)] += 1
        changed = (net(**other) != made).any(1)[0]
        if name == "known":
            assert bool(changed.all())
        else:
            assert bool(changed[ROWS - 1, COLUMNS - 1])
        if name == "maps":
            assert bool(changed[ROWS - 2, COLUMNS - 2])  # known as a whole: seen before it, too
        if name == "spent":
            assert int(changed.sum()) == 1


@NETS
@pytest.mark.parametrize("closed", [False, True])
def test_row_by_row_and_pixel_by_pixel_gives_what_the_whole_image_gives(make, closed: bool) -> None:
    net, given = perturbed(make), inputs(perturbed(make), n=3)
    whole = net(**given, closed=closed)
    x, spent, known = given["x"], given["spent"], given["known"]
    maps = net.spread(given["maps"], closed)
    nothing, rows = torch.zeros_like(x[:, :, :1]), {}
    for r in range(ROWS):
        above = nothing if r == 0 else x[:, :, r - 1 : r]
        seen = net.vertical(above, known, maps[:, :, r : r + 1], closed, rows)
        columns: dict = {}
        for c in range(COLUMNS):
            left = nothing[..., :1] if c == 0 else x[:, :, r : r + 1, c - 1 : c]
            here = (..., slice(r, r + 1), slice(c, c + 1))
            step = net.horizontal(
                left, spent[here], [part[..., c : c + 1] for part in seen], known, maps[here], columns
            )  # fmt: skip
            torch.testing.assert_close(step, whole[here], rtol=1e-9, atol=1e-12)


def test_convolutions_refuse_kernels_that_have_no_middle() -> None:
    with pytest.raises(ValueError, match="odd number of columns"):
        RowConv(1, 1, (2, 4))
    assert ColumnConv(1, 1, 1).columns == 0
