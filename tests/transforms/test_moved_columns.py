"""Tables whose columns are moved: what stays, what is a distance, and the way back."""

from __future__ import annotations

import pytest
import torch

from simulacra.core import Conditions, IncompatibleError, Spec, UserError
from simulacra.transforms.moved_columns import MOVED, MovedColumns
from table_toys import form, rows

SPEC: Spec = form().spec


def fitted(**settings: object) -> MovedColumns:
    transform = MovedColumns(SPEC, SPEC.conditions, **settings)  # type: ignore[arg-type]
    transform.fit([rows(500, 1), rows(500, 2)])
    return transform.eval()


def test_angles_and_classes_stay_and_the_others_come_back() -> None:
    transform, batch = fitted(stays=["share"]), rows(200, 3)
    names = [SPEC.features[i].name for i in transform.moving]
    assert names == ["pt", "eta", "tracks"]
    for generator in (None, torch.Generator().manual_seed(0)):
        latent = transform(batch, generator)
        assert latent.x[MOVED].shape == (200, 3)
        assert latent.cond.shape == (200, transform.context)
        back = transform.inverse(latent, Conditions(200, batch.cond))
        torch.testing.assert_close(back.x, batch.x, rtol=1e-5, atol=1e-5)


def test_columns_that_are_moved_stay_whole_and_within_their_bounds_and_the_others_as_they_were() -> (
    None
):
    transform, batch = fitted(), rows(200, 3)
    latent = transform(batch)
    latent.x[MOVED].add_(torch.randn(latent.x[MOVED].shape))
    x = transform.inverse(latent, Conditions(200, batch.cond)).x
    pt, _, phi, share, tracks, flavour = x.unbind(1)
    assert bool((pt >= 10).all())
    assert bool(((share >= 0) & (share <= 0.5)).all())
    assert torch.equal(tracks, tracks.round())
    assert torch.equal(torch.stack([phi, flavour]), batch.x[:, [2, 5]].T)
    assert not torch.equal(tracks, batch.x[:, 4])


def test_lengths_are_standard_deviations_or_those_of_one_unit() -> None:
    batch = rows(1000, 1)
    own = fitted()(batch).x[MOVED]
    torch.testing.assert_close(own.std(0), torch.ones(4), rtol=0.1, atol=0)
    common = fitted(common=True)(batch).x[MOVED]
    columns = torch.stack([batch.x[:, 0].log(), *batch.x[:, [1, 3, 4]].T], 1)
    ratio = (common[1:] - common[:1]) / (columns[1:] - columns[:1])
    assert float(ratio.nanmean()) == pytest.approx(1 / float(columns.var(0).mean().sqrt()), rel=0.1)


def test_what_cannot_stay_or_be_moved_is_one_sentence() -> None:
    with pytest.raises(UserError, match=r"some of pt, eta, .*, got mass"):
        MovedColumns(SPEC, stays=["mass"])
    with pytest.raises(IncompatibleError, match="no column of toy is left"):
        MovedColumns(SPEC, stays=["pt", "eta", "share", "tracks"])
