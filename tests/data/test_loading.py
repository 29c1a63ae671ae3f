from __future__ import annotations

import inspect
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from simulacra import data
from simulacra.core import UserError
from simulacra.data.base import Loading
from support import composed, config_names, data_configs, sets

FIELDS = {
    "batch_size": 3,
    "eval_batch_size": 5,
    "workers": 0,
    "seed": 11,
    "validation": 0.25,
    "limit": 7,
}


@pytest.mark.parametrize("name", [name for name in config_names("data") if sets(name) == ["data"]])
def test_keys_of_a_configuration_reach_a_data_set_as_its_loading(name: str) -> None:
    keys = [f"data.{key}={value}" for key, value in FIELDS.items()]
    assert data.build(composed("data", f"data={name}", *keys)).loading == Loading(**FIELDS)  # type: ignore[arg-type]


def test_both_samples_of_a_pair_have_a_loading_of_their_own() -> None:
    overrides = ("data.batch_size=6", "data.first.validation=0.3", "data.second.limit=4")
    pair: Any = data.build(composed("data", "data=pair", *overrides))
    assert pair.loading.batch_size == 6
    assert (pair.first.loading.validation, pair.second.loading.validation) == (0.3, 0.1)
    assert (pair.first.loading.limit, pair.second.loading.limit) == (None, 4)


def test_a_saved_configuration_may_name_its_loading() -> None:
    config = composed("data", "data=ds1_photons", "data.batch_size=9")
    assert data.build(config, trusted=False).loading.batch_size == 9


@pytest.mark.parametrize("config", ["ds1_photons", ["ds1_photons"], 3])
def test_what_is_no_configuration_is_refused(config: Any) -> None:
    with pytest.raises(UserError, match="data is the configuration of a data set, got "):
        data.build(config, trusted=False)


def test_an_unknown_key_is_an_error() -> None:
    config = composed("data", "data=ds1_photons")
    with pytest.raises(UserError, match="batch_sise"):
        data.build({**config, "batch_sise": 9})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_size": 0}, "(a batch needs at least one event|must be a whole number from 1)"),
        (
            {"eval_batch_size": 0},
            "(a batch needs at least one event|must be a whole number from 1)",
        ),
        ({"validation": 1.0}, r"(lies in \[0, 1\)|must be a number from 0 below 1), got 1.0"),
        ({"validation": -0.1}, r"(lies in \[0, 1\)|must be a number from 0 below 1), got -0.1"),
    ],
)
def test_what_cannot_be_loaded_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        replace(Loading(1), **changes)
    with pytest.raises(UserError, match=message):
        data.build({**composed("data", "data=ds1_photons"), "batch_size": 1, **changes})


@pytest.mark.parametrize("name", config_names("data"))
def test_a_data_set_takes_at_most_ten_arguments(name: str) -> None:
    kind = type(data.build(data_configs()[name]))
    assert len(inspect.signature(kind).parameters) <= 10


def test_validation_files_stand_beside_a_test_part_that_is_cut_off(tmp_path: Path) -> None:
    form = data.build(composed("data", "data=jetnet30")).format
    form.toy(tmp_path / "t.hdf5", 40)
    form.toy(tmp_path / "t_val.hdf5", 10)
    files = {"train": [str(tmp_path / "t.hdf5")], "val": [str(tmp_path / "t_val.hdf5")]}
    config = {**composed("data", "data=jetnet30"), "files": files}
    assert data.build(config).sizes() == {"train": 32, "val": 10, "test": 8}
