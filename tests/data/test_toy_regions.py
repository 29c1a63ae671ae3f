"""Toys of a response and of regions: what they are made of is what they hold."""

from __future__ import annotations

import pytest
import torch

from simulacra.core import UserError
from simulacra.data.toy_regions import SHARES, ToyRegions
from simulacra.data.toy_response import ToyResponse


def test_means_of_regions_add_up_or_interact() -> None:
    for interaction in (0.0, 0.5):
        toy = ToyRegions(interaction=interaction, width=0.5)
        rows = toy.sample(40_000, "train")
        cell = {
            (j, k): rows["x"][(rows["jets"] == j) & (rows["tags"] == k)]
            for j in range(len(SHARES["jets"]))
            for k in range(len(SHARES["tags"]))
        }
        contrast = cell[2, 1].mean() - cell[1, 1].mean() - cell[2, 0].mean() + cell[1, 0].mean()
        assert float(contrast) == pytest.approx(interaction, abs=0.06)
        assert float(cell[3, 0].mean()) == pytest.approx(1.5, abs=0.04)
        assert float(cell[0, 1].std()) == pytest.approx(0.5, rel=0.03)


def test_a_response_is_known_and_weights_make_its_spectrum_steep() -> None:
    toy = ToyResponse()
    rows = toy.sample(40_000, "train")
    ratio = rows["pt"] / toy.response(rows["true_pt"], rows["pileup"])
    assert float(ratio.mean()) == pytest.approx(1, abs=0.003)
    assert float(ratio.std()) == pytest.approx(0.15, rel=0.02)
    assert float(rows["pileup"].var()) == pytest.approx(20, rel=0.03)
    true, weight = rows["true_pt"], rows["weight"]
    for power, own in ((2.5, torch.ones_like(weight)), (5.0, weight)):
        share = float(own[true < 40].sum() / own.sum())
        ends = [x ** (1 - power) for x in (20.0, 40.0, 100.0)]
        assert share == pytest.approx((ends[0] - ends[1]) / (ends[0] - ends[2]), abs=0.01)


def test_a_response_without_sense_is_refused() -> None:
    for settings in ({"high": 10.0}, {"pileup": 2.0}):
        with pytest.raises(UserError, match="high above low and a mean response above 0"):
            ToyResponse(**settings)
