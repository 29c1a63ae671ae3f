"""Names and splits of a user's own files."""

from __future__ import annotations

from collections.abc import Callable

from simulacra.data.base import EventDataModule
from simulacra.evaluation.scans import matching


def test_parts_are_cut_by_a_seed_of_ones_own(toy: Callable[..., EventDataModule]) -> None:
    fixed, one, again, two = (
        toy("jetnet30", None, *given)
        for given in ([], ["data.split_seed=1"], ["data.split_seed=1"], ["data.split_seed=2"])
    )
    parts = [set(item.part("test").index.tolist()) for item in (fixed, one, again, two)]
    assert parts[1] == parts[2]
    assert len({frozenset(part) for part in parts}) == 3
    assert one.sizes() == fixed.sizes()
    assert one.provenance["split_seed"] == "1"
    assert "split_seed" not in fixed.provenance


def test_own_files_have_the_name_of_the_configuration(
    toy: Callable[..., EventDataModule],
) -> None:
    own, public = toy("ds1_photons", None, "data.name=mine"), toy("ds1_photons")
    assert own.spec.name == own.native_spec.name == own.provenance["data"] == "mine"
    assert public.spec.name == "ds1_photons"
    matching(own, public)  # the same events by another name


def test_what_was_trained_on_is_remembered_with_its_weights(
    toy: Callable[..., EventDataModule],
) -> None:
    events = toy("ds1_photons")
    known = events.trained_conditions(("incident_energy",))
    assert known is not None
    seen = events.batch(1000).cond["incident_energy"][:, 0].tolist()
    assert set(known.values["incident_energy"][:, 0].tolist()) <= set(seen)
    assert events.trained_conditions(("nothing",)) is None
