"""Checkpoints whose archive is whole and whose contents are not what they should be."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from simulacra.core import UserError
from simulacra.training.checkpoint import build, load
from support import refused_checkpoint, save, spec_of, tiny

Change = Callable[[dict[str, Any]], None]
INF = float("inf")


def entry(key: str, value: Any) -> Change:
    return lambda contents: contents["simulacra"].__setitem__(key, value)


def spec(key: str, value: Any) -> Change:
    return lambda contents: contents["simulacra"]["spec"].__setitem__(key, value)


def top(key: str, value: Any) -> Change:
    return lambda contents: contents.__setitem__(key, value)


def field(key: str, value: Any) -> Change:
    def change(contents: dict[str, Any]) -> None:
        contents["simulacra"]["spec"]["features"][0][key] = value

    return change


def without(*path: str) -> Change:
    def change(contents: dict[str, Any]) -> None:
        for key in path[:-1]:
            contents = contents[key]
        del contents[path[-1]]

    return change


WRONG: dict[str, Change] = {
    **{f"simulacra={v!r}": top("simulacra", v) for v in ([], None, 3, "x", {}, [1], (1, 2))},
    **{
        f"format_version={v!r}": entry("format_version", v)
        for v in (-1, 0, 1, True, False, None, "2", 2.0, 99, 10**30, [2], {})
    },
    **{f"config={v!r}": entry("config", v) for v in (None, [], "x", {}, {"model": None})},
    **{f"model={v!r}": entry("config", {"model": v}) for v in (3, [], "x", {}, {"_target_": 3})},
    **{
        f"trained_range={v!r}": entry("trained_range", v)
        for v in (
            None, [], "x", {"e": None}, {"e": [1]}, {"e": [1, 2, 3]}, {"e": [2, 1]}, {"e": ["1", 2]},
            {"e": [float("nan"), 1]}, {"e": [1, INF]}, {3: [1, 2]}, {"e": [True, 2]},
        )
    },
    **{f"provenance={v!r}": entry("provenance", v) for v in (None, [], "x", {"a": 3}, {3: "a"})},
    **{f"spec={v!r}": entry("spec", v) for v in (None, [], "x", 3, {})},
    **{
        f"spec.{k}={v!r}": spec(k, v)
        for k, v in [
            ("shape", None), ("shape", 3), ("shape", []), ("shape", [0]), ("shape", [-1]), ("shape", [1.5]),
            ("shape", ["3"]), ("shape", [10**12]), ("shape", [10**6, 10**6]), ("shape", [True]),
            ("sample_batch", 0), ("sample_batch", -1), ("sample_batch", "many"), ("sample_batch", None),
            ("sample_batch", 1.5), ("sample_batch", True), ("kind", "tree"), ("kind", None), ("name", 3),
            ("name", None), ("unit", 3), ("features", None), ("features", []), ("features", [3]),
            ("features", [{}]), ("conditions", "e"), ("conditions", {}), ("event", 3), ("geometry", 3),
            ("geometry", {}), ("geometry", {"layers": []}), ("geometry", {"layers": [3]}),
            ("threshold", "0"), ("threshold", INF), ("threshold", None), ("cut", float("nan")), ("cut", -1.0),
            ("prior", None), ("prior", [{"name": "e"}]), ("signed", 3), ("signed", None), ("unknown", 1),
        ]
    },
    **{
        f"field.{k}={v!r}": field(k, v)
        for k, v in [
            ("name", 3), ("dim", 0), ("dim", "1"), ("low", "0"), ("low", INF), ("log", 3), ("classes", "abc"),
            ("classes", [3]), ("periodic", None), ("role", "king"), ("integer", 2), ("more", 1),
        ]
    },
    **{f"state_dict={v!r}": top("state_dict", v) for v in ([], None, 3, {}, {"a": 3}, {3: torch.ones(1)})},
    **{
        f"{k}={v!r}": top(k, v)
        for k, v in [
            ("epoch", "1"), ("global_step", None), ("loops", []), ("callbacks", 3), ("optimizer_states", {}),
            ("lr_schedulers", [3]), ("current_model_state", []), ("averaging_state", {"a": "b"}),
        ]
    },
    **{
        f"without {path[-1]}": without(*path)
        for path in [
            ("simulacra",), ("state_dict",), ("simulacra", "spec"), ("simulacra", "config"),
            ("simulacra", "format_version"), ("simulacra", "trained_range"), ("simulacra", "provenance"),
            ("simulacra", "spec", "shape"), ("simulacra", "spec", "kind"),
        ]
    },
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_wrong_contents_are_one_sentence(
    contents: dict[str, Any], tmp_path: Path, name: str
) -> None:
    changed = copy.deepcopy(contents)
    WRONG[name](changed)
    path = tmp_path / "a.ckpt"
    torch.save(changed, path)
    refused_checkpoint(path)


@pytest.mark.parametrize("value", [float("nan"), INF, -INF])
def test_weights_and_statistics_that_are_not_finite_are_refused_checkpoint(
    contents: dict[str, Any], tmp_path: Path, value: float
) -> None:
    path, state = tmp_path / "a.ckpt", contents["state_dict"]
    floats = [name for name, item in state.items() if item.is_floating_point() and item.numel()]
    assert any(name.startswith("transform.") for name in floats)
    for name in floats:
        spoiled = state[name].clone()
        spoiled.view(-1)[-1] = value
        torch.save({**contents, "state_dict": {**state, name: spoiled}}, path)
        refused_checkpoint(path, f"1 of {spoiled.numel():,} values of {name} are not finite")


def test_a_training_does_not_go_on_from_weights_that_are_no_numbers(
    contents: dict[str, Any], tmp_path: Path
) -> None:
    torch.save(
        {**contents, "current_model_state": {"w": torch.tensor(float("nan"))}}, tmp_path / "a.ckpt"
    )
    refused_checkpoint(tmp_path / "a.ckpt", "1 of 1 values of w are not finite")


def test_infinity_may_mark_what_a_transform_does_not_use(tmp_path: Path) -> None:
    config = tiny("caloclouds2")
    module = build(config, spec_of("ild_cloud", None))
    assert module.transform.depths.isinf().all()
    assert load(save(module, config, tmp_path)).transform.depths.isinf().all()
    module.transform.depths[0] = float("nan")
    refused_checkpoint(save(module, config, tmp_path), "values of transform.depths are not finite")


@pytest.mark.parametrize(
    ("key", "value"), [("hidden", [10**5, 10**5]), ("hidden", [10**12]), ("blocks", 10**9)]
)
def test_a_model_of_many_times_the_weights_of_the_file_is_not_built(
    contents: dict[str, Any], tmp_path: Path, key: str, value: object
) -> None:
    changed = copy.deepcopy(contents)
    density = changed["simulacra"]["config"]["model"]["density"]
    assert key in density
    density[key] = value
    torch.save(changed, tmp_path / "a.ckpt")
    with pytest.raises(UserError, match=r"^[^\n]+$"):
        load(tmp_path / "a.ckpt")
