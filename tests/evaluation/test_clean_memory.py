"""Raw events in memory: cut, counted or refused as those of a file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

import simulacra
from raw_files import (
    JETS,
    SHOWERS,
    everything,
    made,
    noisy,
    opened,
    raw_jets,
    soft,
)
from simulacra.core import Batch, FormatError, UserError
from simulacra.formats.base import Format
from simulacra.formats.cleaning import Cleaning
from simulacra.formats.pxd import PxdFormat, pxd


def in_memory(form: Format, batch: Batch, clean: bool) -> tuple[Batch, Cleaning]:
    cleaning = Cleaning(form.spec, clean)
    return cleaning.batch("mine", batch), cleaning


@pytest.mark.parametrize("name", [name for name, (form, _) in SHOWERS.items()])
def test_events_in_memory_are_cut_as_those_of_a_file(name: str, tmp_path: Path) -> None:
    form, _ = SHOWERS[name]
    whole = form.read(made(form, tmp_path / "raw.hdf5"))
    x = whole.x.clone()
    cloud = whole.mask is not None
    places = [(2, (0, -1)), (5, (1, -1))] if cloud else [(2, (3,)), (5, (4,))]
    for event, place in places:
        (x[event] if cloud else x[event].view(-1))[place] = -event / 1000
    raw = replace(whole, x=x)
    before = x.clone()
    with pytest.raises(FormatError, match=r"^mine: .*negative.*first in event 2.*clean=true"):
        in_memory(form, raw, False)
    found, cleaning = in_memory(form, raw, True)
    assert torch.equal(raw.x, before)
    form.spec.validate(found)
    meant = x.clone()
    for event, place in places:
        if cloud:
            assert found.mask is not None
            assert not found.mask[event, place[0]]
            meant[event, place[0]] = 0
        else:
            meant[event].view(-1)[place] = 0
    assert torch.equal(found.x, meant)
    assert cleaning.changed == {"negative values set to 0": 2}
    assert {event for _, event in cleaning.events} == {2, 5}
    assert cleaning.lowest == pytest.approx(-0.005)
    same, nothing = in_memory(form, whole, False)
    assert torch.equal(same.x, whole.x)
    assert not nothing.changed


@pytest.mark.parametrize("change", [soft, noisy, everything])
def test_soft_masks_and_padding_in_memory_are_cut_as_those_of_a_file(
    change: Callable[[np.ndarray], None], tmp_path: Path
) -> None:
    path = raw_jets(tmp_path / "raw_t.hdf5", change)
    from_file = opened(JETS, path, clean=True)
    with h5py.File(path) as file:
        values = torch.from_numpy(file["particle_features"][:])
    jets = from_file.events[range(6)]
    raw = replace(jets, x=values[..., :3], mask=values[..., 3])
    with pytest.raises(FormatError, match=r"^mine: .*clean=true"):
        in_memory(JETS, raw, False)
    found, cleaning = in_memory(JETS, raw, True)
    JETS.spec.validate(found)
    assert torch.equal(found.x, jets.x)
    assert found.mask is not None
    assert jets.mask is not None
    assert torch.equal(found.mask, jets.mask)
    assert cleaning.changed == from_file.cut.cleaning.changed


def test_a_jet_in_memory_keeps_a_particle_of_negative_momentum(tmp_path: Path) -> None:
    JETS.toy(tmp_path / "t.hdf5", 6)
    raw = JETS.read(tmp_path / "t.hdf5")
    raw.x[4, 1, 2] = -1e-6
    found, _ = in_memory(JETS, raw, True)
    assert found.mask is not None
    assert found.mask[4, 1]
    assert found.x[4, 1, 2] == 0
    assert torch.equal(found.x[4, 1, :2], raw.x[4, 1, :2])


def test_charges_in_memory_end_where_the_converter_ends(tmp_path: Path) -> None:
    form = PxdFormat(pxd(["1.1.1"]))
    raw = form.read(made(form, tmp_path / "raw.hdf5", 2))
    raw.x[1, 0, 5, 6] = 300
    with pytest.raises(FormatError, match=r"'x' holds 300.*255.*evaluation\.clean=true"):
        in_memory(form, raw, False)
    found, cleaning = in_memory(form, raw, True)
    assert float(found.x[1, 0, 5, 6]) == 255
    assert {event for _, event in cleaning.events} == {1}


def test_what_is_no_event_in_memory_is_never_cleaned() -> None:
    data = simulacra.dataset("ds1_photons", limit=80)
    good, asked = data.batch(60), ["evaluation.clean=true"]
    shapes, x = good.x.new_zeros(60, 7), good.x.clone()
    x[3, 4] = torch.nan
    with pytest.raises(UserError, match="NaN or infinite"):
        simulacra.evaluate(good, replace(good, x=x), data, overrides=asked)
    with pytest.raises(UserError, match=r"shape \(368,\), got \(7,\)"):
        simulacra.evaluate(good, replace(good, x=shapes), data, overrides=asked)


def test_arrays_are_judged_after_what_was_cut_is_counted() -> None:
    data = simulacra.dataset("ds1_photons", limit=120)
    truth, arrays = data.batch(60), data.batch(60).numpy()
    arrays["x"] = arrays["x"].copy()
    arrays["x"][7, :3] = -2e-13, -1e-3, 0.25
    small = ["evaluation.replicas=2", "evaluation.draw=false"]

    def judge(*asked: str) -> dict[str, float]:
        found = simulacra.evaluate(
            truth, arrays, data, evaluation="quick", overrides=[*small, *asked]
        )
        return found.metrics

    with pytest.raises(FormatError, match=r"^generated: .*in event 7.*evaluation\.clean=true"):
        judge()
    below = int(((arrays["x"] > 0) & (arrays["x"] < 1)).sum())
    assert judge("evaluation.clean=true")["test/cut/values"] == below + 2
