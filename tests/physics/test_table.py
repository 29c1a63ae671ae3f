from __future__ import annotations

import math

import pytest
import torch

from simulacra.core import Batch, Field, IncompatibleError, Spec
from simulacra.physics.table import TableObservables
from table_toys import form, rows

SPEC = form().spec


def test_every_column_is_an_observable_with_an_axis() -> None:
    events = rows(50)
    found = TableObservables(SPEC)(events)
    assert list(found) == list(TableObservables(SPEC).axes())
    assert list(found) == ["pt", "eta", "phi", "share", "tracks", "flavour", "hits", "kind"]
    assert torch.equal(found["eta"], events.x[:, 1])
    assert torch.equal(found["hits"], events.event["hits"][:, 0])


def test_axes_know_units_logarithms_periods_and_classes() -> None:
    axes = TableObservables(SPEC).axes()
    assert (axes["pt"].unit, axes["pt"].log, axes["pt"].low) == ("GeV", True, None)
    assert (axes["phi"].unit, axes["phi"].low, axes["phi"].high) == ("rad", -math.pi, math.pi)
    assert (axes["flavour"].bins, axes["flavour"].low, axes["flavour"].high) == (3, -0.5, 2.5)
    assert "21, 1, -1" in axes["flavour"].label


def test_a_turn_changes_nothing() -> None:
    events, observables = rows(50), TableObservables(SPEC)
    turned = events.x.clone()
    turned[:, 2] += 6 * math.pi
    other = Batch(turned, events.cond, events.event)
    assert torch.allclose(observables(other)["phi"].float(), events.x[:, 2], atol=1e-4)
    assert torch.allclose(observables.features(other), observables.features(events), atol=1e-4)


def test_a_classifier_sees_all_columns_and_conditions() -> None:
    events = rows(5)
    features = TableObservables(SPEC).features(events)
    assert torch.allclose(features[:, 0].float(), events.x[:, 0].log())
    angle = torch.atan2(features[:, 3], features[:, 2])  # from where the period begins
    assert torch.allclose(angle.cos().float(), -events.x[:, 2].cos(), atol=1e-5)
    assert torch.allclose(angle.sin().float(), -events.x[:, 2].sin(), atol=1e-5)
    assert torch.equal(features[:, 6:9].argmax(1).float(), events.x[:, 5])
    assert torch.allclose(features[:, 12].float(), events.cond["energy"][:, 0].log())
    assert features.shape == (5, 15)


def test_other_kinds_are_refused() -> None:
    with pytest.raises(IncompatibleError, match="is no table, but events of kind 'image'"):
        TableObservables(Spec("x", "image", (1, 2, 2), "e", features=(Field("q"),)))
