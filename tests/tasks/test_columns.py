"""A classifier that sees some columns of a table."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from simulacra.core import UserError
from simulacra.core.pair import FIRST, SECOND, labelled, with_label
from simulacra.tasks.reweighter import Reweighter
from simulacra.training.checkpoint import build
from support import composed
from unfolding_toys import rows, spec


def made(*changes: str) -> Reweighter:
    asked = ["model=dctrgan", "model/size=tiny", "sight@model.sees.rows=columns", *changes]
    torch.manual_seed(0)
    module = build(composed("model", *asked), labelled(spec()))
    pairs = [with_label(rows(200, seed), number) for seed, number in ((1, FIRST), (2, SECOND))]
    return module.fit_transform(pairs).eval()


@pytest.mark.parametrize(
    ("features", "given", "seen"),
    [("[b]", "[]", "b"), ("[]", "[a_seen]", "a_seen"), ("[a]", "[b_seen]", "a b_seen")],
)
def test_weights_depend_on_the_columns_that_are_named_alone(
    features: str, given: str, seen: str
) -> None:
    module = made(f"model.sees.rows.features={features}", f"model.sees.rows.given={given}")
    batch = rows(30, 5)
    weights = module.weights(batch)
    for name in ("a", "b", "a_seen", "b_seen"):
        if name.endswith("_seen"):
            other = replace(batch, cond={**batch.cond, name: batch.cond[name].roll(7, 0)})
        else:
            i = ("a", "b").index(name)
            x = batch.x.clone()
            x[:, i] = x[:, i].roll(7, 0)
            other = replace(batch, x=x)
        assert torch.equal(module.weights(other), weights) == (name not in seen.split()), name


def test_columns_that_are_not_there_are_refused_in_one_sentence() -> None:
    with pytest.raises(UserError, match=r"there is no column 'c' among \['a', 'b'\]"):
        made("model.sees.rows.features=[c]", "model.sees.rows.given=[]")
    with pytest.raises(UserError, match="there is no given field 'a'"):
        made("model.sees.rows.features=[]", "model.sees.rows.given=[a]")
    with pytest.raises(UserError, match="sees no columns cannot learn"):
        made("model.sees.rows.features=[]", "model.sees.rows.given=[]")
    with pytest.raises(UserError, match="whiten=false"):
        made(
            "model.sees.rows.features=[a]",
            "model.sees.rows.given=[]",
            "model.sees.rows.transform.whiten=true",
        )
