"""Clusters of listed pixels against a labelling of images."""

from __future__ import annotations

import numpy as np
import torch
from scipy import ndimage

from simulacra.core import Batch
from simulacra.formats.pxd import pxd_small
from simulacra.physics.pxd import Fired, PxdObservables

SHAPE = (12, 17)


def images(fired: float, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    on = torch.rand(3, 4, *SHAPE, generator=generator) < fired
    return on * torch.randint(7, 200, on.shape, generator=generator).float()


def test_clusters_are_those_of_a_labelled_image() -> None:
    x = images(0.2)
    x[1] = 0  # an event without a hit
    found = Fired.of(x, 7).clusters(SHAPE)
    rows = []
    for event, stack in enumerate(x.numpy()):
        for image in stack:
            label, _ = ndimage.label(image > 0, np.ones((3, 3)))
            for number, (high, wide) in enumerate(ndimage.find_objects(label), start=1):
                inside = label == number
                size = high.stop - high.start, wide.stop - wide.start
                rows.append((event, inside.sum(), *size, image[inside].sum()))
    mine = zip(
        *(
            getattr(found, name).tolist()
            for name in ("event", "size", "size_u", "size_v", "charge")
        ),
        strict=True,
    )
    assert sorted(mine) == sorted(tuple(map(float, row)) for row in rows)
    assert found.event.tolist() == sorted(found.event.tolist())
    assert len(rows) > 100


def test_corners_touch_but_ends_of_rows_and_sensors_do_not() -> None:
    x = torch.zeros(1, 2, *SHAPE)
    x[0, 0, 3, 4] = x[0, 0, 4, 3] = 10  # a corner
    x[0, 0, 6, -1] = x[0, 0, 7, 0] = 20  # the end of a row and the start of the next
    x[0, 0, -1, 5] = x[0, 1, 0, 5] = 30  # the last row of a sensor and the first of the next
    found = Fired.of(x, 7).clusters(SHAPE)
    assert found.charge.tolist() == [20, 20, 20, 30, 30]
    assert found.size_u.tolist() == found.size_v.tolist() == [2, 1, 1, 1, 1]


def test_an_empty_image_has_no_clusters() -> None:
    found = PxdObservables(pxd_small())(Batch(torch.zeros(2, *pxd_small().shape)))
    assert found["clusters"].tolist() == [0, 0]
    assert found["cluster_size"].counts.tolist() == [0, 0]
    assert len(Fired.of(torch.zeros(1, 2, *SHAPE), 7).clusters(SHAPE).size) == 0


def test_spectra_hold_all_clusters_of_small_events_and_some_of_large_ones() -> None:
    x = torch.zeros(2, *pxd_small().shape)
    x[:, :, :12, :17] = images(0.2, 1)[:2].repeat(1, 2, 1, 1)
    judge = PxdObservables(pxd_small())
    full = judge(Batch(x))
    assert full["cluster_charge"].counts.tolist() == full["clusters"].tolist()
    assert float(full["cluster_charge"].values.sum()) == float(full["total_charge"].sum())
    judge.stride = 4
    some = judge(Batch(x.clone()))
    assert some["clusters"].tolist() == full["clusters"].tolist()
    assert some["cluster_size"].counts.tolist() == [-(-int(n) // 4) for n in full["clusters"]]
