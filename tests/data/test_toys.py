"""Toys: the distributions that they say they have, seeds, and files of the same columns."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from simulacra.core import UserError
from simulacra.data import build
from simulacra.data.base import Loading
from simulacra.data.toy_samples import (
    Toy,
    ToyAffine,
    ToyGaussians,
    ToyJets,
    ToyPeaks,
    ToyUnfolding,
    ToyWedge,
)  # fmt: skip
from simulacra.data.toys import ToyData
from support import composed


def toys(toy: Toy, **options: Any) -> ToyData:
    return ToyData("toy", toy, {"train": 40_000, "test": 20_000}, Loading(256, **options))


def columns(events: ToyData) -> dict[str, torch.Tensor]:
    """All training rows by name of the feature."""
    x = events.sources["train"].take(range(40_000)).x.double()
    return {field.name: x[:, i] for i, field in enumerate(events.spec.features)}


def test_jets_have_the_moments_that_they_should_and_a_shift_moves_all_of_them() -> None:
    for shift in (0.0, 0.5):
        found = columns(toys(ToyJets(shift=shift)))
        n, mass = found["n"], found["ln_m"]
        mean = 30 + shift * math.sqrt(30)
        assert float(n.mean()) == pytest.approx(mean, abs=0.12)
        assert float(n.var()) == pytest.approx(mean, rel=0.03)
        assert float(mass.mean()) == pytest.approx(
            4 + 0.35 * shift + 0.012 * (mean - 30), abs=0.008
        )
        assert float(mass.var()) == pytest.approx(0.35**2 + 0.012**2 * mean, rel=0.03)
        logit = torch.logit(found["tau21"]) - 0.3 + 0.25 * (mass - 4)
        assert float(logit.mean()) == pytest.approx(0.8 * shift, abs=0.02)
        assert float(logit.std()) == pytest.approx(0.8, rel=0.02)


def test_a_measurement_is_the_truth_and_noise() -> None:
    events = toys(ToyUnfolding(mean=0.3, sd=0.85))
    batch = events.batch(40_000)
    assert not batch.event
    noise = batch.cond["detector"] - batch.x
    assert float(batch.x.mean()) == pytest.approx(0.3, abs=0.02)
    assert float(batch.x.std()) == pytest.approx(0.85, abs=0.02)
    assert float(noise.std()) == pytest.approx(0.5, abs=0.01)
    assert abs(float((noise * batch.x).mean())) < 0.01


def test_losses_and_fakes_are_marked_and_have_no_value() -> None:
    events = toys(ToyUnfolding(efficiency=0.8, fakes=0.1, mean=3.0))
    batch = events.batch(40_000)
    events.spec.validate(batch)
    detected, genuine = (batch.event[name][:, 0] == 1 for name in ("detected", "genuine"))
    assert float(genuine.double().mean()) == pytest.approx(0.9, abs=0.01)
    assert float(detected[genuine].double().mean()) == pytest.approx(0.8, abs=0.01)
    assert bool(detected[~genuine].all())
    assert bool((batch.x[~genuine] == 0).all())
    assert bool((batch.cond["detector"][~detected] == 0).all())
    assert bool((batch.x[genuine] != 0).all())
    assert {events.spec.by_role(role).name for role in ("detected", "genuine")} == set(batch.event)


def test_of_four_gaussians_each_has_a_quadrant() -> None:
    found = columns(toys(ToyGaussians()))
    for x in (1, -1):
        for y in (1, -1):
            chosen = (x * found["x"] > 0) & (y * found["y"] > 0)
            assert float(chosen.double().mean()) == pytest.approx(0.25, abs=0.01)
            assert float(found["x"][chosen].mean()) == pytest.approx(x, abs=0.01)
            assert float(found["y"][chosen].std()) == pytest.approx(0.2, abs=0.01)


def test_an_image_has_the_moments_of_the_map() -> None:
    found = columns(toys(ToyAffine(matrix=[[1.4, 0.3], [0.3, 0.8]], offset=[0.5, -1.0])))
    x = torch.stack([found["x"], found["y"]])
    matrix = torch.tensor([[1.4, 0.3], [0.3, 0.8]], dtype=torch.float64)
    torch.testing.assert_close(torch.cov(x), matrix @ matrix, atol=0.05, rtol=0)
    torch.testing.assert_close(x.mean(1), torch.tensor([0.5, -1.0]).double(), atol=0.03, rtol=0)


@pytest.mark.parametrize(
    "settings",
    [
        {"matrix": [[1, 0.5], [0.4, 1]]},
        {"matrix": [[1, 2], [2, 1]]},
        {"matrix": [[1.0]]},
        {"matrix": [[1, 0], [0]]},
        {"offset": [1.0]},
    ],
)
def test_a_map_that_no_convex_function_has_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="symmetric matrix of size 2 with eigenvalues above 0"):
        ToyAffine(**settings)


def test_rows_depend_on_the_seed_the_settings_and_the_part() -> None:
    base, again = toys(ToyJets()), toys(ToyJets(), seed=7)
    assert torch.equal(base.sources["train"].batch.x, again.sources["train"].batch.x)
    others = [toys(ToyJets(seed=1)), toys(ToyJets(shift=1e-9))]
    rows = [base.sample_of(1000, part).x for part in ("train", "test")]
    rows += [other.sample_of(1000, "train").x for other in others]
    for i, one in enumerate(rows):
        assert not any(bool((one == two).all(1).any()) for two in rows[:i])


def test_files_take_the_place_of_drawn_rows(tmp_path: Path) -> None:
    config = composed("data", "data=toy_unfolding")
    drawn = build({**config, "events": {"train": 50, "test": 10}})
    assert drawn.sizes() == {"train": 45, "val": 5, "test": 10}
    assert drawn.provenance["source"] == "toy"
    assert "smearing=0.5" in drawn.provenance["settings"]
    path = tmp_path / "a.h5"
    drawn.format.write(path, drawn.batch(20))
    files = build({**config, "files": {"train": [str(path)]}, "validation": 0.25})
    assert files.sizes() == {"train": 12, "val": 4, "test": 4}
    assert files.provenance["source"] == "files"
    rows = torch.cat([files.batch(99, part).x for part in ("train", "val", "test")])
    assert torch.equal(rows.sort(0).values, drawn.batch(20).x.sort(0).values)


def test_other_parts_are_refused() -> None:
    with pytest.raises(UserError, match="the numbers train and test, got"):
        ToyData("toy", ToyJets(), {"train": 3}, Loading(2))


def test_peaks_on_a_line_are_evenly_filled_and_as_wide_as_they_should_be() -> None:
    x = columns(toys(ToyPeaks(modes=3, distance=10.0, width=0.5)))["x"]
    place = (x / 10).round()
    assert sorted(place.unique().tolist()) == [-1, 0, 1]
    for centre in (-1, 0, 1):
        peak = x[place == centre]
        assert len(peak) / len(x) == pytest.approx(1 / 3, abs=0.01)
        assert float(peak.mean()) == pytest.approx(10 * centre, abs=0.02)
        assert float(peak.std()) == pytest.approx(0.5, rel=0.03)


def test_the_wedge_is_a_ramp_along_one_side_and_flat_along_the_other() -> None:
    found = columns(toys(ToyWedge()))
    levels = torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64)
    torch.testing.assert_close(found["x"].quantile(levels), levels.sqrt(), atol=0.01, rtol=0)
    torch.testing.assert_close(found["y"].quantile(levels), levels, atol=0.01, rtol=0)
    assert abs(float(torch.corrcoef(torch.stack([found["x"], found["y"]]))[0, 1])) < 0.02
