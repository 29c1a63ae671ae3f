from __future__ import annotations

import pytest

from simulacra.core import UserError
from simulacra.studies.refinement import Refinement, distances
from simulacra.studies.weighers import Trees

SAMPLES = {"checkpoint": "a.ckpt", "generated": "a.hdf5", "other": ["data=b"]}


def test_exactly_one_sample_is_refined() -> None:
    for key, value in SAMPLES.items():
        Refinement(Trees(1), **{key: value})
    for wrong in ({}, {**SAMPLES, "other": []}, SAMPLES):
        with pytest.raises(UserError, match=r"study\.checkpoint=FILE"):
            Refinement(Trees(1), **wrong)


def test_distances_above_two_floors_are_counted_before_and_after() -> None:
    before = {
        "separation/a": 0.05,
        "separation/a/floor": 0.01,
        "separation/b": 0.05,
        "separation/b/floor": 0.01,
        "separation/c": 0.015,
        "separation/c/floor": 0.01,
        "separation/d": 0.9,
        "w1/a": 0.5,
        "w1/a/floor": 0.1,
    }
    after = {**before, "separation/a": 0.025, "separation/b": 0.03}
    assert distances(before, after) == {
        "separation/before": 2.0,
        "separation/after": 2.0,
        "separation/halved": 0.5,
    }
    after |= {"separation/a": 0.02, "separation/b/floor": 0.02}
    assert distances(before, after) == {
        "separation/before": 2.0,
        "separation/after": 0.0,
        "separation/halved": 0.5,
    }
    assert distances({}, {}) == {"separation/before": 0.0, "separation/after": 0.0}
