from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal

import pytest
from torch import nn

from simulacra.core import UserError, typed
from simulacra.core.ranges import Count, Interval, Positive, Share, Whole
from simulacra.core.typed import coerce


@pytest.mark.parametrize("value", [1000, 1000.0, "1e3", "1000"])
def test_whole_numbers_are_taken_in_any_notation(value: Any) -> None:
    found = coerce(value, Count, "n")
    assert found == 1000
    assert type(found) is int


@pytest.mark.parametrize(
    "value", [1.5, "ten", True, None, [1], {}, "", 0, -1, 2**63, 1e400, 10**400]
)
def test_what_is_no_whole_number_is_refused_in_one_sentence(value: Any) -> None:
    with pytest.raises(UserError, match=r"^n must be a whole number from 1, got ") as found:
        coerce(value, Count, "n")
    assert "\n" not in str(found.value)
    assert len(str(found.value)) < 200


@pytest.mark.parametrize("value", ["abc", True, None, float("nan"), float("inf"), "1e400", [0.1]])
def test_what_is_no_number_is_refused(value: Any) -> None:
    with pytest.raises(UserError, match=r"^x must be a number, got "):
        coerce(value, float, "x")


@pytest.mark.parametrize(
    ("value", "wanted", "found"),
    [
        (5, Sequence[int], [5]),
        ("a", Sequence[str] | None, ["a"]),
        (None, Sequence[str] | None, None),
        ("a", str | Sequence[str], "a"),
        ([1, 2.0], tuple[int, ...], [1, 2]),
        (1024, Sequence[float | Sequence[float]], [1024]),
        ([[1, 2], 3], Sequence[float | Sequence[float]], [[1.0, 2.0], 3]),
        (1.0, Share | Whole, 1.0),
        (1, Share | Whole, 1),
        (1e1, Share | Whole, 10),
        (-1, Literal[-1, "auto"] | Count, -1),
        ({"a": 1}, Mapping[str, float], {"a": 1.0}),
        (3, str, "3"),
        ({"_target_": "x"}, int, {"_target_": "x"}),
    ],
)
def test_a_value_becomes_what_is_wanted(value: Any, wanted: Any, found: Any) -> None:
    result = coerce(value, wanted, "x")
    assert result == found
    assert type(result) is type(found)


@pytest.mark.parametrize(
    ("value", "wanted", "sentence"),
    [
        (3, Literal["auto", "never"], "x must be one of auto, never, got 3"),
        (0, Positive, "x must be a number above 0, got 0"),
        (
            1,
            Annotated[float, Interval(0, 1, below=True)],
            "x must be a number from 0 below 1, got 1",
        ),
        (1, bool, "x must be true or false, got 1"),
        (
            ["a"],
            Sequence[Count] | None,
            "x must be a list of whole numbers from 1 or null, got ['a']",
        ),
        ([1, 2], tuple[float, float, float], "x must be a list of 3 numbers, got [1, 2]"),
        (5, Mapping[str, int], "x must be a group of keys, got 5"),
        (5, nn.Module, "x must be what a _target_ makes, got 5"),
        ("f", Callable[[int], nn.Module], "x must be what a _target_ makes, got 'f'"),
    ],
)
def test_the_sentence_says_what_is_wanted(value: Any, wanted: Any, sentence: str) -> None:
    with pytest.raises(UserError) as found:
        coerce(value, wanted, "x")
    assert str(found.value) == sentence


class Part:
    """A part of a model."""

    def __init__(self, blocks: Count, net: nn.Module | None = None, other=None) -> None:  # type: ignore[no-untyped-def]
        self.blocks = blocks


def test_arguments_are_typed_at_any_depth() -> None:
    config = {
        "parts": [{"_target_": "part", "_partial_": True, "blocks": 1e1, "other": "x"}],
        "n": 1.5,
    }
    find = {"part": Part}.get
    assert typed.tree(config, "model", find)["parts"][0]["blocks"] == 10
    config["parts"][0]["blocks"] = -1  # type: ignore[index]
    with pytest.raises(
        UserError, match=r"^model.parts\[0\].blocks must be a whole number from 1, got -1"
    ):
        typed.tree(config, "model", find)
