"""Remarks on events that cannot be what their data set says."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import h5py
import pytest
import torch

from simulacra import data
from simulacra.cli.main import main
from simulacra.core import Batch
from simulacra.core.plausible import Plausibility, remarks
from simulacra.data.base import EventDataModule
from simulacra.formats.calochallenge import CaloChallenge, ds1_photons
from support import config_names, data_configs, sets, spec_of

EMBEDDED = data_configs()
WITH_EVENTS = [
    name
    for name, config in EMBEDDED.items()
    if config.get("published", {}).get("embedded") and name != "ds3"
]
SHOWERS = [name for name in WITH_EVENTS if spec_of(name, None).response is not None]


@pytest.fixture(scope="module")
def events() -> Callable[[str], tuple[EventDataModule, Batch]]:
    """Training events of a data set that brings some, in native form."""
    found: dict[str, tuple[EventDataModule, Batch]] = {}

    def make(name: str) -> tuple[EventDataModule, Batch]:
        if name not in found:
            module = data.build(EMBEDDED[name])
            found[name] = module, module.batch(300)
        return found[name]

    return make


@pytest.mark.parametrize("name", [*WITH_EVENTS, "jetnet30", "jetclass", "pxd_small"])
def test_sound_events_are_not_remarked_on(
    name: str, events: Callable[[str], tuple[EventDataModule, Batch]]
) -> None:
    assert events(name)[0].remarks() == {}


@pytest.mark.grid
@pytest.mark.parametrize("name", [name for name in config_names("data") if not sets(name)[1:]])
def test_toys_are_not_remarked_on(name: str, toy: Callable[..., EventDataModule]) -> None:
    assert toy(name).remarks() == {}


@pytest.mark.parametrize("name", SHOWERS)
@pytest.mark.parametrize("factor", [1e-3, 1e3])
def test_values_in_another_unit_than_the_incident_energy_are_told_with_the_factor(
    name: str, factor: float, events: Callable[[str], tuple[EventDataModule, Batch]]
) -> None:
    module, batch = events(name)
    x = batch.x.clone()
    values = x[..., -1] if module.native_spec.kind == "cloud" else x
    values *= factor
    found = remarks(module.native_spec, [replace(batch, x=x)])
    assert f"multiplied by {1 / factor:g}" in found["response"]


def test_values_that_fit_in_no_unit_are_told_too(
    events: Callable[[str], tuple[EventDataModule, Batch]],
) -> None:
    module, batch = events("ds1_photons")
    found = remarks(module.native_spec, [replace(batch, x=1e4 * batch.x)])
    assert "what they should be" in found["response"]


def test_one_event_that_explodes_is_told(
    events: Callable[[str], tuple[EventDataModule, Batch]],
) -> None:
    module, batch = events("ds1_photons")
    x = batch.x.clone()
    x[7] *= 1e6
    assert "1 of 300 events" in remarks(module.native_spec, [replace(batch, x=x)])["response"]


def test_empty_showers_are_told_unless_their_energy_is_among_the_lowest(
    events: Callable[[str], tuple[EventDataModule, Batch]],
) -> None:
    module, batch = events("ds1_photons")
    spec = module.native_spec
    faint = batch.cond["incident_energy"][:, 0] < 4 * 256
    x = torch.where(faint[:, None], 0.0, batch.x)
    assert remarks(spec, [replace(batch, x=x)]) == {}
    x = batch.x.clone()
    x[150:] = 0
    found = remarks(spec, [replace(batch, x=x)])
    n = int((~faint[150:]).sum())
    assert f"{n} of {int((~faint).sum())} showers from 1024 MeV on" in found["empty"]


def test_an_incident_energy_that_no_machine_gives_is_told(
    events: Callable[[str], tuple[EventDataModule, Batch]],
) -> None:
    module, batch = events("ds1_photons")
    energy = batch.cond["incident_energy"].clone()
    energy[3] = 3e38
    cond = {"incident_energy": energy}
    found = remarks(module.native_spec, [replace(batch, cond=cond)])
    assert "to 3e+38 MeV, it from 256 to 4.1943e+06" in found["range/incident_energy"]


def test_momenta_and_angles_of_jets_that_are_absolute_are_told(
    events: Callable[[str], tuple[EventDataModule, Batch]],
) -> None:
    module, batch = events("jetnet30")
    x = batch.x.clone()
    x[..., 2] *= batch.event["pt"]
    x[..., 1] = torch.remainder(x[..., 1], 2 * math.pi)
    x = torch.where(batch.mask[..., None], x, 0.0)  # type: ignore[index]
    found = remarks(module.native_spec, [replace(batch, x=x)])
    assert set(found) == {"shares/ptrel", "angle/phirel"}
    assert "are they not wrapped" in found["angle/phirel"]


def test_charges_above_what_the_converter_gives_are_told(
    events: Callable[[str], tuple[EventDataModule, Batch]],
) -> None:
    module, batch = events("pxd_small")
    x = batch.x.clone()
    x[0, 0, 0, 0] = 5000
    assert (
        "1 values lie above 4095 ADU"
        in remarks(module.native_spec, [replace(batch, x=x)])["ceiling"]
    )


def test_batches_add_up_to_the_whole(
    events: Callable[[str], tuple[EventDataModule, Batch]],
) -> None:
    module, batch = events("ds1_photons")
    strange = replace(batch, x=torch.where(torch.arange(300)[:, None] < 90, 0.0, 1e-3 * batch.x))
    look = Plausibility(module.native_spec)
    for start in range(0, 300, 70):
        look.add(strange[range(start, min(300, start + 70))])
    assert look.remarks() == remarks(module.native_spec, [strange])
    assert set(look.remarks()) == {"response", "empty"}


def test_evaluate_warns_once_of_each_file_and_notes_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    form = CaloChallenge(ds1_photons())
    form.toy(tmp_path / "good.hdf5", 60)
    form.toy(tmp_path / "gev.hdf5", 60, seed=1)
    with h5py.File(tmp_path / "gev.hdf5", "a") as file:
        file["showers"][:] = file["showers"][:] / 1000
    given = [f"reference={tmp_path / 'good.hdf5'}", f"generated={tmp_path / 'gev.hdf5'}"]
    small = ["evaluation=quick", "evaluation.draw=false", "evaluation.replicas=2"]
    main(["evaluate", *given, *small, f"output={tmp_path / 'out'}"])
    said = [line for line in capsys.readouterr().err.splitlines() if "by 1000" in line]
    assert len(said) == 1
    assert said[0].startswith(str(tmp_path / "gev.hdf5"))
    assert "test/plausible/generated/response" in (tmp_path / "out" / "notes.json").read_text()
    main(["evaluate", f"reference={tmp_path / 'gev.hdf5'}"])
    assert capsys.readouterr().out.count("multiplied by 1000") == 1


def test_train_warns_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    form = CaloChallenge(ds1_photons())
    form.toy(tmp_path / "gev.hdf5", 200)
    with h5py.File(tmp_path / "gev.hdf5", "a") as file:
        file["showers"][:] = file["showers"][:] / 1000
    small = ["debug=fast", "trainer.max_steps=1", "logger=none", "evaluation.draw=false"]
    small += ["callbacks=minimal", "model/size=tiny"]
    files = f"data.files.train=[{tmp_path / 'gev.hdf5'}]"
    main(["train", *small, files, f"hydra.run.dir={tmp_path / 'run'}"])
    assert capsys.readouterr().err.count("multiplied by 1000") == 1
