import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from simulacra.core import Geometry, Layer, regular_grid


def ragged() -> Geometry:
    alpha = tuple(-math.pi + 2 * math.pi * i / 10 for i in range(11))
    return Geometry(
        (
            Layer(
                0,
                ("alpha", "r"),
                ((-math.pi, math.pi), tuple(map(float, range(9)))),
                0.0,
                periodic=0,
            ),
            Layer(2, ("alpha", "r"), (alpha, tuple(map(float, range(20)))), 1.0, periodic=0),
            Layer(12, ("alpha", "r"), ((-math.pi, math.pi), (0.0, 1.0, 4.0)), 2.0, periodic=0),
        )
    )


layer_shapes = st.lists(st.tuples(st.integers(1, 5), st.integers(1, 5)), min_size=1, max_size=6)


@given(layer_shapes, st.integers(0, 10_000))
def test_flat_list_and_padded_forms_are_exact_inverses(
    shapes: list[tuple[int, int]], seed: int
) -> None:
    layers = [
        Layer(
            i,
            ("x", "y"),
            (tuple(map(float, range(r + 1))), tuple(map(float, range(c + 1)))),
            float(i),
        )
        for i, (r, c) in enumerate(shapes)
    ]
    geometry = Geometry(tuple(layers))
    flat = torch.randn(3, geometry.n_voxels, generator=torch.Generator().manual_seed(seed))
    assert torch.equal(geometry.join(geometry.split(flat)), flat)
    padded = geometry.pad(flat)
    assert padded.shape == (3, *geometry.padded_shape)
    assert torch.equal(geometry.unpad(padded), flat)
    assert bool((padded[:, ~geometry.mask()] == 0).all())
    assert int(geometry.mask().sum()) == geometry.n_voxels


def test_padded_cells_stand_where_the_layer_list_has_them() -> None:
    geometry = ragged()
    flat = torch.arange(float(geometry.n_voxels))[None]
    padded = geometry.pad(flat)
    for number, layer in enumerate(geometry.split(flat)):
        rows, cols = layer.shape[1:]
        assert torch.equal(padded[0, number, :rows, :cols], layer[0])


def test_layer_sums_agree_with_a_loop_and_spread_is_their_adjoint() -> None:
    for geometry in (ragged(), regular_grid(4, (range(4), range(6)))):
        flat = torch.rand(5, geometry.n_voxels)
        loop = torch.stack([layer.flatten(1).sum(1) for layer in geometry.split(flat)], 1)
        torch.testing.assert_close(geometry.layer_sums(flat), loop)
        per_layer = torch.rand(5, len(geometry))
        torch.testing.assert_close(
            (geometry.spread(per_layer) * flat).sum(1),
            (geometry.layer_sums(flat) * per_layer).sum(1),
        )


def test_polar_cells_have_the_public_coordinates() -> None:
    layer = ragged().layers[1]
    first, second = layer.cartesian()
    alpha = -math.pi + math.pi / 10  # centre of the first of ten angular bins
    assert first[0, 3] == pytest.approx(3.5 * math.cos(alpha))
    assert second[0, 3] == pytest.approx(3.5 * math.sin(alpha))


def test_geometry_survives_plain_data() -> None:
    geometry = ragged()
    assert Geometry.from_dict(geometry.to_dict()) == geometry


def test_wrong_inputs_are_named() -> None:
    with pytest.raises(ValueError, match="368"):
        regular_grid(4, (range(3), range(3))).split(torch.zeros(1, 368))
    with pytest.raises(ValueError, match="do not rise"):
        Layer(0, ("x", "y"), ((0.0, 0.0, 1.0), (0.0, 1.0)), 0.0)
    with pytest.raises(ValueError, match="at least two edges"):
        Layer(4, ("alpha", "r"), ((0.0, 1.0), (0.0,)), 0.0)
