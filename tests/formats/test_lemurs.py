"""LEMURS files, as their authors describe them, made with h5py alone."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from simulacra import data
from simulacra.core import FormatError
from simulacra.formats.lemurs import Lemurs, lemurs
from support import composed

FORM = Lemurs(lemurs())
KINDS = [("incident_energy", "f8"), ("incident_theta", "f8"), ("incident_phi", "f8")]


def records(n: int = 3, shape: tuple[int, ...] = (), cells: str = "f4") -> np.ndarray:
    """Photons of 10, 20, ... GeV whose only cell is (r, phi, z) = (k, k + 1, k + 2) of event k."""
    found = np.zeros(n, [(*kind, shape) for kind in KINDS] + [("showers", cells, (9, 16, 45))])
    for k in range(n):
        found[k]["incident_energy"] = 1e4 * (k + 1)
        found[k]["incident_theta"], found[k]["incident_phi"] = 1.0 + 0.1 * k, 0.5 * k
        found[k]["showers"][k, k + 1, k + 2] = 100.0 * (k + 1)
    return found


@pytest.mark.parametrize("shape", [(), (1,)])
@pytest.mark.parametrize("cells", ["f4", "f8"])
@pytest.mark.parametrize("options", [{}, {"compression": "gzip", "chunks": (2,)}])
def test_records_are_read_in_the_order_layer_angle_radius(
    shape: tuple[int, ...], cells: str, options: dict, tmp_path: Path
) -> None:
    with h5py.File(tmp_path / "events.h5", "w") as file:
        file.create_dataset("events", data=records(3, shape, cells), **options)
    info, batch = FORM.check(tmp_path / "events.h5"), FORM.read(tmp_path / "events.h5")
    assert (info.n, info.shapes["showers"]) == (3, (3, 9, 16, 45))
    assert info.ranges["incident_energy"] == (1e4, 3e4)
    assert batch.x.shape == (3, 45, 16, 9)
    assert batch.x.nonzero().tolist() == [[k, k + 2, k + 1, k] for k in range(3)]
    assert batch.cond["incident_energy"][:, 0].tolist() == [1e4, 2e4, 3e4]
    assert batch.cond["theta"][:, 0].tolist() == pytest.approx([1.0, 1.1, 1.2])
    assert batch.cond["phi"][:, 0].tolist() == [0, 0.5, 1.0]
    FORM.write(tmp_path / "ours.h5", batch)
    with h5py.File(tmp_path / "ours.h5") as file:
        written = file["events"][:]
    for name in written.dtype.names:
        wanted = records()[name]
        assert np.array_equal(written[name], wanted.astype("f4"))


def test_the_same_as_four_data_sets_is_read(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "flat.h5", "w") as file:
        for name in records().dtype.names:
            file[name] = records()[name]
    found = FORM.read(tmp_path / "flat.h5", 1, 3)
    assert found.x.nonzero().tolist() == [[0, 3, 2, 1], [1, 4, 3, 2]]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: records()[["incident_energy", "showers"]], "with the member 'incident_theta'"),
        (lambda: np.zeros(3), "key 'events' holds values of type float64, expected an array of"),
        (
            lambda: np.zeros(3, [*KINDS, ("showers", "f4", (45, 16, 9))]),
            r"key 'showers' has shape \(3, 45, 16, 9\), expected \('N', 9, 16, 45\)",
        ),
        (lambda: records()[:0], "holds no events"),
    ],
)
def test_other_records_are_refused_in_one_sentence(make, message: str, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    with h5py.File(tmp_path / "events.h5", "w") as file:
        file["events"] = make()
    with pytest.raises(FormatError, match=message) as caught:
        FORM.check(tmp_path / "events.h5")
    assert "\n" not in str(caught.value)


def test_energies_of_another_detector_are_a_setting() -> None:
    module = data.build(composed("data", "data=lemurs", "data.format.spec.highest=1e5"))
    assert module.spec.field("incident_energy").high == 1e5
    assert module.spec.prior[0].values == (1e3, 1e5)


def test_a_classifier_sees_the_direction(tmp_path: Path) -> None:
    module = data.build(composed("data", "data=lemurs"))
    module.format.toy(tmp_path / "toy.h5", 4)
    batch = module.format.read(tmp_path / "toy.h5")
    inputs = module.observables.features(batch)
    assert inputs.shape == (4, 362 + 3)
    assert inputs[:, 362].tolist() == pytest.approx(batch.cond["theta"][:, 0].tolist())
    assert inputs[:, 363:].square().sum(1).tolist() == pytest.approx([1.0] * 4)
    axis = module.observables.axes()["e_tot_over_e_inc"]
    assert (axis.low, axis.high) == (None, None)
